"""JPEG: its markers, checked, and its pixels by Pillow, which alone tells that a JPEG is cut short.

Pillow gets a file without its metadata: it would parse EXIF and multi-picture blocks and warn about them.
"""

import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from lgg.errors import SliceError
from lgg.reading.picture import CUT_SHORT, Picture, check_size, upright
from lgg.reading.tags import exif_orientation

START = b"\xff\xd8"
SCAN, END, EXIF_SEGMENT, COMMENT = 0xDA, 0xD9, 0xE1, 0xFE
#: Start-of-frame markers, which hold the size: C0 to CF, but for tables (C4, CC) and an extension (C8).
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: JFIF's and Adobe's segments say how colours are stored; the other application segments are metadata.
APPLICATION, COLOUR_SEGMENTS = frozenset(range(0xE0, 0xF0)), (0xE0, 0xEE)
#: A progressive JPEG has about ten scans; each costs a pass over the whole picture.
MAX_SCANS = 100


@dataclass
class _Header:
    """What stands before the first scan: size in pixels, what Pillow gets, and where the scan begins."""

    kept: list[bytes] = field(default_factory=lambda: [START])
    frames: list[bytes] = field(default_factory=list)
    exif: bytes = b""
    scan_start: int = 0


def decode_jpeg(data: bytes) -> Picture:
    """Decode a grey or RGB JPEG of 8 bits, turned upright by its EXIF orientation.

    Its density field is not read: cameras and screenshots fill it, scanners do not write JPEG.

    Raises:
        SliceError: CMYK, 12 bits, a size beyond the limits, or data is missing or damaged.
    """
    header = _walk(data)
    if len(header.frames) != 1 or len(header.frames[0]) < 6:
        raise SliceError(CUT_SHORT)
    frame = header.frames[0]
    check_size(int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big"))
    if frame[0] != 8:
        raise SliceError(f"this JPEG has {frame[0]} bits a value. Save it as TIFF or PNG.")
    if frame[5] not in (1, 3):
        raise SliceError(
            "this JPEG is made for printing (CMYK). Save it as RGB or grey, best as TIFF or PNG."
        )
    if data.count(bytes((0xFF, SCAN)), header.scan_start) > MAX_SCANS:
        raise SliceError(CUT_SHORT)
    lean = b"".join(header.kept) + data[header.scan_start :]
    with Image.open(io.BytesIO(lean), formats=("JPEG",)) as image:
        pixels = np.asarray(image, np.float32)
    pixels = pixels.reshape(pixels.shape[0], pixels.shape[1], -1)
    return Picture(upright(pixels, exif_orientation(header.exif)), lossy=True)


def _walk(data: bytes) -> _Header:
    """Go from marker to marker up to the first scan."""
    header, position = _Header(), len(START)
    while True:
        while data[position : position + 2] == b"\xff\xff":  # markers may be padded
            position += 1
        if position + 4 > len(data) or data[position] != 0xFF:
            raise SliceError(CUT_SHORT)
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + length
        if marker == END or length < 2 or end > len(data):
            raise SliceError(CUT_SHORT)
        if marker == SCAN:
            header.scan_start = position
            return header
        content = data[position + 4 : end]
        if marker in FRAMES:
            header.frames.append(content)
        if marker == EXIF_SEGMENT and content.startswith(b"Exif\0\0") and not header.exif:
            header.exif = content[6:]
        if marker != COMMENT and (marker not in APPLICATION or marker in COLOUR_SEGMENTS):
            header.kept.append(data[position:end])
        position = end
