"""Reading: when a stated resolution is believed."""

import struct

import pytest

from lgg.io import read_slice
from tests.reading_files import VALID, noise, pillow, tiff, with_chunk


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
    stated = {"resolution": (20.0, 10.0), "resolutionunit": "centimeter"}
    turned = tiff(noise(48, 40), extratags=[(274, 3, 1, 6, True)], **stated)
    assert read_slice(tiff(noise(48, 40), **stated)).spacing == pytest.approx((1.0, 0.5))
    assert read_slice(turned).spacing == pytest.approx((0.5, 1.0))
