"""Ground truths of a slice and of a series: from any form that masks come in, or refused in words."""

import numpy as np
import pytest
from PIL import Image

from lgg.errors import SliceError
from lgg.io import read_mask, read_series, read_series_mask
from tests.reading_files import VALID, noise, pillow, tiff
from tests.series_files import affine, archive, dicom_stack, nifti, slice_files, slices


@pytest.mark.parametrize("top", [1, 255])
@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_masks_of_every_kind(top, kind, mode):
    expected = noise(48, 40) > 200
    image = Image.fromarray(expected.astype("uint8") * top)
    if mode == "1":
        image = Image.fromarray(expected)
    elif mode == "P":
        image = Image.fromarray(expected.astype("uint8")).convert("P")
        image.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    elif mode != "L":
        image = image.convert(mode)
    got = read_mask(pillow(image, kind))
    assert got.dtype == np.bool_
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "float32"])
@pytest.mark.parametrize("above", [200, -1, 255], ids=["some", "full", "empty"])
def test_masks_of_every_type_empty_and_full_ones_too(dtype, above):
    expected = noise(48, 40).astype(int) > above
    np.testing.assert_array_equal(read_mask(tiff(expected.astype(dtype))), expected)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (VALID["grey JPEG"], "JPEG cannot hold a mask"),
        (VALID["RGB PNG"], "coloured"),
        (b"", "empty"),
        (b"junk", "not an image"),
        (VALID["TIFF"][:500], "cut short"),
        (tiff(noise(5, 48, 40), photometric="minisblack"), "several images"),
    ],
    ids=["JPEG", "coloured", "empty", "junk", "cut", "stack"],
)
def test_what_is_no_mask_is_refused_by_name(data, message):
    with pytest.raises(SliceError, match=rf"^m\.png: .*{message}"):
        read_mask(data, "m.png")


MASKS = np.zeros((4, 48, 40), bool)
MASKS[1, 10:20, 5:30] = MASKS[2, 12:18, 8:20] = True
FILES = [pillow(mask, "PNG") for mask in MASKS]


@pytest.fixture
def series():
    return read_series([archive(slice_files(slices(4)))])


def test_files_in_the_order_of_their_names(series):
    files = dict(zip(("2.png", "10.png", "11.png", "100.png"), FILES, strict=True))
    np.testing.assert_array_equal(read_series_mask([archive(files)], series), MASKS)
    np.testing.assert_array_equal(read_series_mask(FILES[::-1], series, list(files)[::-1]), MASKS)


def test_masks_among_their_slices(series):
    both = slice_files(slices(4)) | {f"patient_{n}_mask.png": data for n, data in enumerate(FILES, 1)}
    np.testing.assert_array_equal(read_series_mask([archive(both)], series), MASKS)


def test_pages_of_a_tiff(series):
    data = tiff(MASKS.astype("uint8") * 255, photometric="minisblack")
    np.testing.assert_array_equal(read_series_mask([data], series), MASKS)


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
        ([pillow(MASKS[0], "PNG")] * 3, "3 × 40 × 48 and the series 4 × 40 × 48"),
        ([pillow(MASKS[0][:36], "PNG")] * 4, "4 × 40 × 36"),
        ([pillow(MASKS[0], "PNG"), pillow(MASKS[0].T, "PNG")], "of one series"),
        ([b"no mask at all " * 20], "not an image"),
        (dicom_stack(np.ones((4, 48, 40), "uint16"), (1, 0, 0), (0, 1, 0))[0], "DICOM"),
        ([nifti(np.ones((4, 5, 6), "uint8"), np.eye(4))] * 2, "one NIfTI"),
    ],
    ids=["slices", "sizes", "mixed", "junk", "dicom", "two volumes"],
)
def test_what_cannot_be_compared_is_refused_in_words(series, uploads, words):
    with pytest.raises(SliceError, match=words):
        read_series_mask(uploads, series, [f"mask_{number}" for number in range(len(uploads))])
