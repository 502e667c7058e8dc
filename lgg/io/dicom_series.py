"""DICOM series: files put together as volumes, and volumes as the sequences of one patient."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError, SliceError
from lgg.io.archive import File
from lgg.io.combine import Volume, combine
from lgg.io.dicom import decode_frame
from lgg.io.dicom_header import Header, NoPictureError, read_frames
from lgg.io.limits import check_finite, check_volume, guarded, named
from lgg.io.orientation import Stack, evenly_spaced, gaps, same_slices, sort_stack, stack_grid
from lgg.io.sequences import choose, found, left_out_note, recognise_series
from lgg.types import FLAIR, SEQUENCES, Candidate, Grid, Series


def read_dicom_series(
    files: Sequence[File],
    source: str,
    assignment: Mapping[str, str] | None = None,
    register: bool = False,
) -> Series:
    """Read one DICOM series as FLAIR, or several as the sequences of one patient.

    Args:
        files: DICOM files of one frame each, or enhanced ones with all frames of a series, in any order;
            reports and directories among them are left out.
        source: what the result is called.
        assignment: SeriesInstanceUID → `pre`, `flair` or `post`.
        register: whether T1 volumes are aligned with FLAIR by what is seen in them.

    Raises:
        SliceError: a file cannot be read; it is named.
        SeriesError: nobody knows which series is which, slices are not parallel or lie in one place, a
            sequence cannot be brought onto the FLAIR's grid, or there is too much.
    """
    groups, notes = group_series(files)
    candidates = dicom_candidates(groups)
    chosen = choose(candidates, assignment)
    notes += left_out_note("series", candidates, chosen)
    for candidate in chosen.values():
        group = groups[candidate.key]
        check_volume(len(group), group[0][1].rows, group[0][1].columns)
    stacks = {channel: sort_stack(groups[candidate.key]) for channel, candidate in chosen.items()}
    flair = stacks[FLAIR]
    on_flair = {
        channel: channel == FLAIR or _on_flair(flair, stack, channel, register)
        for channel, stack in stacks.items()
    }
    notes += gaps(flair)
    first = groups[chosen[FLAIR].key][0][1]
    if first.modality not in ("MR", ""):
        notes.append(f"The files say {first.modality}, not MR: the networks were trained on MR alone.")
    grid = stack_grid(flair)
    volumes = {
        channel: Volume(_pixels(stack), stack_grid(stack), on_flair[channel])
        for channel, stack in stacks.items()
    }
    combined = combine(volumes, source, register)
    distances = grid.distances if first.spacing else None
    return Series(
        combined.pixels,
        source,
        _names(flair, grid, len(combined.pixels)),
        grid,
        flair_only=len(stacks) == 1,
        spacing=distances and distances[1:],
        # Of a lone slice nobody knows how far the next one is.
        slice_distance=distances[0] if distances and len(flair.files) > 1 else None,
        dicom=flair.headers,
        candidates=candidates,
        chosen={channel: candidate.key for channel, candidate in chosen.items()},
        found=found(candidates, chosen, combined.done),
        notes=(*notes, *combined.notes),
    )


def group_series(files: Iterable[File]) -> tuple[dict[str, list[tuple[File, Header]]], list[str]]:
    """The slices of each series, by its unique identifier, each with its file; and what was left out.

    Args:
        files: the files, or their beginnings as far as the pixels.

    Raises:
        NoPictureError: none of them holds pixels.
        SliceError: a file is damaged; it is named.
    """
    groups: dict[str, list[tuple[File, Header]]] = defaultdict(list)
    left_out: list[NoPictureError] = []
    for file in files:
        try:
            with named(file.name):
                headers = guarded(read_frames, file.data)
        except NoPictureError as error:
            left_out.append(error)
            continue
        groups[headers[0].series].extend((file, header) for header in headers)
    if left_out and not groups:
        raise left_out[-1]
    notes = [f"DICOM files without a picture were left out: {len(left_out)}."] if left_out else []
    return dict(groups), notes


def dicom_candidates(groups: Mapping[str, Sequence[tuple[File, Header]]]) -> tuple[Candidate, ...]:
    """The series that may be a sequence, by how they were taken and what the scanner calls them."""
    numbers = [group[0][1].series_number for group in groups.values()]
    if None in numbers or len(set(numbers)) < len(numbers):
        numbers = list(range(1, len(groups) + 1))
    return tuple(
        _candidate(key, group, number) for (key, group), number in zip(groups.items(), numbers, strict=True)
    )


def _candidate(key: str, group: Sequence[tuple[File, Header]], chosen_by: int | None) -> Candidate:
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
    for number, (file, header) in enumerate(zip(stack.files, stack.headers, strict=True)):
        with named(file.name):
            picture = guarded(decode_frame, file.data, header)
            check_finite(picture.pixels)
        pixels[number] = picture.pixels[..., 0]
    return pixels


def _names(stack: Stack, grid: Grid, count: int) -> tuple[str, ...]:
    """The files' names in the order of the axial slices, if a file is one."""
    if grid.order[0] != 0:
        return tuple(f"slice {number}" for number in range(1, count + 1))
    names = [file.name for file in stack.files]
    if len(set(names)) == 1 < len(names):
        names = [f"{name}, frame {number}" for number, name in enumerate(names, start=1)]
    return tuple(reversed(names) if grid.flipped[0] else names)
