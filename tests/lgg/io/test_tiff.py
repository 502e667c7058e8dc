"""Reading TIFF: its layouts, those that are refused by name, and when a stated resolution is believed."""

import io
import json
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from lgg.errors import SliceError
from lgg.io import read_slice
from tests.reading_files import forged_tiff, noise, pillow, tiff, tiff_of_strip
from train.data.kaggle_3m import index_folder

DATA = Path(__file__).resolve().parents[3] / "data"
INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
FLOATS = ("float16", "float32", "float64")
COMPRESSIONS = (None, "lzw", "zlib", "packbits", "zstd")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "with a predictor"])
@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@pytest.mark.parametrize("shape", [(48, 40), (48, 40, 3)], ids=["grey", "rgb"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_values_are_the_files_own(dtype, shape, byteorder, packed):
    pixels = noise(*shape, dtype=dtype)
    predictor = {"compression": "zlib", "predictor": 3 if dtype in FLOATS else 2, "rowsperstrip": 9}
    got = read_slice(tiff(pixels, byteorder=byteorder, **(predictor if packed else {}))).pixels
    np.testing.assert_array_equal(got, np.broadcast_to(pixels.reshape(48, 40, -1), (48, 40, 3)).astype("f4"))


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    "cut", [{}, {"rowsperstrip": 5}, {"tile": (16, 32)}], ids=["whole", "strips", "tiles"]
)
@pytest.mark.parametrize("planar", [False, True])
def test_tiff_compression_strips_tiles_and_planes(compression, dtype, cut, planar):
    pixels = noise(50, 41, 3, dtype=dtype)
    stored = pixels.transpose(2, 0, 1) if planar else pixels
    data = tiff(stored, compression=compression, planarconfig="separate" if planar else "contig", **cut)
    np.testing.assert_array_equal(read_slice(data).pixels, pixels.astype("f4"))


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14])
@pytest.mark.parametrize("width", [40, 41])
def test_tiff_of_odd_bit_depths(bits, width):
    pixels = (noise(48, width, dtype="uint16") >> (16 - bits)).astype("u1" if bits < 8 else "u2")
    rows = b"".join(imagecodecs.packints_encode(row, bits) for row in pixels)
    data = tiff_of_strip(rows, 1, 48, t258=bits, t256=width)
    np.testing.assert_array_equal(read_slice(data).pixels[..., 0], pixels)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_bilevel_tiff(compression):
    image = Image.fromarray(noise(48, 41)).convert("1")
    got = read_slice(pillow(image, "TIFF", compression=compression)).pixels[..., 0]
    np.testing.assert_array_equal(got, np.asarray(image))


def test_tiff_with_reversed_bit_order():
    pixels = noise(64, 64)
    strip = imagecodecs.bitorder_encode(pixels.tobytes())
    np.testing.assert_array_equal(read_slice(tiff_of_strip(strip, 1, t266=2)).pixels[..., 0], pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_is_zero_is_inverted(dtype):
    pixels = noise(48, 40, dtype=dtype)
    got = read_slice(tiff(pixels, photometric="miniswhite")).pixels[..., 0]
    np.testing.assert_array_equal(got, np.iinfo(dtype).max - pixels)


def test_palette_tiff_is_looked_up():
    indices, colours = noise(48, 40), noise(3, 256, dtype="uint16", seed=1)
    ramp = np.tile(np.arange(255, -1, -1, dtype="uint16") * 257, (3, 1))
    for table, grey in ((colours, False), (ramp, True)):
        slice_ = read_slice(tiff(indices, photometric="palette", colormap=table))
        assert slice_.flair_only == grey
        np.testing.assert_array_equal(slice_.pixels, table.T[indices])


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("channels", [2, 4])
def test_tiff_transparency_is_ignored(planar, channels):
    pixels = noise(48, 40, channels)
    stored = pixels if planar == "contig" else pixels.transpose(2, 0, 1)
    photometric = "rgb" if channels == 4 else "minisblack"
    data = tiff(stored, photometric=photometric, planarconfig=planar, extrasamples=["unassalpha"])
    got = read_slice(data).pixels
    np.testing.assert_array_equal(got, np.broadcast_to(pixels[..., : channels - 1], (48, 40, 3)))


def test_three_unnamed_samples_are_the_three_channels():
    pixels = noise(48, 40, 3, dtype="int16")
    data = tiff(pixels, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_slice(data).pixels, pixels)


def test_a_thumbnail_beside_the_page_is_no_second_page():
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(noise(64, 64), photometric="minisblack")
        writer.write(noise(32, 32), photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(read_slice(stream.getvalue()).pixels[..., 0], noise(64, 64))


def test_a_text_that_only_looks_like_a_shape_is_ignored():
    data = tiff(noise(48, 40), description='{"shape":' + "[" * 20000, metadata=None)
    assert read_slice(data).size == (48, 40)


@pytest.mark.skipif(not DATA.is_dir(), reason="the data set is not here")
def test_a_slice_of_the_data_set_has_exactly_pillows_pixels():
    paths = [slice_.image for slices in index_folder(DATA).values() for slice_ in slices][::500]
    assert paths
    for path in paths:
        np.testing.assert_array_equal(read_slice(path).pixels, np.asarray(Image.open(path), np.float32))


def test_tifffiles_shape_note_of_planar_channels_is_no_stack():
    data = tiff(noise(3, 48, 40), planarconfig="separate")
    assert json.dumps([3, 48, 40]) in data.decode("latin-1")
    assert read_slice(data).size == (48, 40)


def test_a_predictor_without_a_compression_that_has_one_is_refused():
    """Readers disagree: libtiff ignores it there, others undo it."""
    packed = imagecodecs.packbits_encode(noise(64, 64).tobytes())
    for data in (forged_tiff(t317=2), tiff_of_strip(packed, 32773, t317=2)):
        with pytest.raises(SliceError, match="predictor is not read here"):
            read_slice(data)


def complex_pixels(dtype):
    return tiff(noise(48, 40, dtype="float32").astype(dtype))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (tiff(noise(48, 48, 3), compression=code), "compression is not.*LZW")
        for code in ("jpeg", "webp", "jpegxl")
    ]
    + [(complex_pixels(dtype), "complex numbers") for dtype in ("complex64", "complex128")]
    + [(tiff(noise(48, 40, 4), photometric="separated"), "CMYK")]
    + [(tiff(noise(48, 40, dtype=d), photometric="miniswhite"), "signed") for d in ("int16", "float32")]
    + [
        (tiff(noise(48, 40, n), photometric="minisblack", planarconfig="contig"), f"{n} channels.*or three")
        for n in (2, 4, 5)
    ]
    + [
        (tiff(noise(5, 48, 40), photometric="minisblack", **options), r"several images.*Save one slice")
        for options in ({}, {"truncate": True}, {"imagej": True})
    ]
    + [
        (
            tiff(noise(48, 40), description="ImageJ=1.53\nimages=20\nslices=20\n", metadata=None),
            "several images",
        )
    ]
    + [(tiff(noise(48, 40), extratags=[(c, 4, 1, 8, True)]), "microscope") for c in (33628, 34412, 65420)],
)
def test_other_layouts_are_refused_by_name(data, message):
    with pytest.raises(SliceError, match=message):
        read_slice(data)


def test_an_imagej_slice_with_labels_is_read():
    pixels = noise(48, 40)
    data = tiff(pixels, imagej=True, metadata={"Labels": ["one"], "Info": "text", "unit": "mm"})
    np.testing.assert_array_equal(read_slice(data).pixels[..., 0], pixels)


@pytest.mark.parametrize(
    ("unit", "densities", "spacing"),
    [
        ("centimeter", (10.0, 10.0), (1.0, 1.0)),
        ("centimeter", (20.0, 10.0), (1.0, 0.5)),  # x first in the file, row first here
        ("inch", (25.4, 25.4), (1.0, 1.0)),
        ("inch", (54.18, 54.18), (0.46881, 0.46881)),
        ("inch", (72, 72), None),
        ("inch", (96, 96), None),
        ("inch", (72.3, 72.3), None),
        ("inch", (150, 150), None),
        ("inch", (1, 1), None),
        ("inch", (300.4, 300.4), None),
        ("centimeter", (1, 1), None),
        ("centimeter", (28.346, 28.346), None),
        ("centimeter", (37.8, 37.8), None),
        ("centimeter", (0.5, 0.5), None),
        ("centimeter", (10.0, 500.0), None),
        ("none", (10.0, 10.0), None),
    ],
)
def test_tiff_spacing_only_where_it_can_be_believed(unit, densities, spacing):
    got = read_slice(tiff(noise(48, 40), resolution=densities, resolutionunit=unit)).spacing
    assert got == (spacing if spacing is None else pytest.approx(spacing, rel=1e-4))


def test_a_unit_that_is_not_stated_is_not_assumed():
    data = tiff(noise(48, 40), resolution=(25.4, 25.4), resolutionunit="inch")
    position = data.index(struct.pack("<HHI", 296, 3, 1))
    assert read_slice(data).spacing is not None
    assert read_slice(data[:position] + b"\xfe" + data[position + 1 :]).spacing is None


@pytest.mark.parametrize(
    ("unit", "density", "spacing"),
    [
        ("mm", 2.0, 0.5),
        ("mm", 1.0, 1.0),
        ("cm", 10.0, 1.0),
        ("micron", 0.001, 1.0),
        ("mm", 100.0, None),
        ("pixel", 1.0, None),
        ("", 1.0, None),
    ],
)
def test_imagej_spacing(unit, density, spacing):
    data = tiff(noise(48, 40), imagej=True, resolution=(density, density), metadata={"unit": unit})
    got = read_slice(data).spacing
    assert got == (None if spacing is None else pytest.approx((spacing, spacing)))


def test_spacing_turns_with_the_picture():
    stated = {"resolution": (20.0, 10.0), "resolutionunit": "centimeter"}
    turned = tiff(noise(48, 40), extratags=[(274, 3, 1, 6, True)], **stated)
    assert read_slice(tiff(noise(48, 40), **stated)).spacing == pytest.approx((1.0, 0.5))
    assert read_slice(turned).spacing == pytest.approx((0.5, 1.0))
