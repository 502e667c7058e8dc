"""DICOM files: their pixels, files put together as volumes, and volumes as the sequences of one patient.

`dicom_header` reads what stands before the pixels. Compressed pixels are decoded by imagecodecs once the size
that they declare is checked: pydicom has no decoder of its own for lossless JPEG, JPEG-LS and JPEG 2000.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError, SliceError
from lgg.io.archive import File
from lgg.io.combine import Volume, Volumes, combine
from lgg.io.dicom_header import (
    BIG_ENDIAN,
    IMPLICIT,
    MAX_FRAMES_HEADER,
    Header,
    NoPictureError,
    read_frames,
    read_header,
)
from lgg.io.images import Picture, jpeg_segments
from lgg.io.limits import CUT_SHORT, check_size, check_volume, guarded, named, plausible_spacing
from lgg.io.orientation import Stack, evenly_spaced, gaps, same_slices, sort_stack, stack_grid
from lgg.io.sequences import recognise_series
from lgg.types import FLAIR, SEQUENCES, Candidate, Grid, Series

#: The slices of a series, each with its file.
Slices = list[tuple[File, Header]]
#: Bytes in which most headers end, and the tag of the pixels in either byte order.
MOST_HEADERS, PIXELS = 2**16, (b"\xe0\x7f\x10\0", b"\x7f\xe0\0\x10")
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


def dicom_volumes(files: Iterable[File], strict: bool) -> tuple[Volumes, list[SliceError]]:
    """The series that may be a sequence, by how they were taken and what the scanner calls them.

    Args:
        files: DICOM files of one frame each, or enhanced ones with all frames of a series, in any order.
        strict: whether a damaged file, or a second one of the same image, is an error; else it is left out.

    Returns:
        the series, and why files were left out: those without pixels (reports, directories), damaged ones.

    Raises:
        NoPictureError: none of them holds pixels.
        SliceError: a file is damaged; it is named.
    """
    series: dict[str, Slices] = defaultdict(list)
    errors, seen = list[SliceError](), set[str]()
    for file in files:
        try:
            with named(file.name):
                headers = guarded(read_frames, _header_bytes(file))
        except SliceError as error:
            if strict and not isinstance(error, NoPictureError):
                raise
            errors.append(error)
            continue
        instance = headers[0].instance
        if not strict and instance and instance in seen:
            continue
        seen.add(instance)
        series[headers[0].series].extend((file, header) for header in headers)
    if not series:
        raise errors[0]
    numbers = [slices[0][1].series_number for slices in series.values()]
    if None in numbers or len(set(numbers)) < len(numbers):
        numbers = list(range(1, len(series) + 1))
    candidates = tuple(
        _candidate(key, slices, number) for (key, slices), number in zip(series.items(), numbers, strict=True)
    )
    volumes = Volumes(
        candidates,
        dict(series),
        _read_series,
        "series",
        places={key: {file.place for file, _ in slices} for key, slices in series.items()},
    )
    return volumes, errors


def _header_bytes(file: File) -> bytes:
    """The beginning of a file, as far as its pixels; all of it where it is in memory anyway."""
    if file.data is not None:
        return file.data
    start = file.start(MOST_HEADERS)
    whole = len(start) < MOST_HEADERS or any(tag in start for tag in PIXELS)
    return start if whole else file.start(MAX_FRAMES_HEADER + 1)


def _read_series(chosen: Mapping[int, Slices], register: bool) -> tuple[Series, dict[int, str]]:
    """Read the series of each channel."""
    for slices in chosen.values():
        check_volume(len(slices), slices[0][1].rows, slices[0][1].columns)
    stacks = {channel: sort_stack(slices) for channel, slices in chosen.items()}
    flair = stacks[FLAIR]
    first, grid = flair.headers[0], stack_grid(flair)
    # All of them before any pixel is read.
    on_flair = {
        channel: channel == FLAIR or _on_flair(flair, stack, channel, register)
        for channel, stack in stacks.items()
    }
    notes = gaps(flair)
    if first.modality not in ("MR", ""):
        notes.append(f"The files say {first.modality}, not MR: the networks were trained on MR alone.")
    sequences = {
        channel: Volume(_pixels(stack), stack_grid(stack), on_flair[channel])
        for channel, stack in stacks.items()
    }
    series, done = combine(sequences, register)
    distances = grid.distances if first.spacing else None
    series = replace(
        series,
        names=_names(flair, grid) or series.names,
        spacing=distances and distances[1:],
        # Of a lone slice nobody knows how far the next one is.
        slice_distance=distances[0] if distances and len(flair.files) > 1 else None,
        dicom=flair.headers,
        notes=(*notes, *series.notes),
    )
    return series, done


def _candidate(key: str, group: Slices, chosen_by: int | None) -> Candidate:
    header = group[0][1]
    name = header.description or "no description"
    number = "" if header.series_number is None else f"series {header.series_number}, "
    slices = "1 slice" if len(group) == 1 else f"{len(group)} slices"
    channel, reason = recognise_series(header.description, header.parameters)
    if header.modality not in ("MR", ""):
        channel, reason = None, f"{header.modality}, not MR"
    grid = None
    with suppress(SliceError):  # said again, if this series is chosen
        grid = stack_grid(sort_stack(group))
    original = "DERIVED" not in header.parameters.image_type
    label = f"{name} ({number}{slices})"
    return Candidate(key, label, channel, chosen_by, grid, original, reason, header.study)


def _on_flair(flair: Stack[Header], stack: Stack[Header], channel: int, register: bool) -> bool:
    """Whether a series holds the FLAIR's own slices.

    Raises:
        SeriesError: it does not, and cannot be brought onto the FLAIR's grid by what the files say.
    """
    first, other, name = flair.headers[0], stack.headers[0], SEQUENCES[channel]
    if first.study and other.study and first.study != other.study:
        raise SeriesError(
            f"The {name} is of another examination than the FLAIR, or of another patient. Choose series of "
            "one examination, or read FLAIR alone."
        )
    if same_slices(flair, stack):
        return True
    frames = {first.frame_of_reference, other.frame_of_reference} - {""}
    if len(frames) > 1 and not register:
        raise SeriesError(
            f"The {name} and the FLAIR have no common frame of reference: the patient was laid down anew "
            "between them, so their places cannot be compared. Have them registered, or read FLAIR alone."
        )
    for part in (flair, stack):
        told = part.headers[0]
        if None in (told.orientation, told.position, told.spacing) or not evenly_spaced(part):
            raise SeriesError(
                f"The {name} does not lie on the grid of the FLAIR, and cannot be brought onto it: places or "
                "spacings are missing, or slices are. Export the whole series, or read FLAIR alone."
            )
    return False


def _pixels(stack: Stack[Header]) -> NDArray[np.float32]:
    """(slices, rows, columns) float32 in the order of the stack."""
    first = stack.headers[0]
    pixels = np.empty((len(stack.files), first.rows, first.columns), np.float32)
    data, loaded = b"", None
    # All frames of a file one after the other, so that it is loaded once.
    for number in sorted(range(len(stack.files)), key=lambda number: stack.headers[number].instance):
        file = stack.files[number]
        if file is not loaded:
            data, loaded = file.whole(), file
        with named(file.name):
            pixels[number] = guarded(decode_frame, data, stack.headers[number]).pixels[..., 0]
    return pixels


def _names(stack: Stack, grid: Grid) -> tuple[str, ...]:
    """The files' names in the order of the axial slices; none unless a file, or a frame, is a slice."""
    if grid.order[0] != 0:
        return ()
    names = [file.name for file in stack.files]
    if len(set(names)) == 1 < len(names):
        names = [f"{name}, frame {number}" for number, name in enumerate(names, start=1)]
    return tuple(reversed(names) if grid.flipped[0] else names)
