"""Studies on a disk: those that are named, and those that a folder holds.

A study is what one examination of one patient left: a folder, an archive, or files. What is found here is
read later, one study at a time; of loose DICOM files only the headers are looked at.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lgg.errors import SeriesError, SliceError
from lgg.io.archive import File
from lgg.io.limits import guarded

#: Letters, digits and dots stay in a folder's name; the rest, a path's separators too, becomes one `_`.
UNSAFE = re.compile(r"[^\w.-]+")
#: What ends a file's name and is no part of a study's.
SUFFIXES = re.compile(r"(\.nii)?(\.gz)?(\.(zip|dcm|tiff?|png|jpe?g))?$", re.IGNORECASE)
#: How a file that may be a study of its own begins, at which offset. DICOM is told apart before.
KINDS = ((0, b"PK\x03\x04"), (0, b"\x1f\x8b"), (344, b"n+1\0"), (4, b"n+2\0"), (0, b"II*\0"), (0, b"MM\0*"))
#: A session of a BIDS data set, as the names of its files begin.
BIDS = re.compile(r"sub-([a-zA-Z0-9]+)(?:_ses-([a-zA-Z0-9]+))?")
NIFTI = (".nii", ".nii.gz")
#: What a series can be chosen for, as options of the command line.
ROLES = ("flair", "pre", "post")


@dataclass(frozen=True)
class Study:
    """One study, not read yet.

    Attributes:
        folder: of its results, below that of all results; `sub-01/ses-1/anat` in BIDS.
        paths: a folder, an archive, or files.
        choices: of `ROLES`, the file or number of a series where it is not to be recognised.
    """

    folder: str
    paths: tuple[Path, ...] = ()
    choices: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people."""
        return self.folder.removesuffix("/anat").replace("/", "_")

    @property
    def sources(self) -> list[Path]:
        """All paths, and those that a sequence was said to be."""
        return [*self.paths, *(path for path in map(Path, self.choices.values()) if path.exists())]

    @property
    def key(self) -> str:
        """A name that no other study has: a hash of where it lies, 16 hexadecimal digits."""
        return digest(str(path.resolve()) for path in self.sources)

    def fingerprint(self) -> str:
        """A hash that changes with what is read: the files' names, sizes and times of change, and which of
        them is said to be what.

        Raises:
            SeriesError: they are not there.
        """
        try:
            stats = [(file, file.stat()) for file in self.files()]
        except OSError:
            raise SeriesError("its files cannot be read. Check that they are there.") from None
        files = [f"{file.name} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stats]
        return digest([*files, *(Path(self.choices.get(role, "")).name for role in ROLES)])

    def files(self) -> list[Path]:
        """Its files, those below a folder too."""
        return [file for path in self.sources for file in _below(path)]


def named_studies(paths: Sequence[Path], bids: bool = False, **choices: str) -> list[Study]:
    """The studies at some paths, one at each; or the one that sequences' files make.

    Args:
        bids: whether results are laid out as BIDS derivatives.
        choices: as `Study` holds them.

    Raises:
        SeriesError: a path is not there, or nobody can tell to which of several studies a sequence belongs.
    """
    if choices and len(paths) > 1:
        raise SeriesError("--flair, --pre and --post belong to one study: name it alone.")
    if not paths and "flair" not in choices:
        raise SeriesError("Name a study (a file, a folder or an archive), or --flair, or --studies.")
    there = list(paths) or [Path(choice) for choice in choices.values()]
    if missing := [path.name for path in there if not path.exists()]:
        raise SeriesError(f"There is no file or folder {', '.join(missing)}.")
    if not paths:
        return _distinct([Study(_folder(there[0]), (), choices)], bids)
    return _distinct([Study(_folder(path), (path,), choices) for path in dict.fromkeys(paths)], bids)


def find_studies(root: Path, bids: bool = False, out: Path | None = None) -> list[Study]:
    """The studies in a folder: sessions of a BIDS data set, or else a folder each, archives and volumes, and
    loose DICOM files parted by their StudyInstanceUID.

    Args:
        bids: whether results are laid out as BIDS derivatives.
        out: where results go; never a study itself.

    Raises:
        SeriesError: it is no folder, or results would lie among the studies.
    """
    if not root.is_dir():
        raise SeriesError(f"There is no folder {root.name}.")
    if out is not None and out.resolve() == root.resolve():
        raise SeriesError("Results would lie among the studies: choose another folder for them.")
    return _distinct(_bids_studies(root) or _plain_studies(root, out), bids)


def shard(studies: Sequence[Study], which: str) -> list[Study]:
    """Every n-th study, beginning with the i-th: `3/16` is the third of sixteen parts.

    Raises:
        SeriesError: it is no such part.
    """
    part = re.fullmatch(r"(\d+)/(\d+)", which)
    if not part or not 1 <= int(part[1]) <= int(part[2]):
        raise SeriesError(f"--shard {which}: write it as 3/16, from 1/16 to 16/16.")
    return list(studies[int(part[1]) - 1 :: int(part[2])])


def _bids_studies(root: Path) -> list[Study]:
    """A study for each session that has a FLAIR, with its T1w without and with contrast agent (`_ce-`)."""
    studies = []
    for anat in sorted([*root.glob("sub-*/anat"), *root.glob("sub-*/ses-*/anat")]):
        files = sorted(str(path) for path in anat.iterdir() if path.name.endswith(NIFTI))
        flair = [file for file in files if re.search(r"_FLAIR\.", file)]
        t1 = [file for file in files if re.search(r"_T1w\.", file)]
        session = BIDS.match(Path(flair[0]).name) if flair else None
        if session is None:
            continue
        post = [file for file in t1 if "_ce-" in Path(file).name]
        found = {"flair": flair, "pre": [file for file in t1 if file not in post], "post": post}
        studies.append(Study(session[0], (), {role: files[0] for role, files in found.items() if files}))
    return studies


def _plain_studies(root: Path, out: Path | None) -> list[Study]:
    studies, loose = [], []
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or (out is not None and path.resolve() == out.resolve()):
            continue
        if path.is_file() and _begins(path, ((128, b"DICM"),)):
            loose.append(path)
        elif path.is_dir() or _begins(path, KINDS):
            studies.append(Study(_folder(path), (path,)))
    return [*studies, *_parted(loose)]


def _parted(files: Iterable[Path]) -> list[Study]:
    """Loose DICOM files, a study for each StudyInstanceUID."""
    from lgg.io.dicom_header import MAX_HEADER, read_header

    parts: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        uid = ""
        with suppress(SliceError):  # its reason is told when it is read
            uid = guarded(read_header, File(path.name, path.name, None, place=path).start(MAX_HEADER)).study
        parts[uid or path.name].append(path)
    return [Study(_folder(Path(uid)), tuple(found)) for uid, found in parts.items()]


def _below(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _begins(path: Path, kinds: Iterable[tuple[int, bytes]]) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(512)
    except OSError:
        return False
    return any(start.startswith(magic, offset) for offset, magic in kinds)


def _folder(path: Path) -> str:
    """The name of a study's folder of results, after the study's own."""
    bare = path.resolve().name if path.is_dir() else SUFFIXES.sub("", path.name)
    return UNSAFE.sub("_", bare).strip("._-") or "study"


def _bids_folder(name: str) -> str:
    session = BIDS.fullmatch(name)
    if session is None:
        return f"sub-{re.sub('[^a-zA-Z0-9]', '', name) or 'study'}/anat"
    return f"sub-{session[1]}/ses-{session[2]}/anat" if session[2] else f"sub-{session[1]}/anat"


def _distinct(studies: list[Study], bids: bool) -> list[Study]:
    """The studies, as BIDS lays them out or not; folders of one name get a part of their key behind it."""
    if bids:
        studies = [replace(study, folder=_bids_folder(study.folder)) for study in studies]
    # Some disks take capitals and small letters for the same.
    count = Counter(study.folder.casefold() for study in studies)
    return [
        replace(study, folder=distinct_folder(study)) if count[study.folder.casefold()] > 1 else study
        for study in studies
    ]


def distinct_folder(study: Study) -> str:
    """A folder's name that no other study can have."""
    if study.folder.endswith("/anat"):
        subject, *rest = study.folder.split("/")
        return "/".join([subject + study.key[:8], *rest])
    return f"{study.folder}-{study.key[:8]}"


def digest(words: Iterable[str]) -> str:
    """A hash of words, 16 hexadecimal digits."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
