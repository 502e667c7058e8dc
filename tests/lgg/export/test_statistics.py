"""A result's numbers against balls of known place and size, and the files of a folder."""

import json

import nibabel as nib
import numpy as np
import pytest

from lgg.export import export
from lgg.export.statistics import components, statistics
from lgg.io import read_series
from lgg.types import FLAIR, SeriesResult
from lgg.visualize import PREVIEW_SLICES, preview
from tests.series_files import DIRECTIONS, affine, blob, nifti, rotated
from tests.series_results import prediction, result

SPACING = (0.9, 1.1, 2.5)


def balls(directions, *radii):
    """A series with balls in it, their masks, and their centres in RAS millimetres."""
    matrix = affine(rotated(8, 1) @ directions, SPACING, (12, -30, 7))
    shape = (60, 70, 40)
    centres = [(matrix @ (20 + 22 * number, 30, 20, 1))[:3] for number in range(len(radii))]
    voxels = sum(
        blob(shape, matrix, centre, radius) for centre, radius in zip(centres, radii, strict=True)
    ).astype(bool)
    series = read_series([nifti(voxels.astype("int16") * 900, matrix, packed=False)])
    return series, series.pixels[..., FLAIR] > 500, centres


@pytest.mark.parametrize("directions", DIRECTIONS[::7], ids=range(0, 48, 7))
def test_components_have_place_volume_and_diameter_in_the_patient(directions):
    series, masks, centres = balls(directions, 9, 6)
    found = components(series, masks)
    assert len(found) == 2
    for component, centre, radius in zip(found, centres, (9, 6), strict=True):
        assert component["volume_ml"] == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.1)
        np.testing.assert_allclose(component["centroid_mm"], centre, atol=0.3)
        assert 2 * radius - 2.5 < component["largest_diameter_mm"] <= 2 * radius


def test_a_component_in_one_plane_has_a_diameter():
    series, masks, _ = balls(np.eye(3), 9)
    number = int(masks.sum((1, 2)).argmax())
    flat = np.zeros_like(masks)
    flat[number] = masks[number]
    (component,) = components(series, flat)
    assert 15 < component["largest_diameter_mm"] <= 18
    assert components(series, np.zeros_like(masks)) == []


def test_what_the_series_does_not_state_is_none():
    numbers = statistics(result([0.2, 0.9, 0.8], [0, 5, 4]))
    assert numbers["volume_ml"] is None
    assert numbers["components"][0]["largest_diameter_mm"] is None
    assert numbers["voxels"] == 41
    assert numbers["gate"] == {"maximum": 0.9, "slice": 2, "passed": 2}


def test_a_result_becomes_a_folder(tmp_path):
    series, masks, _ = balls(np.eye(3), 9)
    result = SeriesResult(series, tuple(map(prediction, masks)))
    folder = export(result, tmp_path / "out", ("mesh",))
    names = {path.name for path in folder.iterdir()}
    assert names == {"mask.nii.gz", "preview.png", "statistics.json", "surface.glb"}
    assert nib.load(folder / "mask.nii.gz").get_fdata().sum() == masks.sum()
    assert json.loads((folder / "statistics.json").read_text())["voxels"] == masks.sum()


@pytest.mark.parametrize("count", [1, PREVIEW_SLICES, PREVIEW_SLICES + 1, 200])
def test_a_preview_shows_the_slices_with_an_outline(count):
    sides = [0] * count
    sides[count // 2] = 6
    picture = preview(result([0.9] * count, sides), "caption")
    assert picture.dtype == np.uint8
    assert (picture == (230, 159, 0)).all(2).any()
    assert picture.shape[0] < 1500
