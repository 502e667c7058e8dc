"""A whole study from the disk: a folder, an archive or files, as one patient's series."""

import os
from collections.abc import Iterable
from pathlib import Path

from lgg.errors import SeriesError
from lgg.io import read_series
from lgg.types import Series

StudyPath = str | os.PathLike[str]
#: A series of a study: its file or folder, or its number.
SeriesChoice = str | os.PathLike[str] | int
#: What file managers leave behind.
NOISE = ("Thumbs.db", "desktop.ini", "__MACOSX")


def read_study(
    study: StudyPath | Iterable[StudyPath] = (),
    *,
    flair: SeriesChoice | None = None,
    pre: SeriesChoice | None = None,
    post: SeriesChoice | None = None,
    register: bool = False,
) -> Series:
    """Read one patient's study from the disk.

    Args:
        study: a folder (all that is below it), an archive, a file, or several of them.
        flair, pre, post: the file, folder or number of a series where it is not to be recognised.
        register: whether T1 volumes are aligned with FLAIR by what is seen in them, not by headers alone.

    Raises:
        AmbiguousSeriesError: several series fit equally; its message lists them by numbers.
        SeriesError, SliceError: whatever else is wrong; the message says what to do.
    """
    paths = [study] if isinstance(study, str | os.PathLike) else list(study)
    files = [file for path in paths for file in _below(Path(path))]
    assignment = {}
    for role, choice in (("pre", pre), ("flair", flair), ("post", post)):
        if choice is not None:
            files.append(Path(str(choice)))
            assignment[Path(str(choice)).name.removesuffix(".gz")] = role
    return read_series(list(dict.fromkeys(files)), assignment=assignment or None)


def _below(path: Path) -> list[Path]:
    """The files below a folder without hidden ones; a file itself."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.is_file())
    parts = [(file, file.relative_to(path).parts) for file in files]
    kept = [file for file, names in parts if not any(n.startswith(".") or n in NOISE for n in names)]
    if not kept:
        raise SeriesError("There are no files in the folder. Name the folder of one study.")
    return kept
