"""A series of DICOM files: sorted by where the slices lie in the patient, never by name or number."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SliceError
from lgg.reading.dicom import read_dicom
from lgg.reading.dicom_header import Header, NoPictureError, read_header
from lgg.reading.guard import check_finite, guarded
from lgg.series.archive import File
from lgg.series.sequences import choose, guess
from lgg.series.series import Candidate, Series, check_volume, combine
from lgg.series.stack import Stack, check_same_grid, gaps, sort_stack, stack_grid
from lgg.slice import FLAIR, SEQUENCES


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
