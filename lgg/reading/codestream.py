"""Compressed pictures inside DICOM: what a JPEG, JPEG-LS or JPEG 2000 stream declares, and its pixels.

imagecodecs decodes them all. What a stream declares is compared with the DICOM header first, so no decoder
reserves memory for a size that was not checked.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SliceError
from lgg.reading.picture import CUT_SHORT

JPEG_START, J2K_START, JP2_START = b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "
#: Start-of-frame markers: sequential and progressive, lossless, JPEG-LS.
SEQUENTIAL, LOSSLESS, JPEG_LS = frozenset((0xC0, 0xC1, 0xC2)), 0xC3, 0xF7
#: The tags around the pieces of a compressed picture.
ITEM, END = 0xE000FFFE, 0xE0DDFFFE
END_OF_JPEG = b"\xff\xd9"
#: Segments before the frame header.
MAX_SEGMENTS = 1000


@dataclass(frozen=True)
class Stream:
    """What a compressed stream declares: its codec, height, width, channels and bits a value."""

    codec: str
    height: int
    width: int
    channels: int
    bits: int


def frame(data: bytes, start: int) -> bytes:
    """The one compressed picture of a file, its pieces joined (PS3.5, A.4).

    pydicom's own function joins what there is of a file that ends early, and libjpeg then invents the rest.

    Args:
        start: where the first item, the table of offsets, begins.

    Raises:
        SliceError, struct.error: a piece is missing.
    """
    pieces, position = [], start
    while (head := struct.unpack_from("<II", data, position))[0] == ITEM:
        position += 8 + head[1]
        if position > len(data):
            raise SliceError(CUT_SHORT)
        pieces.append(data[position - head[1] : position])
    if head[0] != END:
        raise SliceError(CUT_SHORT)
    return b"".join(pieces[1:])


def declared(data: bytes) -> Stream:
    """Read a stream's own header.

    Raises:
        SliceError: it is no stream that is decoded here, or it is damaged.
        struct.error: it ends within its header.
    """
    if data.startswith(JPEG_START):
        if END_OF_JPEG not in data[-4:]:  # a padding byte or two may follow
            raise SliceError(CUT_SHORT)
        return _jpeg(data)
    if data.startswith(JP2_START):  # some writers wrap the stream in a file
        data = data[max(0, data.find(J2K_START)) :]
    if data.startswith(J2K_START):
        right, bottom, left, top = struct.unpack_from(">4I", data, 8)
        channels, precision = struct.unpack_from(">HB", data, 40)
        return Stream("jpeg2k", bottom - top, right - left, channels, (precision & 0x7F) + 1)
    raise SliceError("its compression is not read here. Export the DICOM file uncompressed.")


def decode(data: bytes, stream: Stream) -> NDArray:
    """(H, W) integers of a stream of one channel, whose declared size was checked."""
    import imagecodecs

    decoders = {
        "jpeg": imagecodecs.jpeg8_decode,
        "jpegls": imagecodecs.jpegls_decode,
        "jpeg2k": imagecodecs.jpeg2k_decode,
    }
    pixels = decoders[stream.codec](data)
    if pixels.shape != (stream.height, stream.width):
        raise SliceError(CUT_SHORT)
    return pixels


def decode_rle(data: bytes, height: int, width: int, itemsize: int) -> NDArray:
    """(H, W) little-endian unsigned integers of DICOM's run-length encoding (PS3.5, annex G)."""
    import imagecodecs

    packed = bytearray(height * width * itemsize)
    dtype = np.dtype(f"<u{itemsize}")
    if len(imagecodecs.dicomrle_decode(data, dtype, out=packed)) != len(packed):
        raise SliceError(CUT_SHORT)
    return np.frombuffer(packed, dtype).reshape(height, width)


def _jpeg(data: bytes) -> Stream:
    position = 2
    for _ in range(MAX_SEGMENTS):
        while data[position + 1] == 0xFF:  # padding
            position += 1
        marker, length = struct.unpack_from(">xBH", data, position)
        if marker in SEQUENTIAL or marker in (LOSSLESS, JPEG_LS):
            bits, height, width, channels = struct.unpack_from(">BHHB", data, position + 4)
            return Stream("jpegls" if marker == JPEG_LS else "jpeg", height, width, channels, bits)
        position += 2 + length
    raise SliceError(CUT_SHORT)
