"""Where the slices of a DICOM series lie: sorted along their normal, and checked to be one even stack."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError
from lgg.reading.dicom_header import Header
from lgg.series.archive import File
from lgg.series.grid import Grid, axial_grid

#: Two slices closer than this, in mm, lie in one place: echoes, or phases in time.
SAME_PLACE = 0.01
#: How far, in mm, slices of two sequences may lie apart and still be the same slice.
TOLERANCE = 0.5
#: How far the directions (as cosines) and the pixel spacings (in mm) of one stack may differ.
SLACK = 1e-2
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
    same = same and _near(one.orientation, two.orientation, SLACK) and _near(one.spacing, two.spacing, SLACK)
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
    if not _near(header.orientation, first.orientation, SLACK):
        raise SeriesError(
            f"{file.name} and {first_file.name} are not parallel (a localizer, perhaps). "
            "Upload one stack of slices."
        )
    if not _near(header.spacing, first.spacing, SLACK):
        raise SeriesError(f"{file.name} and {first_file.name} differ in pixel spacing. Upload one series.")


def _near(one: tuple[float, ...] | None, other: tuple[float, ...] | None, slack: float) -> bool:
    if one is None or other is None:
        return one == other
    return bool(np.abs(np.subtract(one, other)).max() <= slack)


def _directions(header: Header) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors along a row and along a column."""
    values = np.array(header.orientation, np.float64)
    return values[:3] / np.linalg.norm(values[:3]), values[3:] / np.linalg.norm(values[3:])
