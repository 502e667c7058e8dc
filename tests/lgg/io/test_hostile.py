"""Reading: what hostile and damaged files get, and manners."""

import gc
import io
import logging
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np
import pytest
import tifffile

from lgg.errors import SliceError
from lgg.io import read_slice
from lgg.io.limits import MAX_BYTES, MAX_SIDE
from tests.reading_files import (
    VALID,
    forged_tiff,
    memory_below,
    mutate,
    noise,
    png,
    read_or_refuse,
    tiff,
    tiff_of_strip,
    with_tag,
)


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


#: Code of a TIFF's compression → how a strip is packed.
ENCODERS = {
    5: imagecodecs.lzw_encode,
    8: zlib.compress,
    32773: imagecodecs.packbits_encode,
    50000: imagecodecs.zstd_encode,
}


@pytest.mark.parametrize("code", ENCODERS)
def test_a_strip_that_unpacks_to_half_an_image_is_refused(code):
    strip = ENCODERS[code](noise(32, 64).tobytes())
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
    with memory_below(2**20), pytest.raises(SliceError, match=f"at most {MAX_SIDE} a side"):
        read_slice(data)


@pytest.mark.parametrize("code", [5, 8, 50000])
def test_a_strip_that_unpacks_to_more_than_declared_stays_bounded(code):
    strip = ENCODERS[code](noise(64, 64).tobytes() + bytes(2**26))
    with memory_below(2**21 + 2 * len(strip)):
        read_or_refuse(tiff_of_strip(strip, code))


@pytest.mark.parametrize(
    "changes",
    [
        *({"t258": bits} for bits in (0, 17, 65535)),
        *({"t277": samples} for samples in (0, 65535)),
        *({"t279": length} for length in (0, 0xFFFFFFFF)),
        *({"t317": predictor} for predictor in (3, 9)),
        *({"t262": photometric} for photometric in (3, 99)),
        {"t278": 0},
        {"t259": 12345},
        {"t339": 77},
        {"t284": 2, "t277": 3},
        {"offset": 0xFFFFFFF0},
        *({"t322": width, "t323": 1, "t324": 8, "t325": 1} for width in (0, 1, 0xFFFFFFFF)),
    ],
    ids=str,
)
def test_absurd_tiff_tags_are_refused(changes):
    assert read_slice(forged_tiff()).size == (64, 64)
    with pytest.raises(SliceError):
        read_slice(forged_tiff(**changes))


def test_a_tag_with_a_forged_count_costs_nothing():
    data = bytearray(forged_tiff(64, 64) + bytes(2**22))
    position = data.index(struct.pack("<HHI", 273, 4, 1))
    data[position + 4 : position + 8] = struct.pack("<I", 2**20)
    data = bytes(data)
    with memory_below(2**20), pytest.raises(SliceError, match="cut short"):
        read_slice(data)


def test_pages_in_a_circle_are_refused():
    data = bytearray(forged_tiff())
    entries = struct.unpack("<H", data[8:10])[0]
    data[10 + 12 * entries : 14 + 12 * entries] = struct.pack("<I", 8)
    with pytest.raises(SliceError, match="damaged"):
        read_slice(bytes(data))


def test_a_strip_over_the_memory_limit_is_refused():
    data = forged_tiff(MAX_SIDE, MAX_SIDE, t258=64, t277=3, t262=2, t339=3)
    with pytest.raises(SliceError, match="over 256 MiB"):
        read_slice(data)


def test_the_largest_float64_slice_takes_little_more_than_its_float32():
    rows = np.add.outer(np.arange(MAX_SIDE), np.arange(MAX_SIDE) % 7).astype("float64")
    data = tiff(np.repeat(rows[..., None], 3, axis=2), compression="zlib", rowsperstrip=64)
    del rows
    with memory_below(2 * MAX_BYTES):
        assert read_slice(data).size == (MAX_SIDE, MAX_SIDE)


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

    def work(_):
        for name, data in VALID.items():
            read_or_refuse(data[:100])
            np.testing.assert_array_equal(read_slice(data).pixels, expected[name])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal: its count never changes")
@pytest.mark.parametrize("name", VALID)
def test_damaged_files_leave_the_count_of_none_alone(name):
    """A decoder that releases None once too often ends Python 3.11 after some thousands of bad files."""
    random = np.random.default_rng(1)
    damaged = [mutate(VALID[name], random) for _ in range(50)]
    changes = []
    gc.collect()
    gc.freeze()  # what other tests left behind is neither walked nor freed meanwhile
    try:
        for _ in range(8):
            before = sys.getrefcount(None)
            for data in damaged:
                read_or_refuse(data)
            gc.collect()  # tifffile's objects refer to each other
            changes.append(sys.getrefcount(None) - before)
    finally:
        gc.unfreeze()
    # A decoder that errs does so in every round; caches and other tests' threads move the count only in some.
    assert 0 in changes, changes


@pytest.mark.parametrize("code", [256, 258, 259, 262, 273, 277, 279])
def test_a_layout_tag_that_cannot_be_read_is_not_replaced_by_a_default(code):
    data = forged_tiff()
    position = data.index(struct.pack("<HHI", code, 4, 1))
    with pytest.raises(SliceError, match="damaged"):
        read_slice(data[: position + 2] + b"\x63" + data[position + 3 :])


def test_imagej_labels_that_overlap_are_refused():
    """tifffile cuts a copy for each of them out of the same block."""
    block = b"IJIJ" + bytes(2**17)
    lengths = np.tile(np.array([2**17, -(2**17)], "i4"), 2**15).tobytes()
    tags = [(50839, 1, len(block), block, True), (50838, 9, 2**16, lengths, True)]
    data = tiff(noise(48, 40), extratags=tags)
    with pytest.raises(SliceError, match="damaged"):
        read_slice(data)


def test_strips_that_share_their_bytes_are_refused():
    data = tiff(noise(64, 64), rowsperstrip=1, metadata=None) + bytes(2**20)
    data = with_tag(with_tag(data, 273, [8] * 64), 279, [2**14] * 64)
    with pytest.raises(SliceError, match="damaged"):
        read_slice(data)


def test_tifffile_still_logs_for_others(caplog):
    with tifffile.TiffFile(io.BytesIO(VALID["TIFF"][:-1])) as file:
        page = file.pages[0]
        with pytest.raises(SliceError):
            read_slice(VALID["TIFF"][:300])
    caplog.clear()
    logging.getLogger("tifffile").warning("%s", page)
    assert len(caplog.records) == 1
