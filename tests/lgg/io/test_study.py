"""Studies on the disk: folders of files, recognised and brought onto the FLAIR's grid."""

import numpy as np
import pytest

from lgg import read_study
from lgg.errors import SeriesError
from lgg.types import FLAIR, POST, PRE
from tests.series_files import affine, dicom_stack, nifti

SHAPE = (40, 36, 6)
PLACE = affine(np.eye(3), (1.0, 1.0, 5.0))


def volume(seed):
    return np.random.default_rng(seed).integers(1, 1000, SHAPE, dtype=np.int16)


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_a_folder_of_volumes_is_read(tmp_path):
    files = {name: nifti(volume(seed), PLACE) for seed, name in enumerate(("FLAIR.nii.gz", "T1.nii.gz"))}
    series = read_study(write(tmp_path, files))
    assert series.pixels.shape == (6, 36, 40, 3)
    np.testing.assert_array_equal(series.pixels[..., FLAIR], series.grid.to_axial(volume(0)))
    np.testing.assert_array_equal(series.pixels[..., PRE], series.grid.to_axial(volume(1)))
    np.testing.assert_array_equal(series.pixels[..., POST], series.pixels[..., FLAIR])


def test_a_folder_of_dicom_files_is_read(tmp_path):
    planes = np.random.default_rng(0).integers(0, 4000, (3, 48, 40), dtype=np.uint16)
    files, _ = dicom_stack(planes, (1, 0, 0), (0, 1, 0))
    series = read_study(write(tmp_path, {f"a/{number}": data for number, data in enumerate(files)}))
    np.testing.assert_array_equal(series.pixels[..., FLAIR], planes)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(SeriesError, match="no files"):
        read_study(tmp_path)
