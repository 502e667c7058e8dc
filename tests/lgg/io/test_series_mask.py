"""A ground truth of a series: from any form that masks come in onto its slices, or refused in words."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from lgg.errors import SliceError
from lgg.io import read_series, read_series_mask
from tests.series_files import affine, archive, dicom_stack, nifti, slice_files, slices

MASKS = np.zeros((4, 48, 40), bool)
MASKS[1, 10:20, 5:30] = MASKS[2, 12:18, 8:20] = True


def png(mask):
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def series():
    return read_series([archive(slice_files(slices(4)))])


def test_files_in_the_order_of_their_names(series):
    files = {f"{number}.png": png(one) for number, one in zip((2, 10, 11, 100), MASKS, strict=True)}
    np.testing.assert_array_equal(read_series_mask([archive(files)], series), MASKS)
    np.testing.assert_array_equal(
        read_series_mask(list(files.values())[::-1], series, list(files)[::-1]), MASKS
    )


def test_masks_among_their_slices(series):
    both = slice_files(slices(4)) | {f"patient_{n}_mask.png": png(one) for n, one in enumerate(MASKS, 1)}
    np.testing.assert_array_equal(read_series_mask([archive(both)], series), MASKS)


def test_pages_of_a_tiff(series):
    stream = io.BytesIO()
    tifffile.imwrite(stream, MASKS.astype("uint8") * 255, photometric="minisblack")
    np.testing.assert_array_equal(read_series_mask([stream.getvalue()], series), MASKS)


def test_nifti_in_another_orientation_than_the_series():
    upright = np.diag([-1.0, -1.0, 1.0])
    series = read_series([nifti(slices(4)[..., 0].transpose(2, 1, 0).astype("int16"), affine(upright))])
    turned = MASKS[::-1, ::-1].transpose(1, 0, 2)  # to the front, downwards, to the right
    place = affine(np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]]))
    data = nifti(np.ascontiguousarray(turned).astype("uint8"), place)
    np.testing.assert_array_equal(read_series_mask([data], series, ["t1_mask.nii.gz"]), MASKS)


@pytest.mark.parametrize(
    ("uploads", "words"),
    [
        ([png(MASKS[0])] * 3, "3 × 40 × 48 and the series 4 × 40 × 48"),
        ([png(MASKS[0][:36])] * 4, "4 × 40 × 36"),
        ([png(MASKS[0]), png(MASKS[0].T)], "another size"),
        ([b"no mask at all " * 20], "not an image"),
        (dicom_stack(np.ones((4, 48, 40), "uint16"), (1, 0, 0), (0, 1, 0))[0], "DICOM"),
        ([nifti(np.ones((4, 5, 6), "uint8"), np.eye(4))] * 2, "one NIfTI"),
    ],
    ids=["slices", "sizes", "mixed", "junk", "dicom", "two volumes"],
)
def test_what_cannot_be_compared_is_refused_in_words(series, uploads, words):
    with pytest.raises(SliceError, match=words):
        read_series_mask(uploads, series, [f"mask_{number}" for number in range(len(uploads))])
