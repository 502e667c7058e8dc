"""Series of pictures: slice files, archives and TIFFs of many pages, in the right order."""

import io

import numpy as np
import pytest
import tifffile

from lgg.errors import SeriesError, SliceError
from lgg.io import limits, read_series
from tests.reading_files import pillow, tiff
from tests.series_files import archive, slice_files, slices

PIXELS = slices(12)


def stack(pixels, **options):
    stream = io.BytesIO()
    options.setdefault("photometric", "rgb" if pixels.ndim == 4 else "minisblack")
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def shuffled(files):
    names = list(np.random.default_rng(0).permutation(list(files)))
    return [files[name] for name in names], names


def test_files_are_sorted_by_their_numbers():
    data, names = shuffled(slice_files(PIXELS))
    series = read_series(data, names)
    np.testing.assert_array_equal(series.pixels, PIXELS)
    assert series.names == tuple(f"patient_{number}.tif" for number in range(1, 13))
    assert series.source == "12 files"


def test_paths_are_read_and_shown_without_their_folder(tmp_path):
    for name, data in slice_files(PIXELS[:3]).items():
        (tmp_path / name).write_bytes(data)
    series = read_series(sorted(tmp_path.iterdir(), reverse=True))
    np.testing.assert_array_equal(series.pixels, PIXELS[:3])
    assert series.names[0] == "patient_1.tif"


def test_an_archive_gives_what_its_files_give():
    series = read_series([archive(slice_files(PIXELS))], ["patient.zip"])
    np.testing.assert_array_equal(series.pixels, PIXELS)
    assert series.source == "patient.zip"


def test_a_tiff_of_many_pages_keeps_their_order():
    series = read_series([stack(PIXELS)], ["stack.tif"])
    np.testing.assert_array_equal(series.pixels, PIXELS)
    assert series.names[11] == "stack.tif, page 12"


@pytest.mark.parametrize(
    "options", [{}, {"imagej": True}, {"compression": "zlib"}, {"metadata": None}], ids=str
)
def test_a_grey_stack_is_flair_only(options):
    series = read_series([stack(PIXELS[..., 0], **options)])
    assert series.flair_only
    np.testing.assert_array_equal(series.pixels, np.repeat(PIXELS[..., :1], 3, axis=3))


def test_one_slice_is_a_series_of_one():
    assert len(read_series([tiff(PIXELS[0])])) == 1


def test_a_black_slice_within_a_series_is_kept():
    pixels = PIXELS[:3].copy()
    pixels[0] = 0
    series = read_series(list(slice_files(pixels).values()))
    assert not series.pixels[0].any()
    assert not series.flair_only


def test_the_slices_of_a_series_are_slices():
    series = read_series([archive(slice_files(PIXELS))])
    first = series.slices()[0]
    np.testing.assert_array_equal(first.pixels, PIXELS[0])
    assert (first.source, first.flair_only) == ("patient_1.tif", False)


def test_spacing_is_told_where_all_slices_state_the_same():
    options = {"resolution": (20, 10), "resolutionunit": "CENTIMETER"}
    series = read_series([tiff(one, **options) for one in PIXELS])
    assert series.spacing == (1.0, 0.5)
    assert series.slice_distance is None
    assert read_series([tiff(PIXELS[0], **options), tiff(PIXELS[1])]).spacing is None


def test_masks_go_back_as_they_are():
    series = read_series([stack(PIXELS)])
    mask = PIXELS[..., 0] > 100
    np.testing.assert_array_equal(series.to_source(mask), mask)


def test_ground_truth_masks_are_left_out():
    masks = slice_files(PIXELS[..., 0], "patient_{}_mask.tif")
    series = read_series([archive(slice_files(PIXELS) | masks)])
    np.testing.assert_array_equal(series.pixels, PIXELS)
    assert series.notes == ("Files whose names end with “_mask” were left out: 12.",)


def test_slices_of_two_sizes_are_refused_by_name():
    files = slice_files(PIXELS[:3]) | {"patient_4.tif": tiff(PIXELS[3][:40])}
    with pytest.raises(SeriesError, match=r"patient_4\.tif is 40 × 40 pixels, patient_1\.tif is 40 × 48"):
        read_series(list(files.values()), list(files))


def test_a_file_that_cannot_be_read_is_named():
    files = slice_files(PIXELS[:3])
    files["patient_2.tif"] = files["patient_2.tif"][:200]
    with pytest.raises(SliceError, match=r"^patient_2\.tif: the file is cut short"):
        read_series(list(files.values()), list(files))


def test_a_series_of_one_value_is_refused():
    with pytest.raises(SeriesError, match="nothing to see"):
        read_series([tiff(PIXELS[0] * 0), tiff(PIXELS[0] * 0)])


def test_a_lone_picture_of_one_value_is_no_series():
    with pytest.raises(SeriesError, match=r"^air\.png: every pixel has the same value.*another slice"):
        read_series([pillow(PIXELS[0, ..., 0].astype("uint8") * 0, "PNG")], ["air.png"])


def test_nothing_at_all_is_refused():
    with pytest.raises(SeriesError, match="nothing to read"):
        read_series([])


def test_kinds_are_not_mixed():
    with pytest.raises(SeriesError, match=r"several kinds \(DICOM, pictures\)"):
        read_series([tiff(PIXELS[0]), bytes(128) + b"DICM" + bytes(100)])


def test_png_and_tiff_may_be_mixed():
    assert len(read_series([tiff(PIXELS[0]), pillow(PIXELS[1], "PNG")])) == 2


@pytest.mark.parametrize("upload", [stack(PIXELS), archive(slice_files(PIXELS))], ids=["pages", "files"])
def test_too_many_slices_are_refused(upload, monkeypatch):
    monkeypatch.setattr(limits, "MAX_SLICES", 11)
    with pytest.raises(SeriesError, match="12 slices, and at most 11"):
        read_series([upload])


@pytest.mark.parametrize("upload", [stack(PIXELS), archive(slice_files(PIXELS))], ids=["pages", "files"])
def test_too_many_pixels_are_refused(upload, monkeypatch):
    monkeypatch.setattr(limits, "MAX_VOXELS", 12 * 48 * 40 - 1)
    with pytest.raises(SeriesError, match="12 slices of 40 × 48 pixels"):
        read_series([upload])


def test_three_pages_that_are_channels_are_refused():
    data = stack(PIXELS[:1, ..., :].transpose(0, 3, 1, 2)[0], imagej=True)
    with pytest.raises(SliceError, match="one page of three channels"):
        read_series([data])
