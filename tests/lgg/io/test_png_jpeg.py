"""Reading PNG and JPEG."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from lgg.errors import SliceError
from lgg.io import read_slice
from tests.reading_files import VALID, memory_below, noise, pillow, png, read_or_refuse, with_chunk


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


@pytest.mark.parametrize(
    "data",
    [
        with_chunk(VALID["PNG"], b"gAMA", struct.pack(">I", 100000)),
        pillow(noise(48, 40), "PNG", transparency=int(noise(48, 40)[0, 0])),
    ],
    ids=["gamma", "transparent colour"],
)
def test_what_says_how_to_show_a_picture_changes_nothing(data):
    np.testing.assert_array_equal(read_slice(data).pixels, read_slice(VALID["PNG"]).pixels)


def test_interlaced_png():
    pixels = noise(48, 40)
    passes = np.reshape(
        [0, 0, 8, 8, 0, 4, 8, 8, 4, 0, 8, 4, 0, 2, 4, 4, 2, 0, 4, 2, 0, 1, 2, 2, 1, 0, 2, 1], (7, 4)
    )
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


@pytest.mark.parametrize("exif", [b"Exif\0\0junk", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_damaged_exif_means_upright(exif):
    data = VALID["JPEG"]
    damaged = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    np.testing.assert_array_equal(read_slice(damaged).pixels, read_slice(data).pixels)


ROWS = bytes(41 * 48)
MALFORMED = {
    "less": png(40, 48, bytes(41 * 47)),
    "more": png(40, 48, bytes(41 * 49)),
    "filter": png(40, 48, b"\x05" * 41 * 48),
    "no palette": png(40, 48, ROWS, colour=3),
    "3 bits": png(40, 48, ROWS, bits=3),
    "colour 5": png(40, 48, ROWS, colour=5),
    "interlace 2": png(40, 48, ROWS, interlace=2),
    "no pixels": png(40, 48, ROWS).replace(b"IDAT", b"IDAX"),
    "half colour": with_chunk(png(40, 48, ROWS, colour=3), b"PLTE", b"1234"),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_png_is_refused_silently(data, capfd):
    with pytest.raises(SliceError, match="damaged"):
        read_slice(data)
    assert capfd.readouterr().err == ""


def test_palette_colours_that_are_not_there_are_black(capfd):
    rows = b"".join(b"\0" + row.tobytes() for row in noise(48, 40) % 4)
    slice_ = read_slice(with_chunk(png(40, 48, rows, colour=3), b"PLTE", b"\x09\x09\x09\x50\x50\x50"))
    assert set(np.unique(slice_.pixels)) == {0, 0x09, 0x50}
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_compressed_png_metadata_is_never_unpacked(kind):
    bomb = zlib.compress(bytes(2**26), 9)
    content = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[kind] + bomb
    data = with_chunk(VALID["PNG"], kind, content)
    with memory_below(2**20):
        np.testing.assert_array_equal(read_slice(data).pixels, read_slice(VALID["PNG"]).pixels)


def test_png_image_data_beyond_the_declared_size_stays_bounded():
    data = png(64, 64, (b"\0" + bytes(range(64))) * 64 + bytes(2**26))
    with memory_below(2**21):
        read_or_refuse(data)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}])
def test_a_jpeg_cut_anywhere_is_refused_or_whole(options):
    data = pillow(noise(160, 128, 3), "JPEG", **options)
    expected = read_slice(data).pixels
    for cut in range(0, len(data), 211):
        try:
            np.testing.assert_array_equal(read_slice(data[:cut]).pixels, expected)
        except SliceError:
            continue


def test_a_jpeg_of_endless_scans_is_refused():
    with pytest.raises(SliceError):
        read_slice(VALID["progressive JPEG"][:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 10_000 + b"\xff\xd9")


def test_exif_of_any_length_costs_little():
    """Pillow joins the EXIF segments, and reads every tag's value from the whole."""
    entries = b"".join(struct.pack("<HHII", code, 7, 60_000, 8) for code in range(300, 5000))
    exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 4700) + entries + bytes(4)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif
    data = VALID["JPEG"][:2] + segment * 50 + VALID["JPEG"][2:]
    with memory_below(2**23):
        np.testing.assert_array_equal(read_slice(data).pixels, read_slice(VALID["JPEG"]).pixels)


FRAME = VALID["JPEG"].index(b"\xff\xc0\0\x11\x08") + 4
RARE = r"rare kind.*Save it as TIFF or PNG"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (imagecodecs.ljpeg_encode(noise(48, 40)), RARE),
        (imagecodecs.jpegls_encode(noise(48, 40)), RARE),
        (imagecodecs.jpegls_encode(noise(48, 40, dtype="uint16")), RARE),
        (VALID["JPEG"][:FRAME] + b"\x0c" + VALID["JPEG"][FRAME + 1 :], "12 bits a value"),
        (pillow(Image.new("CMYK", (48, 40)), "JPEG"), "CMYK"),
        (png(40, 48, bytes(6 * 41 * 48), bits=16, colour=2, interlace=1), "interlaced PNG of 16 bits"),
    ],
    ids=["lossless", "JPEG-LS", "JPEG-LS of 16 bits", "12 bits", "CMYK", "interlaced"],
)
def test_a_rare_kind_is_refused_by_name_and_not_called_damaged(data, message):
    with pytest.raises(SliceError, match=message):
        read_slice(data)


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
