"""From a source's own grid of voxels to axial slices as radiologists look at them, and back, exactly.

Axes are permuted and flipped, never resampled: an oblique volume is shown along the axes that lie nearest to
the patient's, and what is found in it goes back to the very voxels that it was found in. DICOM's lone slices
are put in order by their places; uneven gaps, shears and directions that differ by rounding are read.
Pictures that say how they lie are turned upright.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

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
#: Where an axial array counts to: slices go up, rows to the back, columns to the left, so that the patient's
#: right is on the left.
AXIAL = "SPL"

#: Two slices closer than this, in mm, lie in one place: echoes, or phases in time.
SAME_PLACE = 0.01
#: How far, in mm, slices of two sequences may lie apart and still be the same slice.
TOLERANCE = 0.5
#: How far the directions (as cosines) and the pixel spacings (in mm) of one stack may differ.
POSITION_SLACK = 1e-2
#: Gaps that differ from the usual one by this share are uneven; by half as much again, slices are missing.
UNEVEN, MISSING = 0.1, 0.5
#: Half a voxel, and what rounding adds.
HALF_VOXEL = 0.5 + 1e-3
#: Places at which a volume is looked at across a thick slice.
MAX_PARTS = 16
#: Millimetres of a pixel, and steps at each of two resolutions, with which volumes are registered.
REGISTRATION_PIXEL, REGISTRATION_STEPS = 2.0, 100
#: Millimetres or degrees below which a head has not moved.
STILL = 0.5
#: Voxels whose sides differ by less than this share are as good as cubes.
NEARLY = 0.8
#: Slices are as good as equally thick up to this ratio.
AS_THICK = 1.6
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
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    affine = np.array(affine, np.float64)
    # A determinant this small against the lengths means that two axes run nearly the same way.
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        volume = abs(np.linalg.det(affine[:3, :3])) if np.isfinite(affine).all() else 0.0
    if not volume > 1e-3 * lengths.prod():
        raise SeriesError("the place of its voxels in the patient is damaged. Export the volume once more.")
    # For each axis of the array: the axial one, and in which direction.
    turned = ornt_transform(io_orientation(affine), axcodes2ornt(AXIAL))
    first, second, third = np.argsort(turned[:, 0]).tolist()
    slices, rows, columns = (turned[[first, second, third], 1] < 0).tolist()
    return Grid(shape, (first, second, third), (slices, rows, columns), affine)


def unit_vectors(values: tuple[float, ...]) -> tuple[float, ...] | None:
    """Both directions, if they are of length one and perpendicular as far as rounded texts can be."""
    if not values:
        return None
    row, column = values[:3], values[3:]
    between = sum(x * y for x, y in zip(row, column, strict=True))
    apart = (math.hypot(*row) - 1, math.hypot(*column) - 1, between)
    return values if max(map(abs, apart)) < DIRECTION_SLACK else None


#: A header, whatever else it tells.
H = TypeVar("H", bound=DicomReference)


@dataclass(frozen=True)
class Stack(Generic[H]):
    """The slices of one DICOM series in the order of `offsets`, their places along the normal in mm.

    `files` holds each slice's file, the same for all that come from one.
    """

    files: tuple[File, ...]
    headers: tuple[H, ...]
    offsets: NDArray[np.float64]


def sort_stack(group: Sequence[tuple[File, H]]) -> Stack[H]:
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
            "in time, perhaps). Give one image of each slice."
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


def same_slices(flair: Stack, other: Stack) -> bool:
    """Whether two series hold the same slices: number, size, direction, spacing and positions agree."""
    first, second = flair.headers[0], other.headers[0]
    same = (
        (len(flair.files), first.rows, first.columns) == (len(other.files), second.rows, second.columns)
        and _near(first.orientation, second.orientation)
        and _near(first.spacing, second.spacing)
    )
    # A lone slice may come without a position: then no second sequence can be laid on it.
    return same and all(
        header.position and match.position and math.dist(header.position, match.position) <= TOLERANCE
        for header, match in zip(flair.headers, other.headers, strict=True)
    )


def evenly_spaced(stack: Stack) -> bool:
    """Whether `stack_grid` tells where each slice lies, as it does not where slices are missing."""
    steps = np.diff(stack.offsets)
    if not len(steps):
        return True
    usual = float(np.median(steps))
    told = stack.offsets[0] + usual * np.arange(len(stack.offsets))
    return bool(np.abs(told - stack.offsets).max() <= MISSING * usual)


def same_grid(first: Grid, second: Grid) -> bool:
    """Whether two arrays have the same shape, and their voxels the same places."""
    if first.shape != second.shape or first.affine is None or second.affine is None:
        return False
    # The eight corners: where they lie together, so does every voxel.
    corners = np.array(np.meshgrid(*[(0, side - 1) for side in first.shape], [1])).reshape(4, -1)
    apart = ((first.affine - second.affine) @ corners)[:3]
    return float(np.linalg.norm(apart, axis=0).max()) <= TOLERANCE


def axial_to_source(grid: Grid) -> NDArray[np.float64]:
    """(4, 4) from axial indices (slice, row, column) to those of the source's own array."""
    from nibabel.orientations import inv_ornt_aff

    turned = np.empty((3, 2))  # for each axis of the source: the axial one, and in which direction
    for number, (axis, flip) in enumerate(zip(grid.order, grid.flipped, strict=True)):
        turned[axis] = number, -1 if flip else 1
    return np.asarray(inv_ornt_aff(turned, grid.shape), np.float64)


def axial_affine(grid: Grid) -> NDArray[np.float64]:
    """(4, 4) from axial indices (slice, row, column) to RAS millimetres, of a grid with a place."""
    matrix: NDArray[np.float64] = np.asarray(grid.affine) @ axial_to_source(grid)
    return matrix


def resample(
    volume: NDArray[np.float32], grid: Grid, onto: Grid
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A volume as it would lie on another grid, by the places of both: linear, the mean over thick slices.

    Slice by slice, so that no more memory is taken than the result's own.

    Args:
        volume: in its source's order of axes, on `grid`.
        onto: whose axial slices are wanted.

    Returns:
        (N, H, W) float32, and bool where the voxel lies within the volume's field; beyond it, values mean
        nothing.
    """
    from scipy import ndimage

    matrix = np.linalg.inv(np.asarray(grid.affine)) @ axial_affine(onto)
    slices, rows, columns = (onto.shape[axis] for axis in onto.order)
    values = np.zeros((slices, rows, columns), np.float32)
    covered = np.ones(values.shape, bool)
    # A thick slice shows the mean of all that it holds, several voxels of a volume of thin slices.
    parts = int(np.clip(np.round(np.linalg.norm(matrix[:3, 0])), 1, MAX_PARTS))
    within = (np.arange(parts) + 0.5) / parts - 0.5
    row, column = np.arange(rows)[:, None], np.arange(columns)
    last = np.array(grid.shape) - 1
    for number in range(slices):
        for part in within:
            start = matrix[:3, 0] * (number + part) + matrix[:3, 3]
            plane = ndimage.affine_transform(
                volume, matrix[:3, :3], start, (1, rows, columns), np.float32, order=1, mode="nearest"
            )
            values[number] += plane[0] / parts
        for axis in range(3):
            place = matrix[axis, 0] * number + matrix[axis, 1] * row + matrix[axis, 2] * column
            place += matrix[axis, 3]
            # Half a voxel beyond the outermost centres the voxels end.
            covered[number] &= (place >= -HALF_VOXEL) & (place <= last[axis] + HALF_VOXEL)
    return values, covered


@dataclass(frozen=True)
class Motion:
    """A rigid motion of the head between two volumes: the grid with the motion undone, and how far it was."""

    grid: Grid
    millimetres: float
    degrees: float


def registered(
    volume: NDArray[np.float32], grid: Grid, flair: NDArray[np.float32], onto: Grid
) -> Motion | None:
    """Where a volume lies if the head moved between it and the FLAIR: rigid, by mutual information.

    Begins at the places that the files tell.

    Args:
        volume: in its source's order of axes, on `grid`.
        flair: (N, H, W) float32, axial slices of the FLAIR on `onto`.

    Returns:
        None where the head moved by less than `STILL`.

    Raises:
        SeriesError: SimpleITK is not installed, or the volumes share too little.
    """
    distances = np.array(onto.distances)
    motion = _rigid_motion(flair, *resample(volume, grid, onto), distances)
    turn = motion[:3, :3]
    middle = np.array([*(np.array(flair.shape) - 1) / 2 * distances, 1])
    millimetres = float(np.linalg.norm((motion @ middle - middle)[:3]))
    degrees = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    if max(degrees, millimetres) < STILL:
        return None
    to_patient = axial_affine(onto) @ np.diag([*(1 / distances), 1])
    affine = to_patient @ np.linalg.inv(motion) @ np.linalg.inv(to_patient) @ np.asarray(grid.affine)
    return Motion(Grid(grid.shape, grid.order, grid.flipped, affine), millimetres, degrees)


def _rigid_motion(
    fixed: NDArray[np.float32],
    moving: NDArray[np.float32],
    covered: NDArray[np.bool_],
    distances: NDArray[np.float64],
) -> NDArray[np.float64]:
    """From places in one volume to the same tissue's in another, by mutual information.

    A fixed number of steps, so the time is bounded: seconds.

    Args:
        fixed, moving: (N, H, W) on one grid; `covered` where `moving` is known.
        distances: from voxel to voxel in mm.

    Returns:
        (4, 4), of (slice, row, column) in mm from the first voxel.

    Raises:
        SeriesError: as for `registered`.
    """
    try:
        import SimpleITK as sitk
    except ImportError:
        raise SeriesError(
            'To register volumes, SimpleITK is needed: pip install "lgg-segmentation[register]".'
        ) from None
    # Pixels of about 2 mm tell enough of a head.
    strides = np.maximum(1, (REGISTRATION_PIXEL / distances + 0.1).astype(int))

    def image(array: NDArray) -> "sitk.Image":
        rows = array[:: strides[0], :: strides[1], :: strides[2]]
        picture = sitk.GetImageFromArray(np.ascontiguousarray(rows))
        picture.SetSpacing((distances * strides)[::-1].tolist())
        return picture

    levels = (2, 1) if min(fixed.shape) >= 8 else (1,)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(50)
    method.SetMetricMovingMask(image(covered.astype(np.uint8)))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, REGISTRATION_STEPS)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(levels)
    method.SetSmoothingSigmasPerLevel([float(level - 1) for level in levels])
    method.SetNumberOfThreads(2)  # the same everywhere, as sums differ by it
    middle = (np.array(fixed.shape) - 1) / 2 * distances
    transform = sitk.Euler3DTransform(middle[::-1].tolist(), 0.0, 0.0, 0.0)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(image(fixed), image(moving))
    except RuntimeError:  # they share too little
        raise SeriesError(
            "The volumes share too little to be registered. Choose those of one examination, or read FLAIR "
            "alone."
        ) from None
    # SimpleITK counts columns first.
    motion = np.eye(4)
    motion[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)[::-1, ::-1]
    motion[:3, 3] = middle + np.array(transform.GetTranslation())[::-1] - motion[:3, :3] @ middle
    return motion


def describe(grid: Grid) -> str:
    """Columns × rows × slices, then their distances, for people."""
    slices, rows, columns = (grid.shape[axis] for axis in grid.order)
    size = f"{columns} × {rows} × {slices}"
    if grid.distances is None:
        return size
    apart, down, across = grid.distances
    return f"{size}, {across:.1f} × {down:.1f} × {apart:.1f} mm"


def axial_rank(grid: Grid) -> int:
    """2 for axial slices, 1 for voxels that are nearly cubes (scanned in 3D), 0 for slices along the body."""
    if grid.distances is None:
        return 0
    apart, *within = grid.distances
    if NEARLY * apart > max(within):
        return 2
    return int(apart >= NEARLY * max(within))


def as_thick(grid: Grid, other: Grid) -> bool:
    """Whether axial slices of two grids are about as far apart."""
    if grid.distances is None or other.distances is None:
        return False
    thin, thick = sorted((grid.distances[0], other.distances[0]))
    return thick <= AS_THICK * thin


def _check_like(first_file: File, first: DicomReference, file: File, header: DicomReference) -> None:
    if (header.rows, header.columns) != (first.rows, first.columns):
        raise SeriesError(
            f"{file.name} is {header.columns} × {header.rows} pixels, {first_file.name} is "
            f"{first.columns} × {first.rows}. Give the slices of one series."
        )
    if not _near(header.orientation, first.orientation):
        raise SeriesError(
            f"{file.name} and {first_file.name} are not parallel (a localizer, perhaps). "
            "Give one stack of slices."
        )
    if not _near(header.spacing, first.spacing):
        raise SeriesError(f"{file.name} and {first_file.name} differ in pixel spacing. Give one series.")


def _near(values: tuple[float, ...] | None, others: tuple[float, ...] | None) -> bool:
    if values is None or others is None:
        return values == others
    return bool(np.abs(np.subtract(values, others)).max() <= POSITION_SLACK)


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
