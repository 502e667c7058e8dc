"""Series of pictures: slice files, archives and TIFFs of many pages, in the right order."""

import numpy as np
import pytest

from lgg.errors import SeriesError, SliceError
from lgg.io import limits, read_series
from tests.reading_files import pillow, tiff
from tests.series_files import archive, slice_files, slices

PIXELS = slices(12)


def stack(pixels, **options):
    options.setdefault("photometric", "rgb" if pixels.ndim == 4 else "minisblack")
    return tiff(pixels, **options)


def shuffled(files):
    names = list(np.random.default_rng(0).permutation(list(files)))
    return [files[name] for name in names], names


def test_files_are_sorted_by_their_numbers():
    series = read_series(*shuffled(slice_files(PIXELS)))
    np.testing.assert_array_equal(series.pixels, PIXELS)
    assert series.names == tuple(f"patient_{number}.tif" for number in range(1, 13))
    assert series.source == "12 files"


@pytest.mark.parametrize(
    ("upload", "name", "last"),
    [
        (archive(slice_files(PIXELS)), "patient.zip", "patient_12.tif"),
        (stack(PIXELS), "stack.tif", "stack.tif, page 12"),
    ],
    ids=["archive", "pages"],
)
def test_an_archive_and_a_tiff_of_many_pages_give_what_their_files_give(upload, name, last):
    series = read_series([upload], [name])
    np.testing.assert_array_equal(series.pixels, PIXELS)
    assert (series.source, series.names[11]) == (name, last)
    first = series.slices()[0]
    np.testing.assert_array_equal(first.pixels, PIXELS[0])
    assert (first.source, first.flair_only) == (series.names[0], False)
    np.testing.assert_array_equal(series.to_source(PIXELS[..., 0] > 100), PIXELS[..., 0] > 100)


@pytest.mark.parametrize(
    "options", [{}, {"imagej": True}, {"compression": "zlib"}, {"metadata": None}], ids=str
)
def test_a_grey_stack_is_flair_only(options):
    series = read_series([stack(PIXELS[..., 0], **options)])
    assert series.flair_only
    np.testing.assert_array_equal(series.pixels, np.repeat(PIXELS[..., :1], 3, axis=3))


def test_a_black_slice_within_a_series_is_kept():
    series = read_series([tiff(PIXELS[0] * 0), pillow(PIXELS[1], "PNG")])  # kinds of picture may be mixed
    assert not series.pixels[0].any()
    assert not series.flair_only


def test_spacing_is_told_where_all_slices_state_the_same():
    options = {"resolution": (20, 10), "resolutionunit": "CENTIMETER"}
    series = read_series([tiff(page, **options) for page in PIXELS])
    assert series.spacing == (1.0, 0.5)
    assert series.slice_distance is None
    assert read_series([tiff(PIXELS[0], **options), tiff(PIXELS[1])]).spacing is None


def test_ground_truth_masks_are_left_out():
    masks = slice_files(PIXELS[..., 0], "patient_{}_mask.tif")
    series = read_series([archive(slice_files(PIXELS) | masks)])
    np.testing.assert_array_equal(series.pixels, PIXELS)
    assert series.notes == ("Files whose names end with “_mask” were left out: 12.",)


AIR, SMALL, CUT = pillow(PIXELS[0, ..., 0] * 0, "PNG"), tiff(PIXELS[3][:40]), tiff(PIXELS[1])[:200]


@pytest.mark.parametrize(
    ("uploads", "message"),
    [
        ([tiff(PIXELS[0] * 0)] * 2, "nothing to see"),
        ([AIR], r"^a1\.png: every pixel has the same value"),
        ([], "nothing to read"),
        ([tiff(PIXELS[0]), bytes(128) + b"DICM" + bytes(100)], r"several kinds \(DICOM, pictures\)"),
        ([stack(PIXELS[0].transpose(2, 0, 1), imagej=True)], "one page of three channels"),
        ([tiff(PIXELS[0]), SMALL], r"^a2\.png is 40 × 40 pixels, a1\.png is 40 × 48"),
        ([tiff(PIXELS[0]), CUT], r"^a2\.png: the file is cut short"),
    ],
    ids=["one value", "lone and of one value", "nothing", "kinds", "channels", "sizes", "damaged"],
)
def test_what_is_no_series_is_refused_by_name(uploads, message):
    with pytest.raises(SliceError, match=message):
        read_series(uploads, [f"a{number}.png" for number in range(1, len(uploads) + 1)])


@pytest.mark.parametrize("upload", [stack(PIXELS), archive(slice_files(PIXELS))], ids=["pages", "files"])
@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_SLICES", 11, "12 slices, and at most 11"),
        ("MAX_VOXELS", 12 * 48 * 40 - 1, "12 slices of 40 × 48 pixels"),
    ],
)
def test_too_many_slices_or_pixels_are_refused(upload, limit, value, message, monkeypatch):
    monkeypatch.setattr(limits, limit, value)
    with pytest.raises(SeriesError, match=message):
        read_series([upload])
