"""The take-away: complete, on the source's own grid, and without a trace of the patient."""

import csv
import gzip
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace

import nibabel as nib
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image

from lgg.export import MEANINGS, NOTICE, export_zip, write_zip
from lgg.io import read_series
from lgg.postprocess import corrected, redecide
from lgg.types import FLAIR, SeriesResult
from lgg.visualize import enlarge
from tests.dicom_files import PATIENT, dicom, scan
from tests.reading_files import noise, tiff
from tests.series_files import (
    AXIAL,
    DIRECTIONS,
    affine,
    blob,
    dicom_stack,
    nifti,
    rotated,
    slice_files,
    slices,
)
from tests.series_results import PROVENANCE, prediction


def predict(series, masks=None):
    """A made-up prediction of each slice: its bright pixels are tumour."""
    if masks is None:
        masks = series.pixels[..., FLAIR] > np.percentile(series.pixels[..., FLAIR], 80)
    probability = np.random.default_rng(0).uniform(size=masks.shape).astype("float32")
    return [
        replace(
            prediction(mask, probability=shown, spacing=series.spacing, thresholds=PROVENANCE.thresholds),
            gate_probability=0.25 + number / 100,
            passed=number % 2 == 0,
        )
        for number, (shown, mask) in enumerate(zip(probability, masks, strict=True))
    ]


def rows_of(data):
    return list(csv.DictReader(io.StringIO(data.decode())))


def unpacked_result(result, provenance=PROVENANCE):
    with zipfile.ZipFile(io.BytesIO(export_zip(result, provenance))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def unpacked(series, predictions, provenance=PROVENANCE):
    return unpacked_result(SeriesResult(series, tuple(predictions)), provenance)


PICTURES = read_series(list(slice_files(slices(5)).values()))
PREDICTIONS = predict(PICTURES)
FILES = unpacked(PICTURES, PREDICTIONS)
TEXT = FILES["README.txt"].decode()


def test_a_series_of_pictures_gives_these_files():
    masks, overlays = ([f"{folder}/slice_00{n}.png" for n in range(1, 6)] for folder in ("masks", "overlays"))
    assert sorted(FILES) == [
        "README.txt",
        "components.csv",
        *masks,
        *overlays,
        "probability.tif",
        "slices.csv",
        "statistics.json",
    ]


def test_masks_and_overlays_show_the_predictions():
    for number, slice_ in enumerate(PREDICTIONS, start=1):
        stored, shown = (
            np.asarray(Image.open(io.BytesIO(FILES[f"{folder}/slice_00{number}.png"])))
            for folder in ("masks", "overlays")
        )
        np.testing.assert_array_equal(stored, slice_.mask * 255)
        np.testing.assert_array_equal((shown != shown[..., :1]).any(2), enlarge(slice_.mask))


def test_the_statistics_are_those_of_the_result_and_the_components_a_table_too():
    numbers = json.loads(FILES["statistics.json"])
    assert numbers["voxels"] == sum(slice_.area for slice_ in PREDICTIONS)
    assert numbers["made_by"]["segmenter_weights"] == "b" * 64
    numbers = numbers["components"]
    rows = rows_of(FILES["components.csv"])
    assert [int(row["voxels"]) for row in rows] == [component["voxels"] for component in numbers] != []
    assert [int(row["first_slice"]) for row in rows] == [component["slices"][0] for component in numbers]
    # Without a spacing, nobody knows it.
    assert {row["volume_ml"] + row["largest_diameter_mm"] for row in rows} == {""}


def test_probabilities_have_sixteen_bits():
    stored = tifffile.imread(io.BytesIO(FILES["probability.tif"]))
    assert stored.dtype == np.uint16
    expected = np.stack([slice_.probability for slice_ in PREDICTIONS])
    np.testing.assert_allclose(stored / 65535, expected, atol=0.51 / 65535)


@pytest.mark.parametrize("options", [{}, {"resolution": (20, 10), "resolutionunit": "CENTIMETER"}])
def test_the_table_has_a_row_a_slice(options):
    series = read_series([tiff(pixels, **options) for pixels in slices(3)])
    predictions = predict(series)
    rows = rows_of(unpacked(series, predictions)["slices.csv"])
    assert [int(row["slice"]) for row in rows] == [1, 2, 3]
    for row, slice_ in zip(rows, predictions, strict=True):
        assert float(row["gate_probability"]) == pytest.approx(slice_.gate_probability)
        assert bool(int(row["gate_passed"])) == slice_.passed
        assert int(row["area_px"]) == slice_.area
        assert float(row["head_percent"]) == pytest.approx(slice_.head_percent, abs=1e-3)
        # Without a spacing, nobody knows it.
        assert row["area_mm2"] == (f"{slice_.area * 0.5:.2f}" if options else "")


def test_the_readme_explains_every_file_and_no_other_and_how_they_were_made():
    explained = {name for name in MEANINGS if f"  {name}: " in TEXT}
    assert explained == {name.split("/")[0] for name in FILES} - {"README.txt"}
    for words in (NOTICE, "0.375", "0.625", "a" * 64, "b" * 64, "unet-lite0", "gating: hard"):
        assert words in TEXT
    soft = unpacked(PICTURES, PREDICTIONS, replace(PROVENANCE, gating="soft"))
    assert "gating: soft" in soft["README.txt"].decode()


def test_notes_on_the_upload_are_passed_on():
    files, _ = dicom_stack(noise(6, 48, 40, dtype="uint16"), *AXIAL)
    series = read_series(files[:3] + files[4:])
    (note,) = series.notes
    assert note in unpacked(series, predict(series))["README.txt"].decode()


def test_the_archive_is_written_whole_and_the_same_each_time(tmp_path):
    result = SeriesResult(PICTURES, tuple(PREDICTIONS))
    write_zip(tmp_path / "result.zip", result, PROVENANCE)
    assert [path.name for path in tmp_path.iterdir()] == ["result.zip"]
    assert (tmp_path / "result.zip").read_bytes() == export_zip(result, PROVENANCE)


def test_what_few_uploads_need_is_not_imported_for_all():
    slow = {"pydicom", "nibabel", "highdicom", "scipy.stats", "scipy.spatial"}
    code = f"import sys, lgg.export; print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("directions", DIRECTIONS[::5], ids=range(0, 48, 5))
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_nifti_mask_lies_where_the_tumour_does(directions, kind):
    matrix = affine(rotated(8, 1) @ directions, (0.9, 1.1, 2.5), (12, -30, 7))
    voxels = blob((33, 47, 40), matrix, (matrix @ (14, 30, 22, 1))[:3], 9)
    data = nifti(voxels.astype("int16") * 900, matrix, codes=(1, 2), packed=False, kind=kind)
    series = read_series([data])
    stored = unpacked(series, predict(series, series.pixels[..., FLAIR] > 500))["mask.nii.gz"]
    source = kind.from_bytes(data)
    mask = kind.from_bytes(gzip.decompress(stored))
    np.testing.assert_array_equal(np.asarray(mask.dataobj), voxels)
    np.testing.assert_array_equal(mask.affine, source.affine)
    for name in ("qform_code", "sform_code", "pixdim", "xyzt_units", "dim"):
        np.testing.assert_array_equal(mask.header[name], source.header[name])
    assert mask.get_data_dtype() == np.uint8
    assert mask.header["descrip"].item().decode() == NOTICE, "no text of the upload's is kept"


def segmentation(series, masks):
    return pydicom.dcmread(io.BytesIO(unpacked(series, predict(series, masks))["segmentation.dcm"]))


STACK, _ = dicom_stack(noise(5, 48, 40, dtype="uint16"), *AXIAL, SliceThickness="4")


def test_a_segmentation_says_what_it_is():
    series = read_series(STACK)
    found = segmentation(series, series.pixels[..., FLAIR] > 30000)
    (segment,) = found.SegmentSequence
    assert found.ContentDescription == NOTICE
    assert "clinical" in found.SeriesDescription
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "lgg unet-lite0"
    assert found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 4


def test_an_outline_that_was_corrected_by_hand_is_taken_away_and_marked():
    series = read_series(STACK)
    result = SeriesResult(series, tuple(predict(series)))
    masks = np.zeros((5, 48, 40), bool)
    masks[1:4, 10:20, 5:9] = True
    files = unpacked_result(corrected(result, masks))
    found = pydicom.dcmread(io.BytesIO(files["segmentation.dcm"]))
    numbers, text = json.loads(files["statistics.json"]), files["README.txt"].decode()
    rows = rows_of(files["slices.csv"])
    assert found.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert "corrected by hand" in found.ContentDescription
    assert found.pixel_array.sum() == numbers["voxels"] == masks.sum()
    assert [int(row["area_px"]) for row in rows] == [0, 40, 40, 40, 0]
    assert numbers["corrected_by_hand"]
    assert "corrected by hand" in text
    assert not json.loads(FILES["statistics.json"])["corrected_by_hand"]
    assert "corrected" not in TEXT
    decided = redecide(corrected(result, masks), PROVENANCE.thresholds)
    assert not decided.corrected, "other thresholds make the networks' outline again"


def test_directions_that_differ_by_rounding_are_one_direction():
    turned = dicom(
        noise(48, 40, dtype="uint16"),
        number=9,
        ImagePositionPatient=[-100.0, -120.0, 60.0],
        ImageOrientationPatient=[1, 0.004, 0, -0.004, 1, 0],
    )
    series = read_series([*STACK, turned])
    assert segmentation(series, np.ones((6, 48, 40), bool)).NumberOfFrames == 6


def test_a_segmentation_without_tumour_is_empty():
    series = read_series(STACK)
    assert not segmentation(series, np.zeros((5, 48, 40), bool)).pixel_array.any()


def test_nothing_that_is_taken_away_names_the_patient():
    series = read_series(STACK, ["Doe_Jane_1.dcm"] * 5)
    files = unpacked(series, predict(series))
    assert "segmentation.dcm" in files
    for name, data in files.items():
        assert b"Doe" not in data + name.encode(), name
        assert PATIENT.encode() not in data
    found = segmentation(series, None)
    assert (found.PatientName, found.PatientID, found.PatientBirthDate) == ("", "", "")


@pytest.mark.parametrize(
    "changes",
    [{"FrameOfReferenceUID": None}, {"PixelSpacing": None}, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}],
    ids=str,
)
def test_images_that_cannot_be_referred_to_give_no_segmentation(changes):
    series = read_series([dicom(scan(), number=number, **changes) for number in range(3)])
    files = unpacked(series, predict(series))
    assert "segmentation.dcm" not in files
    assert "No DICOM Segmentation was made" in files["README.txt"].decode()
