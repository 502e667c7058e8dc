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
