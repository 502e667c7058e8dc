"""What the viewer is fed, and the NiiVue build that is handed out."""

import base64
import hashlib
import json
import zlib

import nibabel
import numpy as np
import pytest

from lgg.app import viewer
from lgg.app.service import Request
from lgg.errors import SeriesError
from lgg.io import read_series
from lgg.types import Prediction, SeriesResult, Thresholds
from tests.series_files import DIRECTIONS, affine, nifti, rotated
from tests.series_results import result as slices_result

STUDY = Request(("/somewhere/jane-doe.nii.gz",), "unet-mini").study
TILTED = affine(DIRECTIONS[13] @ rotated(17, 0), (0.8, 1.1, 4.0), (-30, 12, 5))
SOME = [affine(DIRECTIONS[number], (1, 2, 3)) for number in (0, 21, 46)]


def found_in(voxels, matrix):
    """A result with a different mask in each slice."""
    series = read_series([nifti(voxels, matrix)], ["flair.nii.gz"])
    masks = np.random.default_rng(1).random(series.pixels.shape[:3]) > 0.7
    heads = np.ones_like(masks)
    return SeriesResult(
        series,
        tuple(
            Prediction(0.9, True, mask.astype(np.float32), mask, head, Thresholds(), {})
            for mask, head in zip(masks, heads, strict=True)
        ),
    )


@pytest.fixture
def voxels():
    return np.random.default_rng(0).integers(0, 900, (40, 36, 34)).astype(np.int16)


def upright(slices):
    """(N, H, W) as the viewer counts: to the patient's right, front and top."""
    return slices.transpose(2, 1, 0)[::-1, ::-1]


def unpacked(packed, shape):
    bits = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8)
    count = int(np.prod(shape))
    return np.unpackbits(bits, count=count, bitorder="little").reshape(shape, order="F").astype(bool)


@pytest.mark.parametrize("matrix", [TILTED, *SOME], ids=["tilted", "one", "two", "three"])
def test_copies_and_mask_lie_where_the_voxels_are_in_the_patient_and_masks_come_back(
    voxels, matrix, tmp_path
):
    result = found_in(voxels, matrix)
    value = viewer.study_value(STUDY, result, tmp_path)
    (volume,) = value["volumes"]
    shown = nibabel.load(volume["file"]["path"])
    assert nibabel.aff2axcodes(shown.affine) == ("R", "A", "S")
    assert np.array_equal(shown.get_fdata(), upright(result.series.pixels[..., 1]))
    place = np.argwhere(voxels == voxels.max())[0]
    same = np.linalg.inv(shown.affine) @ matrix @ [*place, 1]
    assert shown.get_fdata()[tuple(same[:3].round().astype(int))] == voxels.max()
    assert np.array_equal(unpacked(value["mask"], shown.shape), upright(result.masks))
    assert np.array_equal(viewer.sent_masks(STUDY, result.series, value), result.masks)
    assert "jane" not in json.dumps({**value, "script": None}), "nor where or what the upload is"


def test_masks_that_no_viewer_of_this_series_sends_are_refused():
    result = slices_result([0.9] * 4, [5] * 4, size=(39, 31))
    good = viewer.mask_value(STUDY, result)

    def packed(data):
        return {**good, "mask": base64.b64encode(data).decode()}

    bits = zlib.decompress(base64.b64decode(good["mask"]))
    hostile = [
        *(None, [], "mask", 7, {}, {"study": good["study"]}),
        {**good, "study": "another"},
        *({**good, "mask": mask} for mask in (None, 7, [good["mask"]], "", "ä" * 100, "=" + good["mask"])),
        *(packed(data) for data in (b"", bits, zlib.compress(bits[:-1]), zlib.compress(bits + b"\0"))),
        *(packed(data) for data in (zlib.compress(bits)[:-1], zlib.compress(bytes(2**28)))),
        {**good, "mask": good["mask"] * 2**12},
    ]
    for sent in hostile:
        with pytest.raises(SeriesError, match="Draw it once more"):
            viewer.sent_masks(STUDY, result.series, sent)
    assert np.array_equal(viewer.sent_masks(STUDY, result.series, good), result.masks)


def test_a_correction_in_countless_parts_is_refused_before_each_is_measured():
    result = slices_result([0.9] * 20, [0] * 20)
    dots = np.zeros_like(result.masks)
    dots[::2, ::3, ::3] = True
    sent = {**viewer.mask_value(STUDY, result), "mask": viewer.packed_mask(dots)}
    with pytest.raises(SeriesError, match="separate parts"):
        viewer.sent_masks(STUDY, result.series, sent)


def test_pictures_that_do_not_say_how_they_lie_are_shown_upright(tmp_path):
    result = slices_result([0.9] * 4, [5] * 4, spacing=(0.5, 0.25), step=6.0)
    value = viewer.study_value(STUDY, result, tmp_path)
    shown = nibabel.load(value["volumes"][0]["file"]["path"])
    assert np.allclose(shown.header.get_zooms(), (0.25, 0.5, 6.0))
    values = upright(result.series.pixels[..., 1])
    # Not whole numbers, so in steps.
    assert abs(shown.get_fdata() - values).max() < np.ptp(values) / 4000
    assert not value["oriented"]


def test_the_crosshair_stands_in_the_outline_first(tmp_path):
    result = slices_result([0.9] * 4, [0, 5, 0, 0])
    value = viewer.study_value(STUDY, result, tmp_path)
    shape = (*result.series.pixels.shape[2:0:-1], len(result))
    assert value["slice"] == 2
    assert unpacked(value["mask"], shape)[(*value["centre"], value["slice"] - 1)]


def test_niivue_is_the_build_that_was_looked_at_and_its_licences_are_there():
    assert hashlib.sha256(viewer.NIIVUE.read_bytes()).hexdigest() == viewer.NIIVUE_SHA256
    licences = (viewer.NIIVUE_FOLDER / "LICENSES.txt").read_text()
    assert viewer.NIIVUE.stem.removeprefix("niivue-") in licences
    for name in ("BSD 2-Clause", "MIT", "ISC License", "Apache License", "Roboto", "fflate", "gl-matrix"):
        assert name in licences
