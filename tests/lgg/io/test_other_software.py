"""What others' software makes of a series of ours, read again; and what it reads of our results."""

import gzip
import io
import shutil
import subprocess
import warnings
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from lgg import read_study
from lgg.errors import SliceError
from lgg.export.dicom_seg import dicom_segmentation
from lgg.export.folder import nifti_volume
from lgg.io import read_series
from lgg.io.orientation import axial_affine
from lgg.io.study import recognise
from lgg.types import FLAIR, POST, PRE
from tests.dicom_files import STUDY
from tests.reading_files import noise
from tests.series_files import DIRECTIONS, PLANES, affine, blob, dicom_stack, nifti, rotated, write
from tests.series_results import PROVENANCE

SHAPE = (34, 50, 41)
PLANES = {name: PLANES[name] for name in ("axial", "coronal", "sagittal", "oblique")}
#: Rows and columns along all axes, straight and tilted.
ALL_PLANES = [
    pytest.param(
        tuple(map(tuple, (rotated(tilt, 0) @ rotated(-tilt, 2) @ axes).T[:2])), marks=pytest.mark.slow
    )
    for tilt in (0, 9)
    for axes in DIRECTIONS
]
FLAIR_TIMES = {
    "EchoTime": 120,
    "RepetitionTime": 9000,
    "InversionTime": 2500,
    "ScanningSequence": ["SE", "IR"],
}
#: What software expects of MR images beside what our tests' files hold.
COMPLETE = {
    **{"AccessionNumber": "1", "StudyID": "1", "StudyTime": "120000", "SeriesDate": "19700101"},
    **{"SeriesTime": "120000", "AcquisitionDate": "19700101", "AcquisitionTime": "120000"},
    **{"ContentDate": "19700101", "ContentTime": "120000", "PatientSex": "O", "Manufacturer": "x"},
    **{"ImageType": ["ORIGINAL", "PRIMARY", "M"], "SpecificCharacterSet": "ISO_IR 100"},
}


def phantom(plane, **changes):
    """DICOM files of a head with a bright blob in it, its voxels, and the affine to RAS."""
    _, matrix = dicom_stack(noise(1, 50, 41, dtype="uint16"), *plane, step=2.0)
    voxels = blob(SHAPE, matrix, (matrix @ (20, 30, 12, 1))[:3], 9)
    pixels = (noise(*SHAPE, dtype="uint16") % 300 + voxels * 900).astype("uint16")
    options = {"description": "FLAIR", "SliceThickness": "2", **COMPLETE, **FLAIR_TIMES, **changes}
    return dicom_stack(pixels, *plane, step=2.0, **options)[0], voxels, matrix


def numbered(files):
    return {f"{number}.dcm": data for number, data in enumerate(files)}


def volume_of(image):
    """Brightness at each voxel and its RAS place, (…) and (…, 3), of a nibabel image."""
    places = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), axis=-1)
    return np.asarray(image.dataobj), places @ image.affine[:3, :3].T + image.affine[:3, 3]


def places_of(series):
    shape = series.pixels.shape[:3]
    matrix = axial_affine(series.grid)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return places @ matrix[:3, :3].T + matrix[:3, 3]


class TestNibabel:
    @pytest.mark.parametrize("directions", DIRECTIONS[::5], ids=range(0, 48, 5))
    def test_a_t1_that_nibabel_reoriented_comes_back_to_the_flairs_voxels(self, directions):
        matrix = affine(rotated(7, 0) @ rotated(-11, 2), (1.0, 1.2, 3.0), (-20, -30, -40))
        head = blob((40, 48, 36), matrix, (matrix @ (20, 24, 18, 1))[:3], 18)
        t1 = nib.Nifti1Image(noise(40, 48, 36), matrix)
        turned = t1.as_reoriented(nib.orientations.io_orientation(affine(directions)))
        files = [
            nifti((head * 900).astype("int16"), matrix),
            nifti(np.asarray(turned.dataobj), turned.affine),
        ]
        series = read_series(files, ["flair.nii", "t1.nii"])
        expected = series.grid.to_axial(np.asarray(t1.dataobj))
        np.testing.assert_allclose(series.pixels[..., PRE], expected, atol=1e-2)

    def test_a_mask_of_ours_lies_where_nibabel_sees_the_blob(self):
        matrix = affine(rotated(20, 0) @ rotated(10, 2) @ DIRECTIONS[17], (1.0, 1.2, 3.0), (12, -30, 7))
        voxels = blob((40, 48, 36), matrix, (matrix @ (20, 24, 18, 1))[:3], 12)
        series = read_series([nifti((voxels * 900).astype("int16"), matrix)])
        data = gzip.decompress(nifti_volume(series, series.pixels[..., FLAIR] > 500))
        mask, places = volume_of(nib.Nifti1Image.from_bytes(data))
        np.testing.assert_array_equal(mask, voxels)
        # By the header alone, as any viewer would: its centre is the blob's.
        np.testing.assert_allclose(places[mask > 0].mean(0), (matrix @ (20, 24, 18, 1))[:3], atol=0.2)


@pytest.mark.skipif(not shutil.which("dcm2niix"), reason="dcm2niix is not installed")
class TestDcm2niix:
    @pytest.mark.parametrize("plane", [*PLANES.values(), *ALL_PLANES])
    def test_a_series_that_dcm2niix_converted_is_the_same_series(self, plane, tmp_path):
        files, voxels, _ = phantom(plane)
        folder = write(tmp_path / "dicom", numbered(files))
        converted = converted_by_dcm2niix(folder, tmp_path)
        series, again = read_study(folder), read_study(converted)
        np.testing.assert_array_equal(again.pixels, series.pixels)
        np.testing.assert_allclose(axial_affine(again.grid), axial_affine(series.grid), atol=1e-3)
        assert again.spacing == pytest.approx(series.spacing, abs=1e-4)
        mask = series.pixels[..., FLAIR] > 500
        np.testing.assert_array_equal(series.to_source(mask), voxels)
        np.testing.assert_array_equal(again.to_source(mask), again.to_source(again.pixels[..., FLAIR]) > 500)

    def test_names_and_grids_of_a_converted_study_are_known(self, tmp_path):
        plain = {"ScanningSequence": "SE", "InversionTime": None, "EchoTime": 10, "RepetitionTime": 550}
        files = phantom(PLANES["axial"])[0]
        files += phantom(PLANES["axial"], series="1.2.3.8", SeriesNumber=8, description="T1", **plain)[0]
        tilted = {"origin": (-102.0, -118.0, 29.0), "description": "T1 +C"}
        files += phantom(PLANES["oblique"], series="1.2.3.9", SeriesNumber=9, **plain, **tilted)[0]
        folder = write(tmp_path / "dicom", numbered(files))
        series, again = read_study(folder), read_study(converted_by_dcm2niix(folder, tmp_path))
        assert sorted(series.chosen) == sorted(again.chosen) == [PRE, FLAIR, POST]
        np.testing.assert_allclose(again.pixels, series.pixels, atol=0.5)


def converted_by_dcm2niix(folder, out):
    (out / "nifti").mkdir()
    command = ["dcm2niix", "-z", "y", "-b", "n", "-f", "%s_%d", "-o", str(out / "nifti"), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return out / "nifti"


def enhanced(files):
    """The files as one enhanced MR object, which highdicom makes of them."""
    datasets = [pydicom.dcmread(io.BytesIO(data)) for data in files]
    made = highdicom.legacy.LegacyConvertedEnhancedMRImage(datasets, "1.2.3.77", 7, "1.2.3.78", 1)
    stream = io.BytesIO()
    made.save_as(stream)
    return stream.getvalue()


class TestHighdicom:
    @pytest.mark.parametrize("plane", PLANES.values(), ids=PLANES)
    def test_an_enhanced_object_is_the_same_series(self, plane):
        files, *_ = phantom(plane)
        series, again = read_series(files), read_series([enhanced(files[::-1])], ["enhanced.dcm"])
        np.testing.assert_array_equal(again.pixels, series.pixels)
        np.testing.assert_allclose(axial_affine(again.grid), axial_affine(series.grid), atol=1e-3)
        assert again.spacing == pytest.approx(series.spacing)
        assert again.slice_distance == pytest.approx(series.slice_distance)
        assert len(again.dicom) == 34

    @pytest.mark.parametrize("whole", [False, True], ids=["slices", "enhanced"])
    @pytest.mark.parametrize("plane", PLANES.values(), ids=PLANES)
    def test_a_segmentation_of_ours_is_a_volume_at_the_same_place(self, plane, whole, tmp_path):
        files, voxels, matrix = phantom(plane)
        series = read_series([enhanced(files[::-1])] if whole else files)
        data = dicom_segmentation(series, series.pixels[..., FLAIR] > 500, PROVENANCE)
        (tmp_path / "seg.dcm").write_bytes(data)
        volume = highdicom.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
        places = np.argwhere(volume.array) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        expected = np.argwhere(voxels) @ matrix[:3, :3].T + matrix[:3, 3]
        np.testing.assert_allclose(places.mean(0) * (-1, -1, 1), expected.mean(0), atol=1e-2)
        assert len(places) == voxels.sum()
        assert volume.array.shape[1:] == SHAPE[1:]
        assert pydicom.dcmread(tmp_path / "seg.dcm").StudyInstanceUID == STUDY

    def test_enhanced_files_of_a_frame_each_are_not_referred_to_as_frames_of_one(self):
        files, *_ = phantom(PLANES["axial"])
        series = read_series([enhanced([data]) for data in files[:12]])
        assert dicom_segmentation(series, series.pixels[..., FLAIR] > 500, PROVENANCE) is None

    def test_a_segmentation_of_an_enhanced_file_names_the_frames_at_its_places(self):
        files, *_ = phantom(PLANES["oblique"])
        data = enhanced(files[::-1])
        source = pydicom.dcmread(io.BytesIO(data)).PerFrameFunctionalGroupsSequence
        series = read_series([data])
        made = dicom_segmentation(series, series.pixels[..., FLAIR] > 500, PROVENANCE)
        frames = pydicom.dcmread(io.BytesIO(made)).PerFrameFunctionalGroupsSequence
        assert len(frames) > 3
        for frame in frames:
            (image,) = frame.DerivationImageSequence[0].SourceImageSequence
            named = source[image.ReferencedFrameNumber - 1]
            there, place = (g.PlanePositionSequence[0].ImagePositionPatient for g in (named, frame))
            assert there == pytest.approx(place, abs=1e-3)


class TestPydicom:
    @pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm"])
    def test_its_sample_slices_are_read_at_their_place(self, name):
        path = get_testdata_file(name)
        series, source = read_study(path, flair=1), pydicom.dcmread(path)
        np.testing.assert_array_equal(series.pixels[0, ..., FLAIR], source.pixel_array)
        place = axial_affine(series.grid)[:3, 3] * (-1, -1, 1)
        np.testing.assert_allclose(place, np.array(source.ImagePositionPatient, float), atol=1e-3)

    def test_localisers_and_maps_of_its_sample_patient_are_left_out(self):
        folder = Path(get_testdata_file("DICOMDIR")).parent / "98892003" / "MR700"
        assert {row.sequence for row in recognise(folder).found} == {""}

    def test_whatever_it_holds_is_read_or_refused(self):
        folder = Path(get_testdata_file("MR_small.dcm")).parent
        read, refused = 0, []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for path in sorted(folder.glob("*.dcm")):
                try:
                    read += bool(np.isfinite(read_study(path, flair=1).pixels).all())
                except SliceError as error:
                    refused.append(str(error))
        assert read > 10
        assert refused
        assert str(folder) not in "".join(refused)
