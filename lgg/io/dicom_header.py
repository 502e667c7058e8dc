"""What stands before a DICOM file's pixels: the few fields that are needed, and nothing of the patient.

Only the fields in `KEYWORDS` are ever taken out of a file. A patient's name, number, dates and hospital are
skipped unread, so no message, log or result can show them. Values are parsed from their bytes, not by
pydicom's types, whose warnings would print them.
"""

import io
import math
import struct
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lgg.errors import SliceError
from lgg.io.limits import CUT_SHORT
from lgg.io.orientation import unit_vectors
from lgg.io.sequences import Parameters
from lgg.types import DicomReference

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Bytes before the pixels. Vendors' private blocks take up to some hundred KiB; each byte more is memory
#: that a forged file could make pydicom spend a hundredfold.
MAX_HEADER = 2**20
#: The same of a multi-frame file, whose header tells the place of each frame.
MAX_FRAMES_HEADER = 2**22
#: Items of sequences in such a header: sixty a frame, and each takes a KiB once it is parsed.
MAX_ITEMS = 2**15
#: A text longer than this is cut; DICOM allows 64 characters for all that are read here.
MAX_TEXT = 64
#: All that is read of a header.
KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"),
    *("Modality", "SeriesDescription", "SeriesNumber", "ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "SliceThickness", "RescaleIntercept", "RescaleSlope", "NumberOfFrames"),
    *("PhotometricInterpretation", "SamplesPerPixel", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("EchoTime", "RepetitionTime", "InversionTime", "ScanningSequence", "ContrastBolusAgent", "ImageType"),
    *("ProtocolName", "AcquisitionContrast", "EchoPulseSequence", "EchoPlanarPulseSequence"),
    *("InversionRecovery", "ContrastBolusAgentSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
#: Enhanced MR and CT, and those converted from one file a slice: all frames of a series in a file.
ENHANCED = tuple(f"1.2.840.10008.5.1.4.1.1.{code}" for code in ("4.1", "4.4", "2.1", "2.2"))
#: The tag SpecificCharacterSet in either byte order → one that nobody uses. pydicom logs the value of a set
#: that it does not know, in a damaged file any field; texts are read as Latin-1 here, so it sees none.
CHARACTER_SETS = {b"\x08\0\x05\0": b"\x08\0\x04\0", b"\0\x08\0\x05": b"\0\x08\0\x04"}
#: Integer pixels, and the first of the tags that hold any: floats and doubles stand before integers.
PIXEL_DATA, FIRST_PIXELS = 0x7FE00010, 0x7FE00008

IMPLICIT, BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"

NO_PLACES = (
    "this DICOM file holds several frames, and does not say where in the patient each lies. Export the "
    "series as classic DICOM, one file a slice, or as NIfTI."
)


class NoPictureError(SliceError):
    """A DICOM file of another kind: a report, a directory, a plan, a film."""


@dataclass(frozen=True)
class Header(DicomReference):
    """What is read of a DICOM file.

    Attributes:
        modality: `MR`, `CT` …; description: the series', in the scanner's words; both "" where missing.
        series_number: the series' in the study; None where missing.
        parameters: how it was taken.
        samples: values a pixel; photometric: `MONOCHROME2`, `RGB` …
        allocated, stored, high_bit: bits a value takes, bits that count, number of the highest of these.
        signed: whether values are two's complement; slope, intercept: from stored values to the scanner's.
        transfer_syntax: how the pixels are packed.
        pixels_at, pixels_length: where they begin in the file, and their stated length; None where it is
            left open, as it is for compressed pixels.
    """

    modality: str
    description: str
    series_number: int | None
    samples: int
    photometric: str
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    slope: float
    intercept: float
    transfer_syntax: str
    pixels_at: int
    pixels_length: int | None
    parameters: Parameters = field(default_factory=Parameters)


def read_header(data: bytes) -> Header:
    """Parse a DICOM file up to its pixels.

    Args:
        data: the file, or its beginning as far as its pixels.

    Raises:
        NoPictureError: it holds no pixels.
        SliceError: its header is over the limit, incomplete, deflated or damaged.
    """
    return _parse(data)[0]


def read_frames(data: bytes) -> list[Header]:
    """The same for each frame of an enhanced file; of any other file, its one header.

    Raises:
        NoPictureError, SliceError: as for `read_header`; or nobody knows where the frames lie.
    """
    header, fields = _parse(data)
    frames = fields.items("PerFrameFunctionalGroupsSequence")
    if not frames:
        if header.frames != 1:
            raise NoPictureError(NO_PLACES)
        return [header]
    if len(frames) != header.frames:
        raise SliceError(CUT_SHORT)
    shared = fields.items("SharedFunctionalGroupsSequence")
    return [_frame_header(header, number, [frame, *shared[:1]]) for number, frame in enumerate(frames)]


def _parse(data: bytes) -> "tuple[Header, _Fields]":
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_dataset

    # Told in the first group of the file, so it is known before anything is parsed.
    enhanced = any(f"{uid}\0".encode() in data[:1024] for uid in ENHANCED)
    limit = MAX_FRAMES_HEADER if enhanced else MAX_HEADER
    head = data[:limit]
    if enhanced and max(head.count(struct.pack(order + "HH", 0xFFFE, 0xE000)) for order in "<>") > MAX_ITEMS:
        raise SliceError("its DICOM header is too long. Export the series as classic DICOM or as NIfTI.")
    for tag_bytes, unused in CHARACTER_SETS.items():
        head = head.replace(tag_bytes, unused)
    stream = io.BytesIO(head)
    stream.seek(132)
    # Not dcmread: it inflates a deflated file without a limit, and does not tell where the pixels begin.
    meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    syntax = _Fields(meta).text("TransferSyntaxUID") or IMPLICIT
    if syntax == DEFLATED:
        raise SliceError("this DICOM file is packed as a whole (deflated). Export it uncompressed.")
    pixels: list[tuple[int, int]] = []  # tag and length

    def at_pixels(tag: int, _: str | None, length: int) -> bool:
        if tag >= FIRST_PIXELS:
            pixels.append((tag, length))
        return bool(pixels)

    tags = [tag for keyword in KEYWORDS if (tag := tag_for_keyword(keyword)) is not None]
    little = syntax != BIG_ENDIAN
    dataset = read_dataset(stream, syntax == IMPLICIT, little, stop_when=at_pixels, specific_tags=tags)
    if not pixels and len(data) > limit:
        raise SliceError(
            f"its DICOM header is over {limit >> 20} MiB. Export the slice once more, without private tags."
        )
    if not pixels:
        raise NoPictureError(
            "this DICOM file holds no picture (a report, a directory or a plan, perhaps), or it is cut "
            "short. Give the MR images themselves."
        )
    tag, length = pixels[0]
    if tag != PIXEL_DATA:
        raise SliceError("this DICOM file holds no integer pixels. Export the MR image itself.")
    # Behind tag and length, and between them, if types are stated, two letters and two zeros.
    at = stream.tell() + (8 if dataset.original_encoding[0] else 12)
    fields = _Fields(dataset)
    needed = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PhotometricInterpretation")
    if missing := [keyword for keyword in needed if not (fields.short(keyword, 0) or fields.text(keyword))]:
        raise SliceError(
            f"this DICOM file does not state {', '.join(missing)}, so its pixels cannot be read. "
            "Export the slice once more."
        )
    return _header(fields, syntax, at, None if length == 0xFFFFFFFF else length), fields


class _Fields:
    """The values of a dataset by keyword, from the bytes that they have in the file."""

    def __init__(self, dataset: "Dataset") -> None:
        from pydicom.datadict import keyword_for_tag

        self._implicit, little = dataset.original_encoding[0] is True, dataset.original_encoding[1]
        self._order = ">" if little is False else "<"
        # Not by keys: those of elements convert their values.
        self._values = {keyword_for_tag(element.tag): element.value for element in dataset.elements()}
        self._bytes = {key: value for key, value in self._values.items() if isinstance(value, bytes)}

    def items(self, keyword: str) -> "list[_Fields]":
        """The items of a sequence; none where it is missing."""
        from pydicom.filereader import read_sequence

        value = self._values.get(keyword) or ()
        if isinstance(value, bytes):  # its length is stated; otherwise it is parsed already
            little = self._order == "<"
            value = read_sequence(io.BytesIO(value), self._implicit, little, len(value), "iso8859")
        return [_Fields(item) for item in value]

    def text(self, keyword: str) -> str:
        """The first value, printable and at most `MAX_TEXT` characters; "" where there is none."""
        return self.texts(keyword)[0]

    def texts(self, keyword: str) -> tuple[str, ...]:
        """All values, as `text`; one "" where there is none."""
        values = self._bytes.get(keyword, b"").decode("latin-1").split("\\")
        printable = ("".join(filter(str.isprintable, value)) for value in values)
        return tuple(value.strip()[:MAX_TEXT] for value in printable)

    def short(self, keyword: str, default: int) -> int:
        """An unsigned integer of two bytes."""
        value = self._bytes.get(keyword, b"")
        return struct.unpack(self._order + "H", value)[0] if len(value) == 2 else default

    def numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """So many finite numbers, or none at all."""
        values: list[float] = []
        with suppress(ValueError):
            values = [float(text) for text in self._bytes.get(keyword, b"").rstrip(b"\0 ").split(b"\\")]
        return tuple(values) if len(values) == count and all(map(math.isfinite, values)) else ()

    def double(self, keyword: str) -> float | None:
        """The first of binary numbers of eight bytes, where it is finite."""
        value = self._bytes.get(keyword, b"")
        number = struct.unpack_from(self._order + "d", value)[0] if len(value) >= 8 else math.nan
        return number if math.isfinite(number) else None

    def spacing(self) -> tuple[float, float] | None:
        """PixelSpacing, where it can be one."""
        values = self.numbers("PixelSpacing", 2)
        return (values[0], values[1]) if values and min(values) > 0 else None

    def number(self, keyword: str) -> float | None:
        """A lone finite number."""
        return (self.numbers(keyword, 1) or (None,))[0]


def _header(fields: _Fields, syntax: str, at: int, length: int | None) -> Header:
    stored, series_number = fields.short("BitsStored", 0), fields.number("SeriesNumber")
    return Header(
        sop_class=fields.text("SOPClassUID"),
        instance=fields.text("SOPInstanceUID"),
        series=fields.text("SeriesInstanceUID"),
        study=fields.text("StudyInstanceUID"),
        frame_of_reference=fields.text("FrameOfReferenceUID"),
        rows=fields.short("Rows", 0),
        columns=fields.short("Columns", 0),
        spacing=fields.spacing(),
        thickness=fields.number("SliceThickness"),
        orientation=unit_vectors(fields.numbers("ImageOrientationPatient", 6)),
        position=fields.numbers("ImagePositionPatient", 3) or None,
        modality=fields.text("Modality"),
        description=fields.text("SeriesDescription") or fields.text("ProtocolName"),
        series_number=None if series_number is None else int(series_number),
        samples=fields.short("SamplesPerPixel", 1),
        frames=int(fields.number("NumberOfFrames") or 0) or 1,
        frame=0,
        photometric=fields.text("PhotometricInterpretation"),
        allocated=fields.short("BitsAllocated", 0),
        stored=stored,
        high_bit=fields.short("HighBit", stored - 1),
        signed=fields.short("PixelRepresentation", 0) == 1,
        # A slope of zero would wipe the picture out: writers mean that they have none.
        slope=fields.number("RescaleSlope") or 1.0,
        intercept=fields.number("RescaleIntercept") or 0.0,
        transfer_syntax=syntax,
        pixels_at=at,
        pixels_length=length,
        parameters=_parameters(fields),
    )


def _parameters(fields: _Fields) -> Parameters:
    """How the file was taken, as far as it is told outside the frames."""
    technique = list(fields.texts("ScanningSequence"))
    # Enhanced files say the same in other fields.
    echo = fields.text("EchoPulseSequence")
    technique += {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["SE", "GR"]}.get(echo, [])
    technique += ["EP"] if fields.text("EchoPlanarPulseSequence") == "YES" else []
    technique += ["IR"] if fields.text("InversionRecovery") == "YES" else []
    agents = fields.items("ContrastBolusAgentSequence")
    return Parameters(
        echo=fields.number("EchoTime"),
        repetition=fields.number("RepetitionTime"),
        inversion=fields.number("InversionTime"),
        technique=tuple(technique),
        agent=fields.text("ContrastBolusAgent") or ("given" if agents else ""),
        image_type=tuple(value.upper() for value in fields.texts("ImageType")),
        weighting=fields.text("AcquisitionContrast"),
    )


def _frame_header(header: Header, number: int, groups: list[_Fields]) -> Header:
    """The header of one frame of an enhanced file.

    Args:
        groups: the frame's own functional groups, then those that all frames share.
    """
    from pydicom.dataset import Dataset

    def within(keyword: str) -> _Fields:
        """The first item of a sequence, from the first group that holds it; one without any value else."""
        return next((items[0] for group in groups if (items := group.items(keyword))), _Fields(Dataset()))

    place, directions = within("PlanePositionSequence"), within("PlaneOrientationSequence")
    measures, scale = within("PixelMeasuresSequence"), within("PixelValueTransformationSequence")
    echo, timing = within("MREchoSequence"), within("MRTimingAndRelatedParametersSequence")
    modifier, told = within("MRModifierSequence"), header.parameters
    inverted = modifier.text("InversionRecovery") == "YES"
    parameters = replace(
        told,
        echo=echo.double("EffectiveEchoTime") or told.echo,
        repetition=timing.number("RepetitionTime") or told.repetition,
        inversion=modifier.double("InversionTimes") or told.inversion,
        technique=(*told.technique, "IR") if inverted else told.technique,
    )
    return replace(
        header,
        position=place.numbers("ImagePositionPatient", 3) or None,
        orientation=unit_vectors(directions.numbers("ImageOrientationPatient", 6)),
        spacing=measures.spacing(),
        thickness=measures.number("SliceThickness"),
        slope=scale.number("RescaleSlope") or header.slope,
        intercept=scale.number("RescaleIntercept") or header.intercept,
        parameters=parameters,
        frame=number,
    )
