"""Files and uploads: archives are unpacked in memory, and never beyond the limits.

Nothing is written to disk, so where an archive's names lead does not matter; only their last part is ever
shown. Sizes are counted while bytes come out, as those that an archive declares may be forged.
"""

import gzip
import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import IO, BinaryIO

from lgg.errors import SeriesError, SliceError
from lgg.io.limits import MAX_BYTES, named

Source = str | os.PathLike[str] | bytes | BinaryIO

#: Characters of a name that are kept, its end: no file system allows more, but an archive does.
MAX_NAME = 255
#: Files of a series: three sequences of 512 slices, and what a patient's CD holds beside them.
MAX_FILES = 2000
#: Bytes of all files together once they are unpacked.
MAX_UNPACKED = 2**29
#: Bytes of an archive's table of contents; one entry takes a hundred or two.
MAX_CONTENTS = MAX_FILES * 512
#: What file managers leave behind.
NOISE = ("__MACOSX", "Thumbs.db", "desktop.ini")
SMALLER = "Give fewer slices, or the sequences alone."

#: The first bytes of a ZIP archive, with and without files in it, and of gzip.
ZIPPED, GZIP = (b"PK\x03\x04", b"PK\x05\x06"), b"\x1f\x8b"
#: The record that ends an archive, how long a comment may follow, and the mark of the 64-bit variant.
END_RECORD, MAX_COMMENT, ZIP64 = b"PK\x05\x06", 2**16 + 22, b"PK\x06\x07"
CHUNK = 2**20
NESTED = "an archive inside an archive. Unpack it and give what is in it."
DAMAGED = "the archive is cut short or damaged. Pack it once more."
UNREADABLE = "the file cannot be opened. Check that it is there and readable."


@dataclass(frozen=True)
class File:
    """One file, out of an archive or not.

    Attributes:
        name: its bare name, for messages; a volume's is unique among all.
        path: its whole name in the archive, for the order of files.
        data: its bytes; None where they are left on the disk until they are wanted.
        packed: whether it came out of a ZIP archive, where files that are no images are left out silently.
        place: where it lies on the disk, or the archive that it came out of.
    """

    name: str
    path: str
    data: bytes | None
    packed: bool = False
    place: Path = Path()

    def start(self, size: int) -> bytes:
        """Its first bytes, unpacked if it is packed by gzip.

        Raises:
            SliceError: it cannot be opened, or is damaged.
        """
        if self.data is not None:
            return self.data[:size]
        try:
            with self.place.open("rb") as stream:
                start = stream.read(size)
                if not start.startswith(GZIP):
                    return start
                stream.seek(0)
                with gzip.GzipFile(fileobj=stream) as packed:
                    return packed.read(size)
        except (OSError, EOFError, zlib.error):
            raise SliceError(f"{self.name}: {UNREADABLE}") from None

    def whole(self) -> bytes:
        """All of its bytes.

        Raises:
            SliceError: as for `unpack`.
        """
        if self.data is not None:
            return self.data
        (file,) = unpack([self.place], [self.name])
        return file.whole()


def unpack(
    uploads: Sequence[Source | File], names: Sequence[str] | None = None, left: int | None = None
) -> list[File]:
    """The files of all uploads in natural order of their names, `_2` before `_10`.

    ZIP archives and gzip are unpacked; folders, links and hidden files in them are left out.

    Args:
        uploads: paths, bytes or binary streams; or files that were unpacked before.
        names: what messages call them, in the same order; by default their own names.
        left: how many bytes may come out; by default `MAX_UNPACKED`.

    Raises:
        SliceError, SeriesError: an upload cannot be opened, is damaged, or there is too much of it.
    """
    if not uploads:
        raise SeriesError("There is nothing to read. Give a series.")
    if len(uploads) > MAX_FILES:
        raise _too_many(len(uploads))
    files: list[File] = []
    left = MAX_UNPACKED if left is None else left
    given: Sequence[str | None] = names or [None] * len(uploads)
    for upload, wanted in zip(uploads, given, strict=True):
        name = bare_name(upload, wanted)
        with named(name):
            inside = [upload] if isinstance(upload, File) else _files(name, load_bytes(upload, SMALLER), left)
            for file in inside:
                left -= len(file.whole())
                files.append(file)
                if len(files) > MAX_FILES:
                    raise _too_many(len(files))
    return sorted(files, key=lambda file: natural(file.path))


def bare_name(source: Source | File, name: str | None = None) -> str:
    """The last part of a path of either convention, without what could not be printed; or "slice"."""
    if name is None:
        name = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    bare = PureWindowsPath(name).name if isinstance(name, str) else ""
    return "".join(character for character in bare if character.isprintable())[-MAX_NAME:] or "slice"


def load_bytes(source: Source, advice: str) -> bytes:
    """The file's bytes, at most `MAX_BYTES` of them.

    Raises:
        SliceError: it cannot be opened, or is larger; then `advice` says what to do.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source) if len(source) <= MAX_BYTES else None
    else:
        try:
            if isinstance(source, str | os.PathLike):
                with open(source, "rb") as stream:  # noqa: PTH123 (a str or any PathLike)
                    data = stream.read(MAX_BYTES + 1)
            else:
                data = source.read(MAX_BYTES + 1)
        except (OSError, ValueError):
            # The cause would tell the path, so it goes no further.
            # ValueError: a NUL in a path, a closed stream.
            raise SliceError(UNREADABLE) from None
        if not isinstance(data, bytes):
            raise TypeError("read_slice wants a stream that was opened in binary mode")
    if data is None or len(data) > MAX_BYTES:
        raise SliceError(f"the file is over {MAX_BYTES >> 20} MiB. {advice}")
    return data


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key under which numbers count as numbers."""
    # Only ASCII digits, and not endless ones, which int() refuses.
    parts = re.split(r"([0-9]{1,30})", name.casefold())
    return [(int(part), "") if number % 2 else (-1, part) for number, part in enumerate(parts)]


def _files(name: str, data: bytes, left: int) -> Iterator[File]:
    """The files in one upload, itself if it is no archive; `left` bytes may come out."""
    if data.startswith(ZIPPED):
        yield from _zipped(data, left)
    elif data.startswith(GZIP):
        plain = _without_suffix(name)
        yield File(plain, plain, _inflated(data, left))
    elif len(data) > left:
        raise _too_large()
    else:
        yield File(name, name, data)


def _zipped(data: bytes, left: int) -> Iterator[File]:
    _check_contents(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                if _left_out(member):
                    continue
                name, content = bare_name(member.filename), _member(archive, member, left)
                if content.startswith(ZIPPED):
                    raise SeriesError(f"{name} in it is {NESTED}")
                if content.startswith(GZIP):
                    name, content = _without_suffix(name), _inflated(content, left)
                left -= len(content)
                yield File(name, member.filename, content, packed=True)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise SeriesError(DAMAGED) from error


def _check_contents(data: bytes) -> None:
    """Refuse a table of contents that would take much memory, before zipfile reads it."""
    end = data.rfind(END_RECORD, max(0, len(data) - MAX_COMMENT))
    if end < 0 or len(data) < end + 22:
        raise SeriesError(DAMAGED)
    entries, size = struct.unpack_from("<HL", data, end + 10)
    if data[max(0, end - 20) : end].startswith(ZIP64) or size > MAX_CONTENTS or entries > MAX_FILES:
        raise _too_many(entries)


def is_noise(name: str) -> bool:
    """Whether a file or folder of this bare name is hidden, or a file manager's."""
    return (name.startswith(".") and name not in (".", "..")) or name in NOISE


def _left_out(member: zipfile.ZipInfo) -> bool:
    """Folders, links and noise."""
    link = stat.S_ISLNK(member.external_attr >> 16)
    return member.is_dir() or link or any(map(is_noise, re.split(r"[/\\]", member.filename)))


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, left: int) -> bytes:
    if member.flag_bits & 1:
        raise SeriesError("the archive asks for a password. Pack it without one.")
    # The others reserve memory of the size that the archive names.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SeriesError("the archive is packed in a way that is not read here. Pack it as a plain ZIP.")
    with archive.open(member) as stream:
        return _bounded(stream, left)


def _inflated(data: bytes, left: int) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            content = _bounded(stream, left)
    except (OSError, EOFError, zlib.error) as error:
        raise SeriesError(DAMAGED) from error
    if content.startswith((*ZIPPED, GZIP)):
        raise SeriesError(f"it holds {NESTED}")
    return content


def _bounded(stream: gzip.GzipFile | IO[bytes], left: int) -> bytes:
    """All that comes out of a stream, refused as soon as it is over the limit."""
    pieces, size = [], 0
    while piece := stream.read(min(CHUNK, left + 1 - size)):
        size += len(piece)
        if size > left:
            raise _too_large()
        pieces.append(piece)
    return b"".join(pieces)


def _without_suffix(name: str) -> str:
    return name[:-3] if name.lower().endswith(".gz") and len(name) > 3 else name


def _too_many(count: int) -> SeriesError:
    return SeriesError(f"there are {count} files or more, and at most {MAX_FILES} can be read. {SMALLER}")


def _too_large() -> SeriesError:
    return SeriesError(f"unpacked, it takes over {MAX_UNPACKED >> 20} MiB. {SMALLER}")
