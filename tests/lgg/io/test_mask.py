"""Reading masks."""

import numpy as np
import pytest
from PIL import Image

from lgg.errors import SliceError
from lgg.io import read_mask
from tests.reading_files import VALID, noise, pillow, tiff


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
def test_mask_dtypes(dtype):
    expected = noise(48, 40) > 200
    np.testing.assert_array_equal(read_mask(tiff(expected.astype(dtype))), expected)


@pytest.mark.parametrize("value", [0, 255])
def test_an_empty_and_a_full_mask_are_valid(value):
    assert (read_mask(tiff(np.full((48, 40), value, "u1"))) == (value > 0)).all()


def test_a_jpeg_mask_is_refused():
    with pytest.raises(SliceError, match="JPEG cannot hold a mask"):
        read_mask(VALID["grey JPEG"])


def test_a_coloured_mask_is_refused():
    with pytest.raises(SliceError, match=r"m\.png: .*coloured"):
        read_mask(VALID["RGB PNG"], "m.png")


@pytest.mark.parametrize("data", [b"", b"junk", VALID["TIFF"][:500], tiff(noise(5, 48, 40))])
def test_a_mask_is_refused_as_a_slice_is(data):
    with pytest.raises(SliceError):
        read_mask(data)
