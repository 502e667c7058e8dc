"""The surface in 3D: where it lies, how large it is, and that its file can be opened."""

import io

import numpy as np
import pytest
import trimesh

from lgg.export.mesh import mesh, surface_glb
from tests.series_results import result


def ball(shape, distances, centre, radius):
    """Which voxels lie within `radius` mm of a place, told in mm from the array's corner."""
    places = (np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) + 0.5) * distances
    return np.linalg.norm(places - centre, axis=-1) <= radius


@pytest.mark.parametrize("distances", [(1.0, 1.0, 1.0), (5.0, 0.9, 0.75)])
def test_volume_and_place_are_those_of_the_mask(distances):
    shape = tuple(round(120 / distance) for distance in distances)
    mask = ball(shape, distances, (70, 40, 55), 25)
    surface = mesh(mask, distances, 96)
    assert surface.is_watertight
    # Positive, so the normals point outwards.
    assert surface.volume == pytest.approx(mask.sum() * np.prod(distances), rel=0.05)
    # x to the patient's left (columns), y up (slices), z to the front (against the rows).
    assert surface.center_mass == pytest.approx((55, 70, -40), abs=1)


@pytest.mark.parametrize("place", [(0, 0, 0), (2, 5, 7), (4, 9, 11)])
def test_a_single_voxel_has_a_closed_surface_around_it(place):
    mask = np.zeros((5, 10, 12), bool)
    mask[place] = True
    surface = mesh(mask, (5.0, 1.0, 1.0), 96)
    slices, rows, columns = place
    assert surface.is_watertight
    assert surface.center_mass == pytest.approx((columns + 0.5, 5 * slices + 2.5, -rows - 0.5), abs=0.1)


def test_no_mask_has_no_surface():
    assert mesh(np.zeros((3, 4, 5), bool), (1.0, 1.0, 1.0), 32) is None
    assert surface_glb(result([0.9, 0.9], [0, 0])) is None


def test_the_file_holds_tumour_and_head_in_one_frame():
    data = surface_glb(result([0.9] * 6, [6, 8, 10, 10, 8, 6], (0.5, 0.75), 4.0))
    scene = trimesh.load(io.BytesIO(data), file_type="glb")
    tumour, head = scene.geometry["tumour"], scene.geometry["head"]
    assert head.bounds[0][0] < tumour.bounds[0][0] < tumour.bounds[1][0] < head.bounds[1][0]
    assert head.extents == pytest.approx((24 * 0.75, 24, 32 * 0.5), abs=3)
    assert tumour.visual.material.alphaMode == "OPAQUE"
    assert head.visual.material.alphaMode == "BLEND"
