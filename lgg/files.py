"""Atomic writing: a reader sees the old file or the new one, never half of either."""

from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

from lgg.errors import DiskError


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in its place.

    If `write` fails, `path` keeps what it had and the temporary file is gone.

    Raises:
        DiskError: the system does not let it be written; the file is named, and what the system said.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, write)
    except OSError as error:
        raise DiskError(f"{path.name} cannot be written ({error.strerror or error}).") from error


def _write(path: Path, write: Callable[[Path], object]) -> None:
    # Not by mkstemp, whose files are their owner's only.
    partial = path.with_name(f".{path.name}.{token_hex(8)}.partial")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
