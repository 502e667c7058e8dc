"""Reading: every format, its traps, and what hostile files get."""

import io
import json
import logging
import struct
import sys
import threading
import tracemalloc
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from lgg.errors import SliceError
from lgg.reading import MAX_BYTES, MAX_SIDE, MIN_SIDE, read_mask, read_slice
from lgg.slice import Slice

PATIENTS = Path(__file__).parents[1] / "data" / "kaggle_3m"
INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
FLOATS = ("float16", "float32", "float64")
COMPRESSIONS = (None, "lzw", "zlib", "packbits", "zstd")


def noise(*shape, dtype="uint8", seed=0):
    """Pixels that use the whole range of an integer type, or normal noise in a float one."""
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.normal(0, 100, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def tiff(pixels, **options):
    stream = io.BytesIO()
    options.setdefault("photometric", "rgb" if pixels.ndim == 3 else "minisblack")
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def pillow(pixels_or_image, kind, **options):
    image = pixels_or_image if isinstance(pixels_or_image, Image.Image) else Image.fromarray(pixels_or_image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, raw, *, bits=8, colour=0, interlace=0, extra=b""):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def with_chunk(data, kind, content):
    """A PNG with one more chunk right behind its header."""
    return data[:33] + chunk(kind, content) + data[33:]


def with_tag(data, code, value):
    """A TIFF with another value in one of its tags (same count and type)."""
    stream = io.BytesIO(data)
    with tifffile.TiffFile(stream, mode="r+b") as file:
        file.pages[0].tags[code].overwrite(value)
        stream.seek(0)
        return stream.read()


def forged_tiff(width=64, height=64, *, offset=None, length=4096, size=4096, **changes):
    """A hand-written little-endian TIFF, so that its tags can claim what no writer would write."""
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1, 278: height, 279: length}
    entries.update({int(code[1:]): value for code, value in changes.items()})
    start = 8 + 2 + 12 * (len(entries) + 1) + 4
    entries[273] = start if offset is None else offset
    body = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in sorted(entries.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4) + noise(size).tobytes()


def tiff_of_strip(strip, compression, side=64, **changes):
    """A forged TIFF whose one strip is given packed."""
    data = forged_tiff(side, side, length=len(strip), size=0, **{"t259": compression}, **changes)
    return data + strip


VALID = {
    "TIFF": tiff(noise(48, 40)),
    "TIFF in LZW": tiff(noise(48, 40, 3), compression="lzw", predictor=True, rowsperstrip=7),
    "TIFF in deflate tiles": tiff(noise(48, 40, 3, dtype="uint16"), compression="zlib", tile=(16, 16)),
    "planar float TIFF": tiff(noise(3, 48, 40, dtype="float32"), planarconfig="separate"),
    "big-endian TIFF": tiff(noise(48, 40, dtype="uint16"), byteorder=">"),
    "BigTIFF": tiff(noise(48, 40), bigtiff=True),
    "PNG": pillow(noise(48, 40), "PNG"),
    "RGB PNG": pillow(noise(48, 40, 3), "PNG"),
    "16-bit PNG": imagecodecs.png_encode(noise(48, 40, 3, dtype="uint16")),
    "palette PNG": pillow(Image.fromarray(noise(48, 40, 3)).quantize(16), "PNG"),
    "JPEG": pillow(noise(48, 40, 3), "JPEG"),
    "grey JPEG": pillow(noise(48, 40), "JPEG"),
    "progressive JPEG": pillow(noise(48, 40, 3), "JPEG", progressive=True),
}


# What comes back


@pytest.mark.parametrize("data", VALID.values(), ids=VALID)
def test_a_slice_is_finite_float32_with_three_channels(data):
    slice_ = read_slice(data)
    assert isinstance(slice_, Slice)
    assert slice_.pixels.dtype == np.float32
    assert slice_.pixels.shape == (48, 40, 3)
    assert slice_.size == (48, 40)
    assert np.isfinite(slice_.pixels).all()
    assert slice_.pixels.flags.c_contiguous


@pytest.mark.parametrize("data", VALID.values(), ids=VALID)
def test_a_path_a_string_bytes_and_a_stream_give_the_same(data, tmp_path):
    path = tmp_path / "one.dat"
    path.write_bytes(data)
    expected = read_slice(data).pixels
    with path.open("rb") as stream:
        for source in (path, str(path), io.BytesIO(data), stream):
            np.testing.assert_array_equal(read_slice(source).pixels, expected)
        assert not stream.closed


def test_the_suffix_decides_nothing(tmp_path):
    path = tmp_path / "slice.png"
    path.write_bytes(VALID["JPEG"])
    np.testing.assert_array_equal(read_slice(path).pixels, np.asarray(Image.open(path), np.float32))


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("a/b/scan.tif", "scan.tif"),
        ("C:\\users\\me\\scan.tif", "scan.tif"),
        ("../../scan.tif", "scan.tif"),
        ("scan\n\x1b.tif", "scan.tif"),
        ("", "slice"),
        ("/", "slice"),
        (None, "slice"),
    ],
)
def test_the_source_is_a_bare_name(name, bare):
    assert read_slice(VALID["PNG"], name).source == bare


def test_the_source_of_a_file_is_its_name(tmp_path):
    path = tmp_path / "scan.tif"
    path.write_bytes(VALID["TIFF"])
    assert read_slice(path).source == "scan.tif"
    with path.open("rb") as stream:
        assert read_slice(stream).source == "scan.tif"


def test_one_channel_stands_in_all_three():
    pixels = noise(48, 40)
    slice_ = read_slice(tiff(pixels))
    assert slice_.flair_only
    for channel in range(3):
        np.testing.assert_array_equal(slice_.pixels[..., channel], pixels)


@pytest.mark.parametrize("write", [tiff, lambda rgb: pillow(rgb, "PNG"), lambda rgb: pillow(rgb, "JPEG")])
def test_a_grey_picture_saved_as_rgb_is_flair_only(write):
    grey = np.repeat(noise(48, 40, 1), 3, axis=2)
    assert read_slice(write(grey)).flair_only


@pytest.mark.parametrize("name", ["TIFF in LZW", "RGB PNG", "JPEG"])
def test_three_different_channels_are_not_flair_only(name):
    assert not read_slice(VALID[name]).flair_only


# TIFF


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@pytest.mark.parametrize("shape", [(48, 40), (48, 40, 3)])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_values_are_the_files_own(dtype, shape, byteorder):
    pixels = noise(*shape, dtype=dtype)
    got = read_slice(tiff(pixels, byteorder=byteorder)).pixels
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


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "rgb"])
def test_tiff_predictors_are_undone(dtype, byteorder, channels):
    pixels = noise(48, 40, *channels, dtype=dtype)
    expected = np.broadcast_to(pixels.reshape(48, 40, -1), (48, 40, 3)).astype("f4")
    predictor = 3 if dtype in FLOATS else 2
    data = tiff(pixels, compression="zlib", predictor=predictor, byteorder=byteorder, rowsperstrip=9)
    np.testing.assert_array_equal(read_slice(data).pixels, expected)


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


def test_white_is_zero_of_a_float_mirrors_within_its_values():
    pixels = noise(48, 40, dtype="float32")
    got = read_slice(tiff(pixels, photometric="miniswhite")).pixels[..., 0]
    np.testing.assert_allclose(got, pixels.max() + pixels.min() - pixels, rtol=1e-6)


def test_palette_tiff_is_looked_up():
    indices, colours = noise(48, 40), noise(3, 256, dtype="uint16", seed=1)
    slice_ = read_slice(tiff(indices, photometric="palette", colormap=colours))
    assert not slice_.flair_only
    np.testing.assert_array_equal(slice_.pixels, colours.T[indices])


def test_grey_palette_tiff_is_flair_only():
    indices, ramp = noise(48, 40), np.tile(np.arange(255, -1, -1, dtype="uint16") * 257, (3, 1))
    slice_ = read_slice(tiff(indices, photometric="palette", colormap=ramp))
    assert slice_.flair_only
    np.testing.assert_array_equal(slice_.pixels[..., 0], (255 - indices.astype("f4")) * 257)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("channels", [2, 4])
def test_tiff_transparency_is_ignored(planar, channels):
    pixels = noise(48, 40, channels)
    stored = pixels if planar == "contig" else pixels.transpose(2, 0, 1)
    photometric = "rgb" if channels == 4 else "minisblack"
    data = tiff(stored, photometric=photometric, planarconfig=planar, extrasamples=["unassalpha"])
    got = read_slice(data).pixels
    np.testing.assert_array_equal(got, np.broadcast_to(pixels[..., : channels - 1], (48, 40, 3)))


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_tiff_channels_that_are_not_transparency_are_refused(channels):
    data = tiff(noise(48, 40, channels), photometric="minisblack", planarconfig="contig")
    with pytest.raises(SliceError, match=f"{channels} channels.*one .FLAIR. or three"):
        read_slice(data)


def test_three_unnamed_samples_are_the_three_channels():
    pixels = noise(48, 40, 3, dtype="int16")
    data = tiff(pixels, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_slice(data).pixels, pixels)


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


def test_a_thumbnail_beside_the_page_is_no_second_page():
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(noise(64, 64), photometric="minisblack")
        writer.write(noise(32, 32), photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(read_slice(stream.getvalue()).pixels[..., 0], noise(64, 64))


@pytest.mark.parametrize("options", [{}, {"truncate": True}, {"imagej": True}], ids=str)
def test_a_stack_is_refused_with_what_to_do(options):
    data = tiff(noise(5, 48, 40), photometric="minisblack", **options)
    with pytest.raises(SliceError, match=r"several images.*Save one slice"):
        read_slice(data)


def test_an_imagej_stack_behind_one_page_is_refused():
    data = tiff(noise(48, 40), description="ImageJ=1.53\nimages=20\nslices=20\n", metadata=None)
    with pytest.raises(SliceError, match="several images"):
        read_slice(data)


def test_a_text_that_only_looks_like_a_shape_is_ignored():
    data = tiff(noise(48, 40), description='{"shape":' + "[" * 20000, metadata=None)
    assert read_slice(data).size == (48, 40)


@pytest.mark.parametrize("compression", ["jpeg", "webp", "jpegxl"])
def test_other_tiff_compressions_are_named_as_the_reason(compression):
    with pytest.raises(SliceError, match=r"compression is not read here.*LZW"):
        read_slice(tiff(noise(48, 48, 3), compression=compression))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_pixels_are_refused(dtype):
    with pytest.raises(SliceError, match="complex numbers"):
        read_slice(tiff(noise(48, 40, dtype="float32").astype(dtype)))


def test_cmyk_tiff_is_refused():
    with pytest.raises(SliceError, match="CMYK"):
        read_slice(tiff(noise(48, 40, 4), photometric="separated"))


@pytest.mark.skipif(not PATIENTS.exists(), reason="the data set is not unpacked here")
def test_a_slice_of_the_data_set_has_exactly_pillows_pixels():
    paths = [path for path in sorted(PATIENTS.glob("*/*.tif")) if not path.stem.endswith("_mask")][::500]
    assert paths
    for path in paths:
        np.testing.assert_array_equal(read_slice(path).pixels, np.asarray(Image.open(path), np.float32))


# PNG and JPEG


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_depths_and_transparency(dtype, channels):
    pixels = noise(48, 40, channels, dtype=dtype)
    got = read_slice(imagecodecs.png_encode(pixels.squeeze())).pixels
    kept = pixels[..., :1] if channels < 3 else pixels[..., :3]
    np.testing.assert_array_equal(got, np.broadcast_to(kept, (48, 40, 3)))


@pytest.mark.parametrize("mode", ["1", "P"])
def test_bilevel_and_palette_png(mode):
    image = Image.fromarray(noise(48, 41)).convert(mode)
    slice_ = read_slice(pillow(image, "PNG"))
    np.testing.assert_array_equal(slice_.pixels[..., 0], np.asarray(image.convert("L")))
    assert slice_.flair_only


def test_a_transparent_colour_changes_nothing():
    pixels = noise(48, 40)
    got = read_slice(pillow(pixels, "PNG", transparency=int(pixels[0, 0]))).pixels[..., 0]
    np.testing.assert_array_equal(got, pixels)


def test_gamma_changes_nothing():
    data = with_chunk(VALID["PNG"], b"gAMA", struct.pack(">I", 100000))
    np.testing.assert_array_equal(read_slice(data).pixels, read_slice(VALID["PNG"]).pixels)


def test_interlaced_png():
    pixels = noise(48, 40)
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    raw = b"".join(
        b"\0" + row.tobytes() for top, left, down, right in passes for row in pixels[top::down, left::right]
    )
    np.testing.assert_array_equal(read_slice(png(40, 48, raw, interlace=1)).pixels[..., 0], pixels)


def test_an_animated_png_is_refused():
    frames = [Image.fromarray(noise(48, 40, seed=seed)) for seed in range(3)]
    with pytest.raises(SliceError, match="animated PNG"):
        read_slice(pillow(frames[0], "PNG", save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_has_pillows_pixels(mode, progressive):
    data = pillow(Image.fromarray(noise(48, 40, 3)).convert(mode), "JPEG", progressive=progressive)
    expected = np.asarray(Image.open(io.BytesIO(data)), np.float32).reshape(48, 40, -1)
    np.testing.assert_array_equal(read_slice(data).pixels, np.broadcast_to(expected, (48, 40, 3)))


def test_cmyk_jpeg_is_refused():
    with pytest.raises(SliceError, match="CMYK"):
        read_slice(pillow(Image.new("CMYK", (48, 40)), "JPEG"))


@pytest.mark.parametrize("exif", [b"Exif\0\0junk", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_damaged_exif_means_upright(exif):
    data = VALID["JPEG"]
    damaged = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    np.testing.assert_array_equal(read_slice(damaged).pixels, read_slice(data).pixels)


# Spacing


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


@pytest.mark.parametrize(
    ("density", "unit", "spacing"),
    [(1067, 1, 0.93721), (1067, 0, None)]
    # 72, 96 (twice), 150 and 300 dots an inch, nothing, and the placeholder
    + [(density, 1, None) for density in (2835, 3780, 3779, 5906, 11811, 0, 1)],
)
def test_png_spacing(density, unit, spacing):
    data = with_chunk(VALID["PNG"], b"pHYs", struct.pack(">IIB", density, density, unit))
    got = read_slice(data).spacing
    assert got == (None if spacing is None else pytest.approx((spacing, spacing), rel=1e-4))


def test_jpeg_never_states_a_spacing():
    assert read_slice(pillow(noise(48, 40), "JPEG", dpi=(25, 25))).spacing is None


def test_spacing_turns_with_the_picture():
    data = tiff(noise(48, 40), resolution=(20.0, 10.0), resolutionunit="centimeter")
    turned = with_tag(tiff(noise(48, 40), resolution=(20.0, 10.0), resolutionunit="centimeter",
                           extratags=[(274, 3, 1, 6, True)]), 274, 6)  # fmt: skip
    assert read_slice(data).spacing == pytest.approx((1.0, 0.5))
    assert read_slice(turned).spacing == pytest.approx((0.5, 1.0))


@pytest.mark.parametrize("name", VALID)
def test_a_file_that_states_no_spacing_has_none(name):
    assert read_slice(VALID[name]).spacing is None


# What is refused


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"GIF89a" + bytes(500), "a GIF"),
        (b"BM" + bytes(500), "a BMP"),
        (b"RIFF\0\0\0\0WEBP" + bytes(500), "a WebP"),
        (bytes(128) + b"DICM" + bytes(500), "a DICOM file"),
        (b"\x5c\x01\0\0" + bytes(340) + b"n+1\0" + bytes(100), "a NIfTI volume"),
        (b"\x1c\x02\0\0n+2\0" + bytes(600), "a NIfTI volume"),
        (b"\x5c\x01\0\0" + bytes(400), "an Analyze volume"),
        (b"\x1f\x8b\x08" + bytes(100), "a gzip archive"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive"),
        (b"%PDF-1.7" + bytes(100), "a PDF"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "a HEIC photo"),
        (b"\0\0\0\x18ftypavif" + bytes(100), "an AVIF image"),
        (b"\0\0\0\x18ftypisom" + bytes(100), "a video"),
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
    "data", [b"", b"x", b"junk" * 1000, b"II*\0", b"MM", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]
)
def test_empty_files_and_junk_are_refused(data):
    with pytest.raises(SliceError):
        read_slice(data)


def test_an_empty_file_is_called_empty():
    with pytest.raises(SliceError, match=r"scan\.tif: the file is empty"):
        read_slice(b"", "scan.tif")


@pytest.mark.parametrize(
    "name", ["TIFF", "TIFF in LZW", "TIFF in deflate tiles", "planar float TIFF", "PNG", "16-bit PNG"]
)
def test_a_file_cut_anywhere_is_refused_or_whole(name):
    data, expected = VALID[name], read_slice(VALID[name]).pixels
    refused = 0
    for cut in range(0, len(data), 37):
        try:
            np.testing.assert_array_equal(read_slice(data[:cut]).pixels, expected)
        except SliceError:
            refused += 1
    assert refused >= 0.95 * len(range(0, len(data), 37))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}])
def test_a_jpeg_cut_anywhere_is_refused_or_whole(options):
    data = pillow(noise(160, 128, 3), "JPEG", **options)
    expected = read_slice(data).pixels
    for cut in range(0, len(data), 211):
        try:
            np.testing.assert_array_equal(read_slice(data[:cut]).pixels, expected)
        except SliceError:
            continue


@pytest.mark.parametrize("code", [5, 8, 32773, 50000])
def test_a_strip_that_unpacks_to_half_an_image_is_refused(code):
    encode = {5: imagecodecs.lzw_encode, 8: zlib.compress, 32773: imagecodecs.packbits_encode}
    strip = encode.get(code, imagecodecs.zstd_encode)(noise(32, 64).tobytes())
    with pytest.raises(SliceError, match="cut short"):
        read_slice(tiff_of_strip(strip, code))


def test_a_missing_strip_is_refused():
    data = tiff(noise(48, 40), rowsperstrip=8)
    position = data.index(struct.pack("<HHI", 279, 3, 6))  # six byte counts become one
    with pytest.raises(SliceError, match="cut short"):
        read_slice(data[: position + 4] + struct.pack("<I", 1) + data[position + 8 :])


@pytest.mark.parametrize(
    "data",
    [
        forged_tiff(100_000, 100_000),
        forged_tiff(MAX_SIDE + 1, 64),
        forged_tiff(0xFFFFFFFF, 0xFFFFFFFF),
        png(100_000, 100_000, b""),
        VALID["JPEG"].replace(b"\x00\x30\x00\x28\x03", b"\xff\xff\xff\xff\x03", 1),
    ],
    ids=["TIFF", "TIFF just over", "TIFF at the limit of its type", "PNG", "JPEG"],
)
def test_a_declared_size_is_refused_before_memory_is_reserved(data):
    tracemalloc.start()
    try:
        with pytest.raises(SliceError, match=f"at most {MAX_SIDE} a side"):
            read_slice(data)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("code", [5, 8, 50000])
def test_a_strip_that_unpacks_to_more_than_declared_stays_bounded(code):
    encode = {5: imagecodecs.lzw_encode, 8: zlib.compress}.get(code, imagecodecs.zstd_encode)
    strip = encode(noise(64, 64).tobytes() + bytes(2**26))
    tracemalloc.start()
    try:
        read_or_refuse(tiff_of_strip(strip, code))
        assert tracemalloc.get_traced_memory()[1] < 2**21 + 2 * len(strip)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_compressed_png_metadata_is_never_unpacked(kind):
    bomb = zlib.compress(bytes(2**26), 9)
    content = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[kind] + bomb
    data = with_chunk(VALID["PNG"], kind, content)
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(read_slice(data).pixels, read_slice(VALID["PNG"]).pixels)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_png_image_data_beyond_the_declared_size_stays_bounded():
    data = png(64, 64, (b"\0" + bytes(range(64))) * 64 + bytes(2**26))
    tracemalloc.start()
    try:
        read_or_refuse(data)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "changes",
    [
        {"t258": 0},
        {"t258": 65535},
        {"t258": 17},
        {"t277": 0},
        {"t277": 65535},
        {"t278": 0},
        {"t279": 0},
        {"t279": 0xFFFFFFFF},
        {"t259": 12345},
        {"t262": 99},
        {"t339": 77},
        {"t317": 9},
        {"t317": 3},
        {"t284": 2, "t277": 3},
        {"t262": 3},
        {"offset": 0xFFFFFFF0},
        {"t322": 1, "t323": 1, "t324": 8, "t325": 1},
        {"t322": 0, "t323": 16, "t324": 8, "t325": 1},
        {"t322": 0xFFFFFFFF, "t323": 0xFFFFFFFF, "t324": 8, "t325": 1},
    ],
    ids=str,
)
def test_absurd_tiff_tags_are_refused(changes):
    with pytest.raises(SliceError):
        read_slice(forged_tiff(**changes))


def test_a_forged_tiff_without_changes_is_read():
    assert read_slice(forged_tiff()).size == (64, 64)


def test_a_tag_with_a_forged_count_costs_nothing():
    data = bytearray(forged_tiff(64, 64) + bytes(2**22))
    position = data.index(struct.pack("<HHI", 273, 4, 1))
    data[position + 4 : position + 8] = struct.pack("<I", 2**20)
    data = bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(SliceError, match="cut short"):
            read_slice(data)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_pages_in_a_circle_are_refused():
    data = bytearray(forged_tiff())
    entries = struct.unpack("<H", data[8:10])[0]
    data[10 + 12 * entries : 14 + 12 * entries] = struct.pack("<I", 8)
    with pytest.raises(SliceError, match="damaged"):
        read_slice(bytes(data))


def test_a_jpeg_of_endless_scans_is_refused():
    with pytest.raises(SliceError):
        read_slice(VALID["progressive JPEG"][:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 10_000 + b"\xff\xd9")


def test_a_strip_over_the_memory_limit_is_refused():
    data = forged_tiff(MAX_SIDE, MAX_SIDE, t258=64, t277=3, t262=2, t339=3)
    with pytest.raises(SliceError, match="over 256 MiB"):
        read_slice(data)


def test_the_largest_float64_slice_takes_little_more_than_its_float32():
    rows = np.add.outer(np.arange(MAX_SIDE), np.arange(MAX_SIDE) % 7).astype("float64")
    data = tiff(np.repeat(rows[..., None], 3, axis=2), compression="zlib", rowsperstrip=64)
    del rows
    tracemalloc.start()
    try:
        assert read_slice(data).size == (MAX_SIDE, MAX_SIDE)
        assert tracemalloc.get_traced_memory()[1] < 2 * MAX_BYTES
    finally:
        tracemalloc.stop()


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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_no_number_is_refused(value):
    pixels = noise(48, 40, dtype="float32")
    pixels[3, 5] = value
    with pytest.raises(SliceError, match="NaN, infinite"):
        read_slice(tiff(pixels))


def test_a_value_beyond_float32_is_refused():
    pixels = noise(48, 40, dtype="float64")
    pixels[3, 5] = 1e300
    with pytest.raises(SliceError, match="beyond what 32-bit floats hold"):
        read_slice(tiff(pixels))


@pytest.mark.parametrize("pixels", [np.full((48, 40), 7, "u1"), np.full((48, 40, 3), (9, 0, 0), "u1")])
@pytest.mark.parametrize("write", [tiff, lambda pixels: pillow(pixels, "PNG")])
def test_a_constant_image_is_refused(pixels, write):
    with pytest.raises(SliceError, match="same value"):
        read_slice(write(pixels))


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG"])
@pytest.mark.parametrize("shape", [(MIN_SIDE - 1, 64), (64, MIN_SIDE - 1), (1, 1)])
def test_a_thumbnail_is_refused(kind, shape):
    with pytest.raises(SliceError, match="at least 32 a side"):
        read_slice(pillow(noise(*shape), kind))


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG"])
def test_the_smallest_and_a_large_slice_are_read(kind):
    for shape in ((MIN_SIDE, MIN_SIDE), (MIN_SIDE, MAX_SIDE), (MAX_SIDE, MIN_SIDE)):
        assert read_slice(pillow(noise(*shape), kind)).size == shape


def test_a_missing_file_is_refused_without_its_folder(tmp_path):
    for path in (tmp_path / "none.tif", tmp_path):
        with pytest.raises(SliceError, match="cannot be opened") as caught:
            read_slice(path)
        assert str(tmp_path) not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_text_stream_is_a_programming_error():
    with pytest.raises(TypeError, match="binary"):
        read_slice(io.StringIO("text"))


@pytest.mark.parametrize(
    "error", [MemoryError, RecursionError, struct.error, zlib.error, KeyError, ValueError]
)
def test_whatever_a_decoder_raises_becomes_a_slice_error(monkeypatch, error):
    def broken(data):
        raise error("/secret/folder")

    monkeypatch.setitem(__import__("lgg.reading", fromlist=["DECODERS"]).DECODERS, "PNG", broken)
    with pytest.raises(SliceError) as caught:
        read_slice(VALID["PNG"], "scan.png")
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith("scan.png: ")


# Masks


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


# Hostile files in bulk, and manners


def read_or_refuse(data, name="scan"):
    """Read; whatever is wrong must be a SliceError with a clean message."""
    try:
        slice_ = read_slice(data, name)
    except SliceError as error:
        message = str(error)
        assert "/" not in message
        assert "Traceback" not in message
        assert message.startswith(f"{name}: ")
        return None
    assert slice_.pixels.dtype == np.float32
    assert slice_.pixels.shape == (*slice_.size, 3)
    assert np.isfinite(slice_.pixels).all()
    return slice_


def mutate(data, random):
    """Flip some bytes, cut, insert or repeat: one of each at random, mostly near the header."""
    data = bytearray(data)
    reach = len(data) if random.random() < 0.4 else min(len(data), 300)
    match random.integers(5):
        case 0 | 1:
            for _ in range(random.integers(1, 9)):
                data[random.integers(reach)] = random.integers(256)
        case 2:
            del data[random.integers(len(data)) :]
        case 3:
            place = random.integers(reach)
            data[place:place] = random.bytes(random.integers(1, 40))
        case 4:
            place, length = random.integers(reach), random.integers(1, 40)
            data[place : place + length] = random.choice([b"\xff", b"\0"]) * int(length)
    return bytes(data)


@pytest.mark.parametrize("name", VALID)
def test_mutated_files_are_read_or_refused(name):
    random = np.random.default_rng(sorted(VALID).index(name))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(60):
            read_or_refuse(mutate(VALID[name], random))


def test_reading_logs_and_warns_nothing(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in VALID.values():
            read_or_refuse(data)
            read_or_refuse(data[: len(data) // 2])
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_threads_read_at_the_same_time():
    expected = {name: read_slice(data).pixels for name, data in VALID.items()}
    wrong = []

    def work():
        for name, data in VALID.items():
            read_or_refuse(data[:100])
            if not np.array_equal(read_slice(data).pixels, expected[name]):
                wrong.append(name)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("name", VALID)
def test_damaged_files_leave_the_count_of_none_alone(name):
    """A decoder that releases None once too often ends Python 3.11 after some thousands of bad files."""
    random = np.random.default_rng(1)
    damaged = [mutate(VALID[name], random) for _ in range(50)]
    for data in damaged:  # the first time, messages and caches are made
        read_or_refuse(data)
    before = sys.getrefcount(None)
    for _ in range(10):
        for data in damaged:
            read_or_refuse(data)
    assert abs(sys.getrefcount(None) - before) < 50


@pytest.mark.parametrize(
    "data",
    [
        png(40, 48, bytes(41 * 47)),
        png(40, 48, bytes(41 * 49)),
        png(40, 48, b"\x05" * 41 * 48),
        png(40, 48, bytes(41 * 48), colour=3),
        png(40, 48, bytes(41 * 48), bits=3),
        png(40, 48, bytes(41 * 48), colour=5),
        png(40, 48, bytes(41 * 48), interlace=2),
        png(40, 48, bytes(41 * 48)).replace(b"IDAT", b"IDAX"),
        with_chunk(png(40, 48, bytes(41 * 48), colour=3), b"PLTE", b"1234"),
    ],
    ids=[
        "less",
        "more",
        "filter",
        "no palette",
        "3 bits",
        "colour 5",
        "interlace 2",
        "no pixels",
        "half colour",
    ],
)
def test_a_malformed_png_is_refused_silently(data, capfd):
    with pytest.raises(SliceError, match="damaged"):
        read_slice(data)
    assert capfd.readouterr().err == ""


def test_palette_colours_that_are_not_there_are_black(capfd):
    rows = b"".join(b"\0" + row.tobytes() for row in noise(48, 40) % 4)
    slice_ = read_slice(with_chunk(png(40, 48, rows, colour=3), b"PLTE", b"\x09\x09\x09\x50\x50\x50"))
    assert set(np.unique(slice_.pixels)) == {0, 0x09, 0x50}
    assert capfd.readouterr().err == ""


def test_pillows_limits_stay_as_they_were():
    before = Image.MAX_IMAGE_PIXELS
    for data in VALID.values():
        read_slice(data)
    assert before == Image.MAX_IMAGE_PIXELS


def test_tifffiles_shape_note_of_planar_channels_is_no_stack():
    data = tiff(noise(3, 48, 40), planarconfig="separate")
    assert json.dumps([3, 48, 40]) in data.decode("latin-1")
    assert read_slice(data).size == (48, 40)
