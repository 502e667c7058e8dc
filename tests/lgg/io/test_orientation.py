"""The way to axial slices and back: exact for every order and direction of a source's axes."""

import numpy as np
import pytest

from lgg.errors import SeriesError
from lgg.io.orientation import axial_grid
from lgg.types import Grid
from tests.series_files import DIRECTIONS, affine, rotated

SHAPE = (33, 40, 47)


@pytest.mark.parametrize("directions", DIRECTIONS, ids=range(48))
def test_slices_go_up_rows_to_the_back_columns_to_the_left_and_exactly_back(directions):
    # Millimetres along the patient's x, y and z, handed to the array's axes.
    grid = axial_grid(SHAPE, affine(directions, np.abs(directions.T) @ (0.5, 0.75, 6.0)))
    places = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1) @ directions.T
    axial = grid.to_axial(places)  # the RAS place of each voxel
    np.testing.assert_array_equal(axial[1, 0, 0] - axial[0, 0, 0], (0, 0, 1))
    np.testing.assert_array_equal(axial[0, 1, 0] - axial[0, 0, 0], (0, -1, 0))
    np.testing.assert_array_equal(axial[0, 0, 1] - axial[0, 0, 0], (-1, 0, 0))
    np.testing.assert_array_equal(grid.to_source(axial), places)
    assert grid.distances == pytest.approx((6.0, 0.75, 0.5))


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("degrees", [-40, -10, 10, 40])
def test_an_oblique_volume_lies_along_the_nearest_axes(degrees, axis):
    grid = axial_grid(SHAPE, affine(rotated(degrees, axis), (0.5, 0.75, 6.0)))
    straight = axial_grid(SHAPE, affine(np.eye(3)))
    assert (grid.order, grid.flipped) == (straight.order, straight.flipped)
    assert grid.distances == pytest.approx((6.0, 0.75, 0.5))


def test_a_grid_without_a_place_leaves_everything_as_it_is():
    volume = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    grid = Grid(SHAPE)
    np.testing.assert_array_equal(grid.to_axial(volume), volume)
    np.testing.assert_array_equal(grid.to_source(volume), volume)
    assert grid.distances is None


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((4, 4)), affine(np.eye(3), (1, 1, 0)), affine(np.ones((3, 3))), np.full((4, 4), np.nan)],
    ids=["zeros", "flat", "parallel", "nan"],
)
def test_a_damaged_affine_is_refused(matrix):
    with pytest.raises(SeriesError, match="damaged"):
        axial_grid(SHAPE, matrix)
