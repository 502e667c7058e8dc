"""JPEG: its segments, checked, and its pixels by Pillow, which alone tells that a JPEG is cut short.

Pillow gets a file without its metadata: it would parse them first, at any size, and warn about them.
"""

import io
import re
import struct

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from lgg.errors import SliceError
from lgg.reading.picture import CUT_SHORT, Picture, check_size, exif_orientation, upright

#: A segment's marker, which may be padded, and its length, which counts itself.
SEGMENT = re.compile(rb"\xff+([\x01-\xfe])(..)", re.DOTALL)
SCAN, EXIF_SEGMENT, COMMENT = 0xDA, 0xE1, 0xFE
#: Start-of-frame markers, which hold the size: C0 to CF, but for tables (C4, CC) and an extension (C8).
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Those of lossless and hierarchical JPEG and of JPEG-LS, which Pillow does not read.
UNREAD = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7))
#: JFIF's and Adobe's segments say how colours are stored; the other application segments are metadata.
METADATA = frozenset((*range(0xE0, 0xF0), COMMENT)) - {0xE0, 0xEE}
#: A progressive JPEG has about ten scans; each costs a pass over the whole picture.
MAX_SEGMENTS, MAX_SCANS = 10_000, 100


def decode_jpeg(data: bytes) -> Picture:
    """Decode a grey or RGB JPEG of 8 bits, turned upright by its EXIF orientation.

    Its density field is not read: cameras and screenshots fill it, scanners do not write JPEG.

    Raises:
        SliceError: CMYK, 12 bits, lossless, a size beyond the limits, or data is missing or damaged.
    """
    lean, exif = _without_metadata(data)
    with JpegImageFile(io.BytesIO(lean)) as image:  # not Image.open, whose size limit is the host's
        pixels = np.asarray(image, np.float32)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return upright(Picture(pixels, lossy=True), exif_orientation(exif))


def _without_metadata(data: bytes) -> tuple[bytes, bytes]:
    """The file as Pillow gets it, its size and colours checked; and its EXIF block."""
    lean, exif, frames, position = [data[:2]], b"", 0, 2
    for _ in range(MAX_SEGMENTS):
        segment = SEGMENT.match(data, position)
        if not segment:
            break
        start = segment.start(1) - 1  # without the padding
        marker, end = segment[1][0], segment.start(2) + int.from_bytes(segment[2], "big")
        if marker == SCAN and frames == 1 and data.count(b"\xff\xda", position) <= MAX_SCANS:
            return b"".join((*lean, data[start:])), exif
        content = data[segment.end() : end]
        if marker in UNREAD:
            raise SliceError(
                "this is a JPEG of a rare kind (lossless, perhaps), not read here. Save it as TIFF or PNG."
            )
        if marker in FRAMES:
            frames += 1
            _check_frame(content)
        if marker == EXIF_SEGMENT and content.startswith(b"Exif\0\0"):
            exif = exif or content[6:]
        if marker not in METADATA:
            lean.append(data[start:end])
        position = end
    raise SliceError(CUT_SHORT)


def _check_frame(content: bytes) -> None:
    bits, height, width, layers = struct.unpack_from(">BHHB", content)
    check_size(height, width)
    if bits != 8:
        raise SliceError(f"this JPEG has {bits} bits a value. Save it as TIFF or PNG.")
    if layers not in (1, 3):
        raise SliceError(
            "this JPEG is made for printing (CMYK). Save it as RGB or grey, best as TIFF or PNG."
        )
