"""The part of a DICOM file before its pixels: how they are stored, where they lie, which series they are of.

Only the tags named here are ever taken out of the file. A patient's name, number, dates and hospital are
skipped unread, so no message, log or result can show them. Values are parsed from their bytes, not by
pydicom's types, whose warnings would print them.
"""

import io
import math
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lgg.errors import SliceError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError
from lgg.io.archive import File
from lgg.io.images import LARGEST, SMALLEST, Picture
from lgg.io.limits import CUT_SHORT, check_finite, check_size, check_volume, combine, guarded
from lgg.io.orientation import axial_grid
from lgg.io.sequences import choose, guess
from lgg.types import FLAIR, SEQUENCES, Candidate, Grid, Series

#: Bytes before the pixels. Vendors' private blocks take up to some hundred KiB; each byte more is memory
#: that a forged file could make pydicom spend a hundredfold.
MAX_HEADER = 2**20
MAGIC, MAGIC_AT = b"DICM", 128
#: How far directions may be from unit length and from a right angle.
SLACK = 0.01
#: A text longer than this is cut; DICOM allows 64 characters for all that are read here.
MAX_TEXT = 64
IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
TRANSFER_SYNTAX, PIXEL_DATA = 0x00020010, 0x7FE00010
#: The first of the tags that hold pixels: floats, doubles and integers. Before it stand tables of offsets.
FIRST_PIXELS = 0x7FE00008

SOP_CLASS, INSTANCE, MODALITY, DESCRIPTION = 0x00080016, 0x00080018, 0x00080060, 0x0008103E
STUDY, SERIES, SERIES_NUMBER, NUMBER = 0x0020000D, 0x0020000E, 0x00200011, 0x00200013
POSITION, ORIENTATION, FRAME_OF_REFERENCE = 0x00200032, 0x00200037, 0x00200052
PHOTOMETRIC, FRAMES, THICKNESS, PIXEL_SPACING = 0x00280004, 0x00280008, 0x00180050, 0x00280030
INTERCEPT, SLOPE = 0x00281052, 0x00281053
SAMPLES, ROWS, COLUMNS = 0x00280002, 0x00280010, 0x00280011
ALLOCATED, STORED, HIGH_BIT, SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103
#: Texts, numbers among them, and two-byte integers.
TEXTS = (
    *(SOP_CLASS, INSTANCE, MODALITY, DESCRIPTION, STUDY, SERIES, SERIES_NUMBER, NUMBER),
    *(POSITION, ORIENTATION, FRAME_OF_REFERENCE, PHOTOMETRIC, FRAMES, THICKNESS, PIXEL_SPACING),
    *(INTERCEPT, SLOPE),
)
SHORTS = (SAMPLES, ROWS, COLUMNS, ALLOCATED, STORED, HIGH_BIT, SIGNED)


class NoPictureError(SliceError):
    """A DICOM file of another kind: a report, a directory, a plan."""


@dataclass(frozen=True)
class Identity:
    """What a result that refers to the file must repeat: unique identifiers, none of the patient."""

    sop_class: str
    instance: str
    series: str
    study: str
    frame_of_reference: str


@dataclass(frozen=True)
class Header:
    """What is read of a DICOM file.

    Attributes:
        identity: its unique identifiers, each "" where it is missing.
        modality: `MR`, `CT` …; description: the series', in the scanner's words; both "" where missing.
        series_number, number: the series' in the study, the slice's in the series; None where missing.
        rows, columns: size in pixels; samples: values a pixel; frames: pictures in the file.
        photometric: `MONOCHROME1`, `MONOCHROME2`, `RGB` …
        allocated, stored, high_bit: bits a value takes, bits that count, number of the highest of these.
        signed: whether values are two's complement.
        slope, intercept: from stored values to the scanner's.
        spacing: (row, column) distance of pixel centres in mm, from PixelSpacing alone: ImagerPixelSpacing
            is measured at the detector, not in the patient.
        thickness: of the slice in mm.
        orientation: direction of a row, then of a column, two unit vectors in the patient's LPS axes.
        position: centre of the first pixel in mm, in the same axes.
        transfer_syntax: how the pixels are packed.
        pixels_at, pixels_length: where they begin in the file, and their stated length; None where it is
            left open, as it is for compressed pixels.
    """

    identity: Identity
    modality: str
    description: str
    series_number: int | None
    number: int | None
    rows: int
    columns: int
    samples: int
    frames: int
    photometric: str
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    slope: float
    intercept: float
    spacing: tuple[float, float] | None
    thickness: float | None
    orientation: tuple[float, ...] | None
    position: tuple[float, ...] | None
    transfer_syntax: str
    pixels_at: int
    pixels_length: int | None


def is_dicom(data: bytes) -> bool:
    """Whether the bytes carry DICOM's mark; a file without its preamble is not recognised."""
    return data.startswith(MAGIC, MAGIC_AT)


def read_header(data: bytes) -> Header:
    """Parse a DICOM file up to its pixels.

    Raises:
        SliceError: it holds no picture, or its header is over `MAX_HEADER` bytes, incomplete, deflated or
            damaged.
    """
    from pydicom.filereader import read_dataset

    stream = io.BytesIO(data[:MAX_HEADER])
    stream.seek(MAGIC_AT + len(MAGIC))
    meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    syntax = _Fields(meta).text(TRANSFER_SYNTAX) or IMPLICIT
    if syntax == DEFLATED:
        raise SliceError("this DICOM file is packed as a whole (deflated). Export it uncompressed.")
    found: list[tuple[int, int]] = []

    def at_pixels(tag: int, _: str | None, length: int) -> bool:
        if tag >= FIRST_PIXELS:
            found.append((tag, length))
        return bool(found)

    dataset = read_dataset(
        stream,
        syntax == IMPLICIT,
        syntax != BIG_ENDIAN,
        stop_when=at_pixels,
        specific_tags=[*TEXTS, *SHORTS],
    )
    if not found:
        _refuse_without_pixels(len(data))
    tag, length = found[0]
    if tag != PIXEL_DATA:
        raise SliceError("this DICOM file holds no integer pixels. Export the MR image itself.")
    # Behind tag and length, and between them, if types are stated, two letters and two zeros.
    at = stream.tell() + (8 if dataset.original_encoding[0] else 12)
    header = _header(_Fields(dataset), syntax, at, None if length == 0xFFFFFFFF else length)
    _check_stated(header)
    return header


def _check_stated(header: Header) -> None:
    """Refuse a header that leaves out what the pixels cannot be read without."""
    needed = {
        "Rows": header.rows,
        "Columns": header.columns,
        "BitsAllocated": header.allocated,
        "BitsStored": header.stored,
        "PhotometricInterpretation": header.photometric,
    }
    missing = [name for name, value in needed.items() if not value]
    if missing:
        raise SliceError(
            f"this DICOM file does not state {', '.join(missing)}, so its pixels cannot be read. "
            "Export the slice once more."
        )


def _refuse_without_pixels(size: int) -> None:
    if size > MAX_HEADER:
        raise SliceError("its DICOM header is over 1 MiB. Export the slice once more, without private tags.")
    raise NoPictureError(
        "this DICOM file holds no picture (a report, a directory or a plan, perhaps), or it is cut short. "
        "Upload the MR images themselves."
    )


class _Fields:
    """The values of a dataset, from the bytes that they have in the file."""

    def __init__(self, dataset: "Dataset") -> None:
        self._order = ">" if dataset.original_encoding[1] is False else "<"
        self._bytes = {int(one.tag): one.value for one in dataset.elements() if isinstance(one.value, bytes)}

    def text(self, tag: int) -> str:
        """The first value, printable and at most `MAX_TEXT` characters; "" where there is none."""
        text = self._bytes.get(tag, b"").decode("latin-1").split("\\")[0]
        return "".join(one for one in text if one.isprintable()).strip()[:MAX_TEXT]

    def short(self, tag: int, default: int) -> int:
        """An unsigned integer of two bytes."""
        value = self._bytes.get(tag, b"")
        return struct.unpack(self._order + "H", value)[0] if len(value) == 2 else default

    def numbers(self, tag: int, count: int) -> tuple[float, ...]:
        """So many finite numbers, or none at all."""
        values: list[float] = []
        with suppress(ValueError):
            values = [float(one) for one in self._bytes.get(tag, b"").rstrip(b"\0 ").split(b"\\")]
        return tuple(values) if len(values) == count and all(map(math.isfinite, values)) else ()

    def whole(self, tag: int) -> int | None:
        """An integer that is stored as text."""
        values = self.numbers(tag, 1)
        return int(values[0]) if values else None


def _header(fields: _Fields, syntax: str, at: int, length: int | None) -> Header:
    stored = fields.short(STORED, 0)
    spacing = fields.numbers(PIXEL_SPACING, 2)
    return Header(
        Identity(*(fields.text(tag) for tag in (SOP_CLASS, INSTANCE, SERIES, STUDY, FRAME_OF_REFERENCE))),
        modality=fields.text(MODALITY),
        description=fields.text(DESCRIPTION),
        series_number=fields.whole(SERIES_NUMBER),
        number=fields.whole(NUMBER),
        rows=fields.short(ROWS, 0),
        columns=fields.short(COLUMNS, 0),
        samples=fields.short(SAMPLES, 1),
        frames=fields.whole(FRAMES) or 1,
        photometric=fields.text(PHOTOMETRIC),
        allocated=fields.short(ALLOCATED, 0),
        stored=stored,
        high_bit=fields.short(HIGH_BIT, stored - 1),
        signed=fields.short(SIGNED, 0) == 1,
        # A slope of zero would wipe the picture out: writers mean that they have none.
        slope=(fields.numbers(SLOPE, 1) or (1.0,))[0] or 1.0,
        intercept=(fields.numbers(INTERCEPT, 1) or (0.0,))[0],
        spacing=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        thickness=(fields.numbers(THICKNESS, 1) or (None,))[0],
        orientation=_unit_vectors(fields.numbers(ORIENTATION, 6)),
        position=fields.numbers(POSITION, 3) or None,
        transfer_syntax=syntax,
        pixels_at=at,
        pixels_length=length,
    )


def _unit_vectors(values: tuple[float, ...]) -> tuple[float, ...] | None:
    """Both directions, if they are of length one and perpendicular as far as rounded texts can be."""
    if not values:
        return None
    row, column = values[:3], values[3:]
    lengths = (math.hypot(*row), math.hypot(*column))
    across = sum(one * other for one, other in zip(row, column, strict=True))
    fits = all(abs(one - 1) < SLACK for one in lengths) and abs(across) < SLACK
    return values if fits else None


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
    packed = frame(data, header.pixels_at)
    if header.transfer_syntax == RLE:
        pixels = decode_rle(packed, header.rows, header.columns, header.allocated // 8)
        return _stored_values(pixels, header, header.stored)
    stream = declared(packed)
    if stream.channels != 1:
        raise SliceError(COLOUR)
    if (stream.height, stream.width) != (header.rows, header.columns):
        raise SliceError(CUT_SHORT)
    # Where the stream has fewer bits than the header says, its own top bit is the sign.
    return _stored_values(decode(packed, stream), header, min(header.stored, stream.bits))


def _stored_values(raw: NDArray, header: Header, bits: int) -> NDArray[np.int64]:
    """The values among the allocated bits: what stands above them (overlays, in old files) is cut off."""
    shift = header.high_bit + 1 - header.stored if header.transfer_syntax in (*PLAIN, RLE) else 0
    values = (raw.astype(np.int64) >> shift) & (2**bits - 1)
    if header.signed:
        values -= (values >> (bits - 1)) << bits
    return values


#: Two slices closer than this, in mm, lie in one place: echoes, or phases in time.
SAME_PLACE = 0.01
#: How far, in mm, slices of two sequences may lie apart and still be the same slice.
TOLERANCE = 0.5
#: How far the directions (as cosines) and the pixel spacings (in mm) of one stack may differ.
POSITION_SLACK = 1e-2
#: Gaps that differ from the usual one by this share are uneven; by half as much again, slices are missing.
UNEVEN, MISSING = 0.1, 0.5
#: DICOM counts x to the left and y to the back, NIfTI to the right and to the front.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Stack:
    """The files of one DICOM series in the order of `places`, which lead along the normal, in mm."""

    files: tuple[File, ...]
    headers: tuple[Header, ...]
    places: NDArray[np.float64]


def sort_stack(group: Sequence[tuple[File, Header]]) -> Stack:
    """Sort slices by their positions, projected on the normal of the planes.

    Raises:
        SeriesError: a file tells no position, or slices differ in size or direction or share a place.
    """
    (first_file, first), *_ = group
    if len(group) == 1 and (first.orientation is None or first.position is None):
        return Stack((first_file,), (first,), np.zeros(1))
    for file, header in group:
        if header.orientation is None or header.position is None:
            raise SeriesError(
                f"{file.name}: it does not say where in the patient it lies, so the order of the slices is "
                "unknown. Export the original series, or save the slices as numbered TIFF or PNG files."
            )
        _check_like(first_file, first, file, header)
    row, column = _directions(first)
    normal = np.cross(row, column)
    places = np.array([np.dot(header.position or (), normal) for _, header in group])
    order = np.argsort(places, kind="stable")
    stack = Stack(
        tuple(group[index][0] for index in order),
        tuple(group[index][1] for index in order),
        places[order],
    )
    close = np.flatnonzero(np.diff(stack.places) < SAME_PLACE)
    if close.size:
        one, other = stack.files[close[0]], stack.files[close[0] + 1]
        raise SeriesError(
            f"{one.name} and {other.name} lie in the same place (echoes or points in time, perhaps). "
            "Upload one image of each slice."
        )
    return stack


def stack_grid(stack: Stack) -> Grid:
    """The grid of the stack's array (slices, rows, columns); without a place where a lone file tells none.

    A tilted gantry shears the stack, and its affine says so. Where the spacing is missing, its place is told
    as if pixels were 1 mm: only directions count then.
    """
    first, last = stack.headers[0], stack.headers[-1]
    shape = (len(stack.files), first.rows, first.columns)
    if first.orientation is None or first.position is None or last.position is None:
        return Grid(shape)
    row, column = _directions(first)
    row_spacing, column_spacing = first.spacing or (1.0, 1.0)
    step = np.cross(row, column)
    if len(stack.files) > 1:
        # The usual gap, along the line from the first slice to the last.
        line = np.subtract(last.position, first.position)
        step = line * np.median(np.diff(stack.places)) / (stack.places[-1] - stack.places[0])
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ np.column_stack([step, column * row_spacing, row * column_spacing])
    affine[:3, 3] = LPS_TO_RAS @ first.position
    return axial_grid(shape, affine)


def gaps(stack: Stack) -> list[str]:
    """What is uneven about the distances of the slices, in words."""
    steps = np.diff(stack.places)
    if len(steps) < 2:
        return []
    usual = float(np.median(steps))
    missing = int(np.maximum(np.round(steps / usual) - 1, 0)[steps > (1 + MISSING) * usual].sum())
    if missing:
        slices = "1 slice seems" if missing == 1 else f"{missing} slices seem"
        return [f"{slices} to be missing: most lie {usual:.2f} mm apart, some up to {steps.max():.2f} mm."]
    if np.abs(steps - usual).max() > UNEVEN * usual:
        return [f"The slices are not evenly spaced: {steps.min():.2f} to {steps.max():.2f} mm apart."]
    return []


def check_same_grid(flair: Stack, other: Stack, sequence: str) -> None:
    """Refuse a sequence whose slices are not those of the FLAIR.

    Raises:
        SeriesError: number, size, direction, spacing or places differ.
    """
    one, two = flair.headers[0], other.headers[0]
    same = (len(flair.files), one.rows, one.columns) == (len(other.files), two.rows, two.columns)
    same = (
        same
        and _near(one.orientation, two.orientation, POSITION_SLACK)
        and _near(one.spacing, two.spacing, POSITION_SLACK)
    )
    # A lone slice may come without a position: then no second sequence can be laid on it.
    if not same or not all(
        header.position and match.position and math.dist(header.position, match.position) <= TOLERANCE
        for header, match in zip(flair.headers, other.headers, strict=True)
    ):
        raise SeriesError(
            f"The {sequence} series does not lie on the grid of the FLAIR series. Register and resample it "
            "to the FLAIR first, or upload FLAIR alone."
        )


def _check_like(first_file: File, first: Header, file: File, header: Header) -> None:
    if (header.rows, header.columns) != (first.rows, first.columns):
        raise SeriesError(
            f"{file.name} is {header.columns} × {header.rows} pixels, {first_file.name} is "
            f"{first.columns} × {first.rows}. Upload the slices of one series."
        )
    if not _near(header.orientation, first.orientation, POSITION_SLACK):
        raise SeriesError(
            f"{file.name} and {first_file.name} are not parallel (a localizer, perhaps). "
            "Upload one stack of slices."
        )
    if not _near(header.spacing, first.spacing, POSITION_SLACK):
        raise SeriesError(f"{file.name} and {first_file.name} differ in pixel spacing. Upload one series.")


def _near(one: tuple[float, ...] | None, other: tuple[float, ...] | None, slack: float) -> bool:
    if one is None or other is None:
        return one == other
    return bool(np.abs(np.subtract(one, other)).max() <= slack)


def _directions(header: Header) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors along a row and along a column."""
    values = np.array(header.orientation, np.float64)
    return values[:3] / np.linalg.norm(values[:3]), values[3:] / np.linalg.norm(values[3:])


def read_dicom_series(
    files: Sequence[File], source: str, assignment: Mapping[str, str] | None = None
) -> Series:
    """Read one DICOM series as FLAIR, or several as the sequences of one patient.

    Args:
        files: DICOM files of one frame each, in any order; reports and directories among them are left out.
        source: what the result is called.
        assignment: SeriesInstanceUID → `pre`, `flair` or `post`.

    Raises:
        SliceError: a file cannot be read; it is named.
        SeriesError: nobody knows which series is which, slices are not parallel or lie in one place, the
            sequences are not on one grid, or there is too much.
    """
    groups, notes = _groups(files)
    candidates = tuple(_candidate(key, group) for key, group in groups.items())
    chosen = choose(candidates, assignment)
    if len(candidates) > len(chosen):
        notes.append(f"Further series in the upload were left out: {len(candidates) - len(chosen)}.")
    for one in chosen.values():
        check_volume(len(groups[one.key]), groups[one.key][0][1].rows, groups[one.key][0][1].columns)
    stacks = {channel: sort_stack(groups[one.key]) for channel, one in chosen.items()}
    flair = stacks[FLAIR]
    for channel in set(stacks) - {FLAIR}:
        check_same_grid(flair, stacks[channel], SEQUENCES[channel])
    notes += gaps(flair)
    if (first := flair.headers[0]).modality not in ("MR", ""):
        notes.append(f"The files say {first.modality}, not MR: the networks were trained on MR alone.")
    grid = stack_grid(flair)
    pixels = combine({channel: grid.to_axial(_pixels(stack)) for channel, stack in stacks.items()}, source)
    distances = grid.distances if first.spacing else None
    return Series(
        pixels,
        source,
        _names(flair, grid.order[0] == 0, grid.flipped[0], len(pixels)),
        grid,
        flair_only=len(stacks) == 1,
        spacing=distances and distances[1:],
        # Of a lone slice nobody knows how far the next one is.
        slice_distance=distances[0] if distances and len(flair.files) > 1 else None,
        dicom=flair.headers,
        candidates=candidates,
        chosen={channel: one.key for channel, one in chosen.items()},
        notes=tuple(notes),
    )


def _groups(files: Sequence[File]) -> tuple[dict[str, list[tuple[File, Header]]], list[str]]:
    """The files of each series, by its unique identifier; and what was left out."""
    groups: dict[str, list[tuple[File, Header]]] = defaultdict(list)
    left_out, last = 0, None
    for file in files:
        try:
            header = guarded(read_header, file.data)
        except NoPictureError as error:
            left_out, last = left_out + 1, SliceError(f"{file.name}: {error}")
            continue
        except SliceError as error:
            raise SliceError(f"{file.name}: {error}") from error.__cause__
        groups[header.identity.series].append((file, header))
    if not groups and last:
        raise last
    notes = [f"DICOM files without a picture were left out: {left_out}."] if left_out else []
    return dict(groups), notes


def _candidate(key: str, group: Sequence[tuple[File, Header]]) -> Candidate:
    header = group[0][1]
    name = header.description or "no description"
    number = "" if header.series_number is None else f"series {header.series_number}, "
    slices = "1 slice" if len(group) == 1 else f"{len(group)} slices"
    return Candidate(key, f"{name} ({number}{slices})", guess(header.description))


def _pixels(stack: Stack) -> NDArray[np.float32]:
    """(slices, rows, columns) float32 in the order of the stack."""
    first = stack.headers[0]
    pixels = np.empty((len(stack.files), first.rows, first.columns), np.float32)
    for number, file in enumerate(stack.files):
        try:
            picture = guarded(read_dicom, file.data)[0]
            check_finite(picture.pixels)
        except SliceError as error:
            raise SliceError(f"{file.name}: {error}") from error.__cause__
        pixels[number] = picture.pixels[..., 0]
    return pixels


def _names(stack: Stack, axial: bool, flipped: bool, count: int) -> tuple[str, ...]:
    """The files' names in the order of the axial slices, if a file is one."""
    if not axial:
        return tuple(f"slice {number}" for number in range(1, count + 1))
    names = [file.name for file in stack.files]
    return tuple(reversed(names) if flipped else names)
