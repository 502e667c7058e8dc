"""Small studies on a disk for the tests: three volumes of a patient, DICOM series, hostile files."""

import numpy as np

from tests.dicom_files import scan
from tests.series_files import affine, dicom_stack, nifti

SHAPE = (40, 48, 12)


def volumes(seed=0, shape=SHAPE):
    """Name → NIfTI file of the three sequences of one patient, a bright ball in FLAIR."""
    random = np.random.default_rng(seed)
    rows, columns, slices = np.indices(shape)
    head = ((rows - 20) / 15) ** 2 + ((columns - 24) / 19) ** 2 < 1
    ball = (rows - 14) ** 2 + (columns - 24) ** 2 + (3 * (slices - 6)) ** 2 < 36
    matrix = affine(np.eye(3), (2.0, 2.0, 5.0), (-40, -48, -30))
    files = {}
    for name, bright in (("FLAIR", 90), ("T1", 0), ("T1-post", 20)):
        voxels = random.normal(5, 2, shape) + 80 * head + bright * ball
        files[f"{name}.nii.gz"] = nifti(voxels.clip(0).astype(np.int16), matrix)
    return files


def write_study(folder, seed=0):
    """A folder with a patient's three volumes."""
    folder.mkdir(parents=True)
    for name, data in volumes(seed).items():
        (folder / name).write_bytes(data)
    return folder


def dicom_study(count=4, **changes):
    """The files of a FLAIR series, an axial stack of noise."""
    planes = np.stack([scan(seed=number) for number in range(count)])
    files, _ = dicom_stack(planes, (1, 0, 0), (0, 1, 0), **changes)
    return files


def spoil(folder):
    """Cut the FLAIR of a study short, as a broken copy leaves it."""
    path = folder / "FLAIR.nii.gz"
    path.write_bytes(path.read_bytes()[:-500])
