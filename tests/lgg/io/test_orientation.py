"""Volumes of any grid on the FLAIR's: by the places that files tell, or by what is seen in them."""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import lgg
from lgg.errors import SeriesError
from lgg.io.orientation import axial_affine, axial_grid, registered, resample
from lgg.types import Grid
from tests.series_files import DIRECTIONS, affine, rotated

EXAMPLES = Path(lgg.__file__).parent / "examples"


@pytest.mark.parametrize(
    "matrix",
    [np.zeros((4, 4)), affine(np.eye(3), (1, 1, 0)), affine(np.ones((3, 3))), np.full((4, 4), np.nan)],
    ids=["zeros", "flat", "parallel", "nan"],
)
def test_a_damaged_affine_is_refused(matrix):
    with pytest.raises(SeriesError, match="damaged"):
        axial_grid((33, 40, 47), matrix)


#: Brightness that rises evenly across the patient, which a linear resampling keeps: at 0 mm, and for each mm.
AT_ZERO, RISE = 500.0, np.array([1.5, -0.75, 2.0])
FLAIR_GRID = axial_grid((32, 36, 5), affine(rotated(8, 0), (2.0, 2.0, 8.0), (-30.0, -34.0, -16.0)))


def rising(shape, matrix):
    """An array of the brightness at each voxel's place."""
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return (AT_ZERO + (indices @ matrix[:3, :3].T + matrix[:3, 3]) @ RISE).astype(np.float32)


def expected():
    """The brightness at the FLAIR's axial voxels."""
    shape = tuple(FLAIR_GRID.shape[axis] for axis in FLAIR_GRID.order)
    return rising(shape, axial_affine(FLAIR_GRID))


def covering(directions, spacing):
    """The grid of an array that holds all of the FLAIR's field, its axes along these directions."""
    shape = tuple(int(side) for side in np.ceil(130 / np.asarray(spacing)))
    matrix = affine(directions, spacing)
    matrix[:3, 3] = -matrix[:3, :3] @ (np.subtract(shape, 1) / 2)
    return axial_grid(shape, matrix)


TILT = rotated(13, 1) @ rotated(-9, 2)


@pytest.mark.parametrize(
    ("directions", "spacing"),
    [(TILT @ directions, (2.5, 2.0, 6.0)) for directions in DIRECTIONS]
    # Finer or coarser.
    + [(np.eye(3), spacing) for spacing in ((1.0, 1.0, 1.0), (1.0, 1.0, 12.0), (4.0, 4.0, 4.0))],
    ids=range(51),
)
def test_a_volume_of_any_axes_tilt_and_spacing_is_resampled_to_the_same_places(directions, spacing):
    grid = covering(directions, spacing)
    values, covered = resample(rising(grid.shape, grid.affine), grid, FLAIR_GRID)
    assert covered.all()
    np.testing.assert_allclose(values, expected(), atol=0.01)


def test_a_thick_slice_shows_the_mean_of_the_thin_ones_in_it():
    grid = covering(np.eye(3), (2.0, 2.0, 1.0))
    stripes = np.broadcast_to(np.arange(grid.shape[2]) % 2 * 100.0, grid.shape).astype(np.float32)
    values, _ = resample(stripes, grid, axial_grid((32, 36, 5), affine(np.eye(3), (2.0, 2.0, 8.0))))
    np.testing.assert_allclose(values, 50, atol=1)


class TestRegistration:
    """A head that moved between two volumes, by mutual information of what they show."""

    @staticmethod
    def volume(name):
        image = nib.load(EXAMPLES / "study" / name)
        return np.asarray(image.dataobj, np.float32), axial_grid(image.shape, image.affine)

    @pytest.mark.parametrize(
        ("name", "turns", "shift"),
        [
            ("T1.nii.gz", (0, 0, 0), (0, 0, 0)),
            ("own-grid/T1-post.nii.gz", (5, -3, 6), (3, -8, 4)),
            pytest.param("T1.nii.gz", (10, 5, -8), (10, 10, -10), marks=pytest.mark.slow),
            pytest.param("own-grid/T1.nii.gz", (0, 0, 0), (5, -4, 6), marks=pytest.mark.slow),
        ],
        ids=["still", "moved", "far", "shifted"],
    )
    def test_a_motion_is_found_and_undone(self, name, turns, shift):
        pytest.importorskip("SimpleITK")
        flair, onto = self.volume("FLAIR.nii.gz")
        t1, grid = self.volume(name)
        motion = np.eye(4)
        motion[:3, :3] = np.linalg.multi_dot([rotated(turn, axis) for axis, turn in enumerate(turns)])
        middle = (axial_affine(onto) @ (14, 128, 128, 1))[:3]
        motion[:3, 3] = middle - motion[:3, :3] @ middle + shift
        # The header tells of the scanner, in which the head lay elsewhere.
        moved = Grid(grid.shape, grid.order, grid.flipped, motion @ grid.affine)
        found = registered(t1, moved, onto.to_axial(flair), onto)
        assert (found is None) == (name == "T1.nii.gz" and not any(shift))
        back = found.grid if found else moved
        corners = np.array(np.meshgrid((-60, 60), (-70, 70), (-30, 30), [1])).reshape(4, -1)
        corners[:3] += np.round(middle).astype(int)[:, None]
        apart = back.affine @ np.linalg.inv(grid.affine) @ corners - corners
        assert np.linalg.norm(apart[:3], axis=0).max() < 1.2  # about a pixel; before, up to 40 mm

    def test_without_simpleitk_the_message_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "SimpleITK", None)
        with pytest.raises(SeriesError, match=r"pip install \"lgg-segmentation\[register\]\""):
            registered(np.zeros(FLAIR_GRID.shape, np.float32), FLAIR_GRID, expected(), FLAIR_GRID)

    def test_volumes_without_anything_in_common_are_refused(self):
        pytest.importorskip("SimpleITK")
        away = axial_grid((32, 36, 5), affine(np.eye(3), (2.0, 2.0, 8.0), (900, 900, 900)))
        with pytest.raises(SeriesError, match="share too little"):
            registered(np.zeros(FLAIR_GRID.shape, np.float32), away, expected(), FLAIR_GRID)
