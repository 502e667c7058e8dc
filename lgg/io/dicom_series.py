"""DICOM series: files put together as volumes, and volumes as the sequences of one patient."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError, SliceError
from lgg.io.archive import File
from lgg.io.combine import Volume, Volumes, combine
from lgg.io.dicom import decode_frame
from lgg.io.dicom_header import MAX_FRAMES_HEADER, Header, NoPictureError, read_frames
from lgg.io.limits import check_finite, check_volume, guarded, named
from lgg.io.orientation import Stack, evenly_spaced, gaps, same_slices, sort_stack, stack_grid
from lgg.io.sequences import recognise_series
from lgg.types import FLAIR, SEQUENCES, Candidate, Grid, Series

#: The slices of a series, each with its file.
Slices = list[tuple[File, Header]]
#: Bytes in which most headers end, and the tag of the pixels in either byte order.
MOST_HEADERS, PIXELS = 2**16, (b"\xe0\x7f\x10\0", b"\x7f\xe0\0\x10")


def dicom_volumes(files: Iterable[File], strict: bool) -> tuple[Volumes[Slices], list[SliceError]]:
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
        examinations={key: slices[0][1].study for key, slices in series.items()},
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
    return Candidate(key, f"{name} ({number}{slices})", channel, chosen_by, grid, original, reason)


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
            picture = guarded(decode_frame, data, stack.headers[number])
            check_finite(picture.pixels)
        pixels[number] = picture.pixels[..., 0]
    return pixels


def _names(stack: Stack, grid: Grid) -> tuple[str, ...]:
    """The files' names in the order of the axial slices; none unless a file, or a frame, is a slice."""
    if grid.order[0] != 0:
        return ()
    names = [file.name for file in stack.files]
    if len(set(names)) == 1 < len(names):
        names = [f"{name}, frame {number}" for number, name in enumerate(names, start=1)]
    return tuple(reversed(names) if grid.flipped[0] else names)
