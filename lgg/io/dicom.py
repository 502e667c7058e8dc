"""The pixels of DICOM files. `dicom_header` reads what stands before them, `dicom_series` joins files.

Compressed pixels are decoded by imagecodecs once the size that they declare is checked: pydicom has no
decoder of its own for lossless JPEG, JPEG-LS and JPEG 2000.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SliceError
from lgg.io.dicom_header import BIG_ENDIAN, IMPLICIT, Header, read_header
from lgg.io.images import Picture, jpeg_segments
from lgg.io.limits import CUT_SHORT, check_size, plausible_spacing

#: The tags around the pieces of a compressed picture.
ITEM, END = 0xE000FFFE, 0xE0DDFFFE

EXPLICIT, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
UNCOMPRESSED = (IMPLICIT, EXPLICIT, BIG_ENDIAN)
#: JPEG with losses, near-lossless JPEG-LS, lossy JPEG 2000.
LOSSY = frozenset(f"1.2.840.10008.1.2.4.{code}" for code in (50, 51, 81, 91, 203))
JPEG_START, J2K_START, JP2_START = b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "
END_OF_JPEG = b"\xff\xd9"
#: Start-of-frame marker (sequential, progressive, lossless; JPEG-LS) → imagecodecs' decoder.
JPEG_DECODERS = dict.fromkeys((0xC0, 0xC1, 0xC2, 0xC3), "jpeg8_decode") | {0xF7: "jpegls_decode"}

MULTI_FRAME = (
    "this DICOM file holds several frames (an enhanced MR object or a film). Read it as a series, or export "
    "it as classic DICOM, one file a slice, or as NIfTI."
)
COLOUR = (
    "this DICOM file is a colour picture (a screenshot or a colour map, perhaps). "
    "Give the MR image itself, which is grey."
)


def is_dicom(data: bytes) -> bool:
    """Whether the bytes carry DICOM's mark; a file without its preamble is not recognised."""
    return data.startswith(b"DICM", 128)


def decode_dicom(data: bytes) -> Picture:
    """Decode a DICOM file of one grey frame.

    Integers of 8, 16 or 32 bits; uncompressed, RLE, JPEG (baseline, extended, lossless), JPEG-LS, JPEG 2000
    and its high throughput. MONOCHROME1, in which low values are bright, is inverted within its range.

    Raises:
        SliceError: several frames, colour, no pixels, a size beyond the limits, or data is missing.
    """
    header = read_header(data)
    if header.frames != 1:
        raise SliceError(MULTI_FRAME)
    return decode_frame(data, header)


def decode_frame(data: bytes, header: Header) -> Picture:
    """Decode the frame that the header tells of."""
    check_size(header.rows, header.columns)
    if header.samples != 1 or header.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise SliceError(COLOUR)
    fits = 1 <= header.stored <= header.high_bit + 1 <= header.allocated
    if header.allocated not in (8, 16, 32) or not fits:
        raise SliceError(
            f"its values have {header.stored} of {header.allocated} bits, which is not read here. "
            "Export the slice with 16 bits a value."
        )
    compressed = header.transfer_syntax not in UNCOMPRESSED
    pixels = _decompressed(data, header) if compressed else _uncompressed(data, header)
    if header.photometric == "MONOCHROME1":
        np.subtract(-1 if header.signed else 2**header.stored - 1, pixels, out=pixels)
    with np.errstate(over="ignore", invalid="ignore"):  # becomes infinite, which the caller refuses
        values = pixels * header.slope + header.intercept  # float64, as the integers may have 32 bits
        image = values.astype(np.float32)[..., None]
    return Picture(image, plausible_spacing(header.spacing), lossy=header.transfer_syntax in LOSSY)


def _uncompressed(data: bytes, header: Header) -> NDArray[np.int64]:
    big = header.transfer_syntax == BIG_ENDIAN
    if big and header.allocated == 8:
        raise SliceError("its bytes are in an order that is not read here. Export it in little endian.")
    count, dtype = header.rows * header.columns, np.dtype(f"{'>' if big else '<'}u{header.allocated // 8}")
    size = count * dtype.itemsize
    if header.pixels_length is None or header.pixels_length < size * header.frames:
        raise SliceError(CUT_SHORT)
    # A ValueError where the file is shorter.
    raw = np.frombuffer(data, dtype, count, header.pixels_at + header.frame * size)
    return _stored_values(raw.reshape(header.rows, header.columns), header, header.stored)


def _decompressed(data: bytes, header: Header) -> NDArray[np.int64]:
    import imagecodecs

    packed, shape = _frame(data, header), (header.rows, header.columns)
    if header.transfer_syntax == RLE:
        dtype = np.dtype(f"<u{header.allocated // 8}")
        raw = bytearray(header.rows * header.columns * dtype.itemsize)
        if len(imagecodecs.dicomrle_decode(packed, dtype, out=raw)) != len(raw):
            raise SliceError(CUT_SHORT)
        return _stored_values(np.frombuffer(raw, dtype).reshape(shape), header, header.stored)
    decoder, *size, channels, bits = _declared(packed)
    if channels != 1:
        raise SliceError(COLOUR)
    if tuple(size) != shape:
        raise SliceError(CUT_SHORT)
    pixels = getattr(imagecodecs, decoder)(packed)
    if pixels.shape != shape:
        raise SliceError(CUT_SHORT)
    # Where the stream has fewer bits than the header says, its own top bit is the sign.
    return _stored_values(pixels, header, min(header.stored, bits))


def _frame(data: bytes, header: Header) -> bytes:
    """The compressed picture that the header tells of, its pieces joined (PS3.5, A.4).

    pydicom's own function joins what there is of a file that ends early, and libjpeg then invents the rest.

    Raises:
        SliceError, struct.error: a piece is missing, or several frames have several pieces each.
    """
    # The first item is the table of offsets.
    pieces, position = [], header.pixels_at
    while (head := struct.unpack_from("<II", data, position))[0] == ITEM:
        position += 8 + head[1]
        if position > len(data):
            raise SliceError(CUT_SHORT)
        pieces.append(slice(position - head[1], position))
    if head[0] != END:
        raise SliceError(CUT_SHORT)
    frames = pieces[1:]
    if header.frames == 1:
        return b"".join(data[piece] for piece in frames)
    if len(frames) != header.frames:
        raise SliceError(
            "its compressed frames are cut into pieces, which is not read here. Export the file uncompressed."
        )
    return data[frames[header.frame]]


def _declared(stream: bytes) -> tuple[str, int, int, int, int]:
    """What a compressed stream says of itself: imagecodecs' decoder, height, width, channels, bits a value.

    Raises:
        SliceError: it is no stream that is decoded here, or it is damaged.
        struct.error: it ends within its header.
    """
    if stream.startswith(JPEG_START):
        if END_OF_JPEG not in stream[-4:]:  # a padding byte or two may follow
            raise SliceError(CUT_SHORT)
        # The walk raises where there is no such segment.
        marker, content = next(
            (kind, body) for kind, _, body in jpeg_segments(stream) if kind in JPEG_DECODERS
        )
        bits, height, width, channels = struct.unpack_from(">BHHB", content)
        return JPEG_DECODERS[marker], height, width, channels, bits
    if stream.startswith(JP2_START):  # some writers wrap the stream in a file
        stream = stream[max(0, stream.find(J2K_START)) :]
    if stream.startswith(J2K_START):
        right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
        channels, precision = struct.unpack_from(">HB", stream, 40)
        return "jpeg2k_decode", bottom - top, right - left, channels, (precision & 0x7F) + 1
    raise SliceError("its compression is not read here. Export the DICOM file uncompressed.")


def _stored_values(raw: NDArray, header: Header, bits: int) -> NDArray[np.int64]:
    """The values among the allocated bits: what stands above them (overlays, in old files) is cut off."""
    aligned = header.transfer_syntax in (*UNCOMPRESSED, RLE)
    shift = header.high_bit + 1 - header.stored if aligned else 0
    values = (raw.astype(np.int64) >> shift) & (2**bits - 1)
    if header.signed:
        values -= (values >> (bits - 1)) << bits
    return values
