"""From a source's own grid of voxels to axial slices as radiologists look at them, and back, exactly.

Axes are permuted and flipped, never resampled: an oblique volume is shown along the axes that lie nearest to
the patient's, and what is found in it goes back to the very voxels that it was found in.
"""

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError
from lgg.types import Grid

#: The directions in which an axial array counts, in the axes of NIfTI (x to the right, y to the front, z up):
#: slices go up, rows to the back, columns to the left, so that the patient's right is on the left.
AXIAL = ((2, 1), (1, -1), (0, -1))


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
