"""Where a file's bytes come from, and what it is called in front of people."""

import os
from pathlib import PureWindowsPath
from typing import BinaryIO

from lgg.errors import SliceError
from lgg.reading.picture import MAX_BYTES

#: Characters of a name that are kept, its end: no file system allows more, but an archive does.
MAX_NAME = 255

Source = str | os.PathLike[str] | bytes | BinaryIO


def bare_name(source: Source, name: str | None = None) -> str:
    """The last part of a path of either convention, without what could not be printed; or "slice"."""
    if name is None:
        name = getattr(source, "name", None) if not isinstance(source, str | os.PathLike | bytes) else None
    if name is None and isinstance(source, str | os.PathLike):
        name = os.fspath(source)
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
            raise SliceError("the file cannot be opened. Check that it is there and readable.") from None
        if not isinstance(data, bytes):
            raise TypeError("read_slice wants a stream that was opened in binary mode")
    if data is None or len(data) > MAX_BYTES:
        raise SliceError(f"the file is over {MAX_BYTES >> 20} MiB. {advice}")
    return data
