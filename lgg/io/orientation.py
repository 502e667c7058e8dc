"""From a source's own grid of voxels to axial slices as radiologists look at them, and back, exactly.

Axes are permuted and flipped, never resampled: an oblique volume is shown along the axes that lie nearest to
the patient's, and what is found in it goes back to the very voxels that it was found in. DICOM's lone slices
are put in order by their places; uneven gaps, shears and directions that differ by rounding are read.
Pictures that say how they lie are turned upright.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from lgg.errors import SeriesError
from lgg.io.archive import File
from lgg.types import DicomReference, Grid

#: Bytes of an EXIF block that are looked at: the orientation stands near its beginning, a thumbnail follows.
MAX_EXIF_BYTES = 2**14
#: How far a file's directions may be from unit length and from a right angle.
DIRECTION_SLACK = 0.01
#: The directions in which an axial array counts, in the axes of NIfTI (x to the right, y to the front, z up):
#: slices go up, rows to the back, columns to the left, so that the patient's right is on the left.
AXIAL = ((2, 1), (1, -1), (0, -1))

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


def axial_grid(shape: tuple[int, int, int], affine: NDArray[np.float64]) -> Grid:
    """The grid of an array whose place in the patient is known.

    Args:
        shape: of the array.
        affine: (4, 4) from its indices to RAS millimetres.

    Raises:
        SeriesError: the affine is not finite, or flat.
    """
    from nibabel.orientations import io_orientation

    affine = np.array(affine, np.float64)
    # A determinant this small against the lengths means that two axes run nearly the same way.
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        volume = abs(np.linalg.det(affine[:3, :3])) if np.isfinite(affine).all() else 0.0
    if not volume > 1e-3 * lengths.prod():
        raise SeriesError("the place of its voxels in the patient is damaged. Export the volume once more.")
    nearest = io_orientation(affine)  # for each axis of the array: the patient's, and in which direction
    order, flipped = [], []
    for patient, direction in AXIAL:
        axis = int(np.flatnonzero(nearest[:, 0] == patient)[0])
        order.append(axis)
        flipped.append(bool(nearest[axis, 1] != direction))
    return Grid(shape, (order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2]), affine)


def unit_vectors(values: tuple[float, ...]) -> tuple[float, ...] | None:
    """Both directions, if they are of length one and perpendicular as far as rounded texts can be."""
    if not values:
        return None
    row, column = values[:3], values[3:]
    apart = (
        math.hypot(*row) - 1,
        math.hypot(*column) - 1,
        sum(x * y for x, y in zip(row, column, strict=True)),
    )
    return values if max(map(abs, apart)) < DIRECTION_SLACK else None


@dataclass(frozen=True)
class Stack:
    """The files of one DICOM series in the order of `offsets`, their places along the normal in mm."""

    files: tuple[File, ...]
    headers: tuple[DicomReference, ...]
    offsets: NDArray[np.float64]


def sort_stack(group: Sequence[tuple[File, DicomReference]]) -> Stack:
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
    normal = np.cross(*_directions(first))
    offsets = np.array([np.dot(header.position or (), normal) for _, header in group])
    order = np.argsort(offsets, kind="stable")
    files, headers = zip(*(group[index] for index in order), strict=True)
    close = np.flatnonzero(np.diff(offsets[order]) < SAME_PLACE)
    if close.size:
        raise SeriesError(
            f"{files[close[0]].name} and {files[close[0] + 1].name} lie in the same place (echoes or points "
            "in time, perhaps). Upload one image of each slice."
        )
    return Stack(files, headers, offsets[order])


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
        step = line * np.median(np.diff(stack.offsets)) / (stack.offsets[-1] - stack.offsets[0])
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ np.column_stack([step, column * row_spacing, row * column_spacing])
    affine[:3, 3] = LPS_TO_RAS @ first.position
    return axial_grid(shape, affine)


def gaps(stack: Stack) -> list[str]:
    """What is uneven about the distances of the slices, in words."""
    steps = np.diff(stack.offsets)
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
        SeriesError: number, size, direction, spacing or positions differ.
    """
    first, second = flair.headers[0], other.headers[0]
    same = (
        (len(flair.files), first.rows, first.columns) == (len(other.files), second.rows, second.columns)
        and _near(first.orientation, second.orientation, POSITION_SLACK)
        and _near(first.spacing, second.spacing, POSITION_SLACK)
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


def _check_like(first_file: File, first: DicomReference, file: File, header: DicomReference) -> None:
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


def _near(values: tuple[float, ...] | None, others: tuple[float, ...] | None, slack: float) -> bool:
    if values is None or others is None:
        return values == others
    return bool(np.abs(np.subtract(values, others)).max() <= slack)


def _directions(header: DicomReference) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors along a row and along a column."""
    values = np.array(header.orientation, np.float64)
    return values[:3] / np.linalg.norm(values[:3]), values[3:] / np.linalg.norm(values[3:])


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, in an EXIF block; 1 where there is none or it cannot be read."""
    block = Image.Exif()
    try:
        block.load(exif[:MAX_EXIF_BYTES])
        orientation = block.get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever Pillow raises about a damaged block
        return 1
    return orientation if isinstance(orientation, int) else 1


def upright(
    pixels: NDArray[np.float32], spacing: tuple[float, float] | None, orientation: int
) -> tuple[NDArray[np.float32], tuple[float, float] | None]:
    """A picture and its spacing, turned as the orientation tag of TIFF and EXIF says, 2 to 8; else as is."""
    if orientation in (5, 6, 7, 8):
        pixels, spacing = pixels.transpose(1, 0, 2), spacing and (spacing[1], spacing[0])
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels, spacing
