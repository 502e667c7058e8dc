"""Unpacking: in natural order, in memory, and never beyond the limits, whatever an archive declares."""

import gzip
import io
import stat
import struct
import zipfile

import numpy as np
import pytest

from lgg.errors import LggError, SeriesError
from lgg.io import archive as limits
from lgg.io import read_series
from lgg.io.archive import natural, unpack
from tests.reading_files import memory_below, mutate
from tests.series_files import archive, slice_files, slices

FILES = slice_files(slices(3))


def names(upload):
    return [file.name for file in unpack([upload])]


@pytest.mark.parametrize(("name", "shown"), [("A.nii.gz", "A.nii"), ("A.NII.GZ", "A.NII"), (".gz", ".gz")])
def test_a_gzips_name_loses_its_ending_in_capitals_too(name, shown):
    assert [file.name for file in unpack([gzip.compress(b"volume")], [name])] == [shown]


@pytest.mark.parametrize("name", ["", "7", "7a7", "²", "٣", "x" * 300, "9" * 5000], ids=repr)
def test_any_name_can_be_sorted(name):
    assert sorted([name, "a_1", "1_a"], key=natural)


def test_folders_hidden_files_and_links_are_left_out():
    stream = io.BytesIO(archive(FILES))
    with zipfile.ZipFile(stream, "a") as opened:
        opened.writestr("folder/", "")
        opened.writestr("__MACOSX/._patient_1.tif", "x")
        opened.writestr(".DS_Store", "x")
        opened.writestr("Thumbs.db", "x")
        link = zipfile.ZipInfo("patient_9.tif")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
    assert names(stream.getvalue()) == list(FILES)


@pytest.mark.parametrize("folder", ["../../", "/etc/", "C:\\windows\\", "a/b/", "..\\..\\"])
def test_names_that_lead_elsewhere_are_only_names(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert names(archive({folder + name: data for name, data in FILES.items()})) == list(FILES)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_images_are_left_out_and_told():
    series = read_series([archive(FILES | {"README.txt": b"about"})])
    assert len(series) == 3
    assert series.notes == ("Files in the archive that are no images were left out: 1.",)
    with pytest.raises(SeriesError, match="no images"):
        read_series([archive({"README.txt": b"about"})])


@pytest.mark.parametrize(
    "inner",
    [archive(FILES), gzip.compress(archive(FILES)), gzip.compress(gzip.compress(b"x"))],
    ids=["zip", "zip in gzip", "gzip in gzip"],
)
def test_archives_inside_archives_are_refused(inner):
    with pytest.raises(SeriesError, match=r"outer\.zip: .*archive inside an archive. Unpack it"):
        read_series([archive({"inner": inner})], ["outer.zip"])


def declaring(data, value, *offsets):
    """An archive that says something else of its first file, in the file's header and in the contents."""
    forged = bytearray(data)
    for signature, offset in zip((b"PK\3\4", b"PK\1\2"), offsets, strict=True):
        at = forged.index(signature) + offset
        forged[at : at + len(value)] = value
    return bytes(forged)


BOMB = archive({"1.tif": bytes(2**26)})


@pytest.mark.parametrize(
    "bomb",
    [BOMB, declaring(BOMB, struct.pack("<L", 100), 22, 24), gzip.compress(bytes(2**26))],
    ids=["zip", "zip that declares little", "gzip"],
)
def test_a_bomb_is_stopped_at_the_limit(bomb, monkeypatch):
    monkeypatch.setattr(limits, "MAX_UNPACKED", 2**22)
    with memory_below(2**23), pytest.raises(SeriesError, match=r"takes over 4 MiB|damaged"):
        read_series([bomb])


def test_all_files_together_count(monkeypatch):
    monkeypatch.setattr(limits, "MAX_UNPACKED", 2 * len(FILES["patient_1.tif"]))
    with pytest.raises(SeriesError, match=r"patient_3\.tif: unpacked, it takes over"):
        read_series(list(FILES.values()), list(FILES))


@pytest.mark.parametrize("upload", [list(FILES.values()), [archive(FILES)]], ids=["files", "zip"])
def test_too_many_files_are_refused(upload, monkeypatch):
    monkeypatch.setattr(limits, "MAX_FILES", 2)
    with pytest.raises(SeriesError, match="3 files or more, and at most 2"):
        read_series(upload)


def test_a_long_table_of_contents_is_not_read():
    data = archive({f"{'x' * 400}{number}": b"" for number in range(4000)})
    data = data[:-14] + struct.pack("<HH", 1, 1) + data[-10:]  # one entry, it says
    with memory_below(2**20), pytest.raises(SeriesError, match="at most 2000"):
        read_series([data])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (archive(FILES, zipfile.ZIP_BZIP2), "plain ZIP"),
        (archive(FILES, zipfile.ZIP_LZMA), "plain ZIP"),
        (declaring(archive(FILES), b"\1", 6, 8), "password"),
    ],
    ids=["bzip2", "lzma", "password"],
)
def test_other_ways_of_packing_are_refused(data, message):
    with pytest.raises(SeriesError, match=message):
        read_series([data])


@pytest.mark.parametrize(
    "upload", [archive(FILES), gzip.compress(FILES["patient_1.tif"])], ids=["zip", "gzip"]
)
def test_a_damaged_archive_is_refused_or_read(upload):
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        try:
            read_series([mutate(upload, random)], ["upload.zip"])
        except LggError:
            refused += 1
    assert refused > 50
