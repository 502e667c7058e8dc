"""DICOM: one grey picture of one frame, in the scanner's own values.

The window that a viewer would use is not applied: it says how to show a slice, not what was measured, and
networks normalise by themselves. The rescale slope and intercept are.
"""

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SliceError
from lgg.reading import codestream
from lgg.reading.dicom_header import BIG_ENDIAN, EXPLICIT, IMPLICIT, Header, read_header
from lgg.reading.picture import CUT_SHORT, Picture, check_size
from lgg.reading.spacing import LARGEST, SMALLEST

RLE = "1.2.840.10008.1.2.5"
PLAIN = (IMPLICIT, EXPLICIT, BIG_ENDIAN)
#: JPEG with losses, near-lossless JPEG-LS, lossy JPEG 2000.
LOSSY = frozenset("1.2.840.10008.1.2.4." + one for one in ("50", "51", "81", "91", "203"))
MULTI_FRAME = (
    "this DICOM file holds several frames (an enhanced MR object or a film). Export the series as classic "
    "DICOM, one file a slice, or as NIfTI."
)
COLOUR = (
    "this DICOM file is a colour picture (a screenshot or a colour map, perhaps). "
    "Upload the MR image itself, which is grey."
)


def decode_dicom(data: bytes) -> Picture:
    """Decode a DICOM file, as `read_dicom`, without its header."""
    return read_dicom(data)[0]


def read_dicom(data: bytes) -> tuple[Picture, Header]:
    """Decode a DICOM file of one grey frame, and what its header says of the place of its pixels.

    Integers of 8, 16 or 32 bits; uncompressed, RLE, JPEG (baseline, extended, lossless), JPEG-LS, JPEG 2000
    and its high throughput. MONOCHROME1, in which low values are bright, is inverted within its range.

    Raises:
        SliceError: several frames, colour, no pixels, a size beyond the limits, or data is missing.
    """
    header = read_header(data)
    if header.frames != 1:
        raise SliceError(MULTI_FRAME)
    check_size(header.rows, header.columns)
    if header.samples != 1 or header.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise SliceError(COLOUR)
    if (
        header.allocated not in (8, 16, 32)
        or not 1 <= header.stored <= header.high_bit + 1 <= header.allocated
    ):
        raise SliceError(
            f"its values have {header.stored} of {header.allocated} bits, which is not read here. "
            "Export the slice with 16 bits a value."
        )
    pixels = _unpacked(data, header) if header.transfer_syntax in PLAIN else _decompressed(data, header)
    if header.photometric == "MONOCHROME1":
        top = 2**header.stored - 1
        np.subtract(-1 if header.signed else top, pixels, out=pixels)
    values = pixels * header.slope + header.intercept  # float64, as the integers may have 32 bits
    with np.errstate(over="ignore"):  # becomes infinite, which the caller refuses
        image = values.astype(np.float32)[..., None]
    believable = header.spacing and all(SMALLEST <= one <= LARGEST for one in header.spacing)
    picture = Picture(image, header.spacing if believable else None, lossy=header.transfer_syntax in LOSSY)
    return picture, header


def _unpacked(data: bytes, header: Header) -> NDArray[np.int64]:
    big = header.transfer_syntax == BIG_ENDIAN
    if big and header.allocated == 8:
        raise SliceError("its bytes are in an order that is not read here. Export it in little endian.")
    size = header.rows * header.columns * header.allocated // 8
    packed = data[header.pixels_at : header.pixels_at + size]
    if header.pixels_length is None or header.pixels_length < size or len(packed) < size:
        raise SliceError(CUT_SHORT)
    dtype = np.dtype(f"{'>' if big else '<'}u{header.allocated // 8}")
    shape = header.rows, header.columns
    return _stored_values(np.frombuffer(packed, dtype).reshape(shape), header, header.stored)


def _decompressed(data: bytes, header: Header) -> NDArray[np.int64]:
    frame = codestream.frame(data, header.pixels_at)
    if header.transfer_syntax == RLE:
        pixels = codestream.decode_rle(frame, header.rows, header.columns, header.allocated // 8)
        return _stored_values(pixels, header, header.stored)
    stream = codestream.declared(frame)
    if stream.channels != 1:
        raise SliceError(COLOUR)
    if (stream.height, stream.width) != (header.rows, header.columns):
        raise SliceError(CUT_SHORT)
    # Where the stream has fewer bits than the header says, its own top bit is the sign.
    return _stored_values(codestream.decode(frame, stream), header, min(header.stored, stream.bits))


def _stored_values(raw: NDArray, header: Header, bits: int) -> NDArray[np.int64]:
    """The values among the allocated bits: what stands above them (overlays, in old files) is cut off."""
    shift = header.high_bit + 1 - header.stored if header.transfer_syntax in (*PLAIN, RLE) else 0
    values = (raw.astype(np.int64) >> shift) & (2**bits - 1)
    if header.signed:
        values -= (values >> (bits - 1)) << bits
    return values
