"""What others' software makes of a series of ours, read again; and what it reads of our results."""

import io
import warnings
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from lgg import read_study
from lgg.errors import SliceError
from lgg.export.dicom_seg import dicom_segmentation
from lgg.io import read_series
from lgg.io.orientation import axial_affine
from lgg.io.study import recognise
from lgg.types import FLAIR
from tests.dicom_files import STUDY
from tests.reading_files import noise
from tests.series_files import PLANES, blob, dicom_stack
from tests.series_results import PROVENANCE

SHAPE = (34, 50, 41)
PLANES = {name: PLANES[name] for name in ("axial", "coronal", "sagittal", "oblique")}
#: What software expects of MR images beside what our tests' files hold.
COMPLETE = {
    **{"AccessionNumber": "1", "StudyID": "1", "StudyTime": "120000", "SeriesDate": "19700101"},
    **{"SeriesTime": "120000", "AcquisitionDate": "19700101", "AcquisitionTime": "120000"},
    **{"ContentDate": "19700101", "ContentTime": "120000", "PatientSex": "O", "Manufacturer": "x"},
    **{"ImageType": ["ORIGINAL", "PRIMARY", "M"], "SpecificCharacterSet": "ISO_IR 100"},
}


def phantom(plane):
    """DICOM files of a head with a bright blob in it, its voxels, and the affine to RAS."""
    _, matrix = dicom_stack(noise(1, 50, 41, dtype="uint16"), *plane, step=2.0)
    voxels = blob(SHAPE, matrix, (matrix @ (20, 30, 12, 1))[:3], 9)
    pixels = (noise(*SHAPE, dtype="uint16") % 300 + voxels * 900).astype("uint16")
    return dicom_stack(pixels, *plane, step=2.0, SliceThickness="2", **COMPLETE)[0], voxels, matrix


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
    def test_a_segmentation_of_ours_is_a_volume_at_the_same_place_and_names_the_images_there(
        self, plane, whole, tmp_path
    ):
        files, voxels, matrix = phantom(plane)
        sources = [enhanced(files[::-1])] if whole else files
        series = read_series(sources)
        data = dicom_segmentation(series, series.pixels[..., FLAIR] > 500, PROVENANCE)
        (tmp_path / "seg.dcm").write_bytes(data)
        volume = highdicom.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
        places = np.argwhere(volume.array) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        expected = np.argwhere(voxels) @ matrix[:3, :3].T + matrix[:3, 3]
        np.testing.assert_allclose(places.mean(0) * (-1, -1, 1), expected.mean(0), atol=1e-2)
        assert len(places) == voxels.sum()
        assert volume.array.shape[1:] == SHAPE[1:]
        found, places = pydicom.dcmread(tmp_path / "seg.dcm"), {}
        assert found.StudyInstanceUID == STUDY
        for image in (pydicom.dcmread(io.BytesIO(data)) for data in sources):
            for number, frame in enumerate(image.get("PerFrameFunctionalGroupsSequence", [None]), start=1):
                place = frame.PlanePositionSequence[0] if frame else image
                places[image.SOPInstanceUID, number] = place.ImagePositionPatient
        for frame in found.PerFrameFunctionalGroupsSequence:
            (named,) = frame.DerivationImageSequence[0].SourceImageSequence
            there = places[named.ReferencedSOPInstanceUID, named.get("ReferencedFrameNumber", 1)]
            assert frame.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(there, abs=1e-3)

    def test_enhanced_files_of_a_frame_each_are_not_referred_to_as_frames_of_one(self):
        files, *_ = phantom(PLANES["axial"])
        series = read_series([enhanced([data]) for data in files[:12]])
        assert dicom_segmentation(series, series.pixels[..., FLAIR] > 500, PROVENANCE) is None


class TestPydicom:
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
