"""Reading: what comes back from every format, and what is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lgg.errors import SliceError
from lgg.io import DECODERS, read_slice
from lgg.io.limits import MAX_BYTES, MAX_SIDE, MIN_SIDE
from lgg.types import Slice
from tests.reading_files import VALID, noise, pillow, tiff


def test_a_text_stream_is_refused_in_words():
    with pytest.raises(TypeError, match="binary mode"):
        read_slice(io.StringIO("a slice"))


@pytest.mark.parametrize("data", VALID.values(), ids=VALID)
def test_a_path_a_string_bytes_and_a_stream_give_the_same_slice(data, tmp_path):
    path = tmp_path / "one.dat"
    path.write_bytes(data)
    slice_ = read_slice(data)
    assert isinstance(slice_, Slice)
    assert slice_.pixels.dtype == np.float32
    assert (slice_.pixels.shape, slice_.size) == ((48, 40, 3), (48, 40))
    assert np.isfinite(slice_.pixels).all()
    assert slice_.pixels.flags.c_contiguous
    with path.open("rb") as stream:
        for source in (path, str(path), io.BytesIO(data), stream):
            np.testing.assert_array_equal(read_slice(source).pixels, slice_.pixels)
        assert not stream.closed
        stream.seek(0)
        assert read_slice(stream).source == read_slice(path).source == "one.dat"


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("a/b/scan.tif", "scan.tif"),
        ("C:\\users\\me\\scan.tif", "scan.tif"),
        ("../../scan.tif", "scan.tif"),
        ("scan\n\x1b.tif", "scan.tif"),
        ("a" * 70_000 + ".tif", "a" * 251 + ".tif"),
        ("", "slice"),
        ("/", "slice"),
        (None, "slice"),
    ],
)
def test_the_source_is_a_bare_name(name, bare):
    assert read_slice(VALID["PNG"], name).source == bare


@pytest.mark.parametrize("write", [tiff, lambda rgb: pillow(rgb, "PNG"), lambda rgb: pillow(rgb, "JPEG")])
def test_a_grey_picture_saved_as_rgb_is_flair_only_and_three_different_channels_are_not(write):
    grey = np.repeat(noise(48, 40, 1), 3, axis=2)
    assert read_slice(write(grey)).flair_only
    assert not read_slice(write(noise(48, 40, 3))).flair_only


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "PNG"])
def test_the_orientation_tag_is_applied(orientation, kind):
    pixels = np.kron(np.arange(30).reshape(5, 6) * 8, np.ones((8, 8))).astype("uint8")
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[274] = orientation
    data = (
        pillow(image, kind, tiffinfo={274: orientation}) if kind == "TIFF" else pillow(image, kind, exif=exif)
    )
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.T,
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].T,
        8: np.rot90(pixels),
    }[orientation]
    np.testing.assert_allclose(read_slice(data).pixels[..., 0], turned, atol=12 if kind == "JPEG" else 0)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"GIF89a" + bytes(500), "a GIF"),
        (b"BM" + bytes(500), "a BMP"),
        (b"RIFF\0\0\0\0WEBP" + bytes(500), "a WebP"),
        (b"\x5c\x01\0\0" + bytes(340) + b"n+1\0" + bytes(100), "a NIfTI volume"),
        (b"\x1c\x02\0\0n+2\0" + bytes(600), "a NIfTI volume"),
        (b"\x5c\x01\0\0" + bytes(400), "an Analyze volume"),
        (b"\x1f\x8b\x08" + bytes(100), "a gzip archive"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive"),
        (b"%PDF-1.7" + bytes(100), "a PDF"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "a photo"),
        (b"<html>", "text"),
        (b"\x93NUMPY" + bytes(100), "a NumPy array"),
        (b"NRRD0004", "an NRRD volume"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    ],
)
def test_other_formats_are_named_with_what_to_upload_instead(data, what):
    with pytest.raises(SliceError, match=rf"this is {what}.*not read here\. \w+.*(TIFF|slice)"):
        read_slice(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "the file is empty")]
    + [(data, "not an image") for data in (b"x", b"junk" * 1000, b"MM")]
    + [(data, "cut short") for data in (b"II*\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")],
)
def test_empty_files_and_junk_are_refused(data, message):
    with pytest.raises(SliceError, match=rf"^scan\.tif: .*{message}"):
        read_slice(data, "scan.tif")


def test_a_file_over_the_limit_is_refused_after_reading_no_more_than_the_limit():
    class Endless(io.RawIOBase):
        asked = 0

        def read(self, size=-1):
            self.asked = size
            return bytes(max(size, 0))

    stream = Endless()
    with pytest.raises(SliceError, match="over 256 MiB"):
        read_slice(stream)
    assert stream.asked == MAX_BYTES + 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_pixel_that_is_no_number_or_beyond_float32_is_refused(value):
    pixels = noise(48, 40, dtype="float64")
    pixels[3, 5] = value
    with pytest.raises(SliceError, match="NaN, infinite or beyond"):
        read_slice(tiff(pixels))


@pytest.mark.parametrize("pixels", [np.full((48, 40), 7, "u1"), np.full((48, 40, 3), (9, 0, 0), "u1")])
@pytest.mark.parametrize("write", [tiff, lambda pixels: pillow(pixels, "PNG")])
def test_a_constant_image_is_refused(pixels, write):
    with pytest.raises(SliceError, match="same value"):
        read_slice(write(pixels))


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG"])
def test_a_thumbnail_is_refused_and_the_smallest_and_a_large_slice_are_read(kind):
    for shape in ((MIN_SIDE - 1, 64), (64, MIN_SIDE - 1), (1, 1)):
        with pytest.raises(SliceError, match="at least 32 a side"):
            read_slice(pillow(noise(*shape), kind))
    for shape in ((MIN_SIDE, MIN_SIDE), (MIN_SIDE, MAX_SIDE), (MAX_SIDE, MIN_SIDE)):
        assert read_slice(pillow(noise(*shape), kind)).size == shape


def test_a_missing_file_is_refused_without_its_folder(tmp_path):
    for path in (tmp_path / "none.tif", tmp_path):
        with pytest.raises(SliceError, match="cannot be opened") as caught:
            read_slice(path)
        assert str(tmp_path) not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "error", [MemoryError, RecursionError, struct.error, zlib.error, KeyError, ValueError]
)
def test_whatever_a_decoder_raises_becomes_a_slice_error(monkeypatch, error):
    def broken(data):
        raise error("/secret/folder")

    monkeypatch.setitem(DECODERS, "PNG", broken)
    with pytest.raises(SliceError) as caught:
        read_slice(VALID["PNG"], "scan.png")
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith("scan.png: ")
