"""A whole study from the disk: a folder, an archive or files, as one patient's series.

Every volume is looked at by its header alone; what is chosen is then read as an upload is, by `read_series`.
So a study may hold thousands of files that are never loaded.
"""

import gzip
import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lgg.errors import SeriesError, SliceError
from lgg.io import kind_of, read_series
from lgg.io.archive import GZIP, ZIPPED, File, check_unpacked, natural, unpack
from lgg.io.dicom import is_dicom
from lgg.io.dicom_header import MAX_FRAMES_HEADER, Header, NoPictureError
from lgg.io.dicom_series import dicom_candidates, group_series
from lgg.io.nifti import is_nifti, nifti_candidates
from lgg.io.orientation import same_grid
from lgg.io.sequences import CHANNELS, AmbiguousSeriesError, choose, found, left_out_note
from lgg.types import FLAIR, Candidate, Found, Series

StudyPath = str | os.PathLike[str]
#: A series of a study: its file or folder, or its number.
SeriesChoice = str | os.PathLike[str] | int

#: What file managers leave behind.
NOISE = ("Thumbs.db", "desktop.ini", "__MACOSX")
#: Files below a folder; an examination has thousands.
MAX_STUDY_FILES = 20_000
#: Bytes in which most headers end, and in which every NIfTI header does.
MOST_HEADERS, NIFTI_HEADER = 2**16, 2**10
#: The tag of the pixels, in either byte order.
PIXELS = (b"\xe0\x7f\x10\0", b"\x7f\xe0\0\x10")


def read_study(
    study: StudyPath | Iterable[StudyPath] = (),
    *,
    flair: SeriesChoice | None = None,
    pre: SeriesChoice | None = None,
    post: SeriesChoice | None = None,
    assignment: Mapping[str, str] | None = None,
    register: bool = False,
) -> Series:
    """Read one patient's study from the disk.

    FLAIR and both T1 are recognised by how they were taken and what they are called; localisers, maps and
    other sequences are left out. T1 volumes on grids of their own are resampled onto the FLAIR's.
    `Series.found` tells what each volume was taken for.

    Args:
        study: a folder (all that is below it), an archive, a file, or several of them.
        flair, pre, post: the file, folder or number of a series where it is not to be recognised.
        assignment: all that is read where nothing is to be recognised: `Candidate.key` → `pre`, `flair` or
            `post`, as `recognise` tells the keys.
        register: whether T1 volumes are aligned with FLAIR by what is seen in them, not by headers alone.

    Raises:
        AmbiguousSeriesError: several series fit equally, or none is FLAIR; its message lists them by numbers.
        SeriesError, SliceError: whatever else is wrong; the message says what to do.
    """
    contents = _look_through(study, {"flair": flair, "pre": pre, "post": post})
    if not contents.candidates:
        series = read_series(contents.pictures)
        return replace(series, source=contents.name, notes=(*contents.notes, *series.notes))
    chosen = choose(contents.candidates, assignment) if assignment else _choose(contents)
    roles = {channel: role for role, channel in CHANNELS.items()}
    parts = [part for candidate in chosen.values() for part in contents.parts[candidate.key]]
    series = read_series(
        [part.source for part in parts],
        [part.name for part in parts],
        {candidate.key: roles[channel] for channel, candidate in chosen.items()},
        register=register,
    )
    done = {channel: row.done for channel, row in _rows(series).items()}
    what = "volumes" if series.nifti is not None else "series"
    notes = [*left_out_note(what, contents.candidates, chosen), *contents.notes, *series.notes]
    return replace(
        series,
        source=contents.name,
        candidates=contents.candidates,
        found=found(contents.candidates, chosen, done),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class Recognised:
    """What the volumes of a study seem to be, by their headers alone.

    Attributes:
        candidates: the volumes; none in a study of pictures.
        chosen: channel (PRE, FLAIR, POST) → key of the candidate that would be read for it. Where several
            fit equally, none of them stands there.
    """

    candidates: tuple[Candidate, ...] = ()
    chosen: Mapping[int, str] = field(default_factory=dict)

    @property
    def found(self) -> tuple[Found, ...]:
        """What each volume is taken for, and what is to be done with it, once FLAIR is chosen."""
        by_key = {candidate.key: candidate for candidate in self.candidates}
        chosen = {channel: by_key[key] for channel, key in self.chosen.items()}
        done = dict.fromkeys(chosen, "")
        for channel in chosen if FLAIR in chosen else ():
            grid, flair = chosen[channel].grid, chosen[FLAIR].grid
            same = grid is None or flair is None or same_grid(grid, flair)
            done[channel] = "read as it is" if same else "to be resampled onto the FLAIR's grid"
        return found(self.candidates, chosen, done)

    @property
    def open_channels(self) -> frozenset[int]:
        """Those for which somebody has to choose: FLAIR if it is not known, T1 if several fit equally."""
        guesses = {candidate.guess for candidate in self.candidates if candidate.guess is not None}
        return frozenset(({FLAIR, *guesses} if self.candidates else guesses) - set(self.chosen))


def recognise(study: StudyPath | Iterable[StudyPath]) -> Recognised:
    """What `read_study` would take each volume of a study for.

    Raises:
        SeriesError: there is nothing in it that can be read, or the volumes of several examinations.
    """
    contents = _look_through(study, {})
    try:
        chosen = _choose(contents) if contents.candidates else {}
    except AmbiguousSeriesError:
        guesses = Counter(candidate.guess for candidate in contents.candidates)
        chosen = {c.guess: c for c in contents.candidates if c.guess is not None and guesses[c.guess] == 1}
    return Recognised(contents.candidates, {channel: candidate.key for channel, candidate in chosen.items()})


@dataclass(frozen=True)
class _Part:
    """A file of a study.

    Attributes:
        name: for messages; a volume's is unique among all.
        path: where it lies on the disk, or the archive that it came out of.
        data: its bytes, of a file out of an archive.
    """

    name: str
    path: Path
    data: bytes | None = None

    @property
    def source(self) -> Path | bytes:
        """What `read_series` takes."""
        return self.path if self.data is None else self.data


@dataclass(frozen=True)
class _Contents:
    """What a study holds.

    Attributes:
        name: of the study, for people.
        candidates: its volumes; none in a study of pictures.
        parts: a candidate's key → its files.
        pinned: channel → key of the candidate that was named for it.
        pictures: where slices as TIFF, PNG or JPEG lie, themselves or in archives.
        notes: a sentence on what was left out.
    """

    name: str
    candidates: tuple[Candidate, ...] = ()
    parts: Mapping[str, list[_Part]] = field(default_factory=dict)
    pinned: Mapping[int, str] = field(default_factory=dict)
    pictures: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def _look_through(
    study: StudyPath | Iterable[StudyPath], choices: Mapping[str, SeriesChoice | None]
) -> _Contents:
    """Find the volumes of a study, and those that were named for a sequence."""
    given = [Path(study)] if isinstance(study, str | os.PathLike) else [Path(path) for path in study]
    numbers: dict[int, int] = {}
    places: dict[int, list[Path]] = {}
    for role, choice in choices.items():
        if isinstance(choice, int) or (isinstance(choice, str) and choice.isdecimal()):
            numbers[CHANNELS[role]] = int(choice)
        elif choice is not None:
            places[CHANNELS[role]] = _below(_resolved(Path(choice), given))
    paths = [file for path in given for file in _below(path)]
    paths = list(dict.fromkeys([*paths, *(file for files in places.values() for file in files)]))
    if not paths:
        raise SeriesError("There are no files to read. Give the folder or the files of one study.")
    name = given[0].resolve().name if len(given) == 1 else f"{len(paths)} files"
    dicom, nifti, pictures, others, unread = _sorted_by_kind(paths)
    if dicom and nifti:
        raise SeriesError("There are both DICOM and NIfTI files. Give the folder or the files of one kind.")
    if not (dicom or nifti):
        if not pictures and len(paths) > 1:
            raise SeriesError("There are no images that can be read. Give the folder or files of one study.")
        # Of an archive, reading itself says what it leaves out; of a lone file, why it cannot be read.
        loose = [part for part in others if part.data is None]
        lying = dict.fromkeys(part.path for part in pictures) or paths
        return _Contents(name, pictures=tuple(lying), notes=_left_out("images", len(loose), unread))
    candidates, parts, no_pictures, damaged = _dicom_volumes(dicom) if dicom else _nifti_volumes(nifti)
    kind, without = "DICOM images" if dicom else "NIfTI volumes", len(others) + len(pictures) + no_pictures
    notes = _left_out(kind, without, damaged + unread)
    pinned = {channel: _by_number(candidates, number).key for channel, number in numbers.items()}
    for channel, files in places.items():
        pinned[channel] = _by_place(candidates, parts, channel, set(files)).key
    return _Contents(name, candidates, parts, pinned, notes=notes)


def _left_out(kind: str, others: int, unread: int) -> tuple[str, ...]:
    """Sentences on the files of a study that are none of its images, and on those that are damaged."""
    notes = ((f"Files that are no {kind}", others), ("Files that could not be read", unread))
    return tuple(f"{files} were left out: {count}." for files, count in notes if count)


def _choose(contents: _Contents) -> dict[int, Candidate]:
    """The candidate of each channel: the one that was named for it, else the one that fits best."""
    named = {key: channel for channel, key in contents.pinned.items()}
    if len(named) < len(contents.pinned):
        raise SeriesError("One series was named for two sequences. Name each for the one that it is.")
    left = []
    for candidate in contents.candidates:
        if candidate.key in named:
            left.append(replace(candidate, guess=named[candidate.key], reason=""))
        elif candidate.guess not in contents.pinned:
            left.append(candidate)
    alone = left[0] if len(left) == 1 else None
    if alone is not None and (alone.guess not in (FLAIR, None) or alone.reason):
        raise AmbiguousSeriesError(contents.candidates, {}, numbered=True)
    try:
        return choose(left)
    except AmbiguousSeriesError as error:
        raise AmbiguousSeriesError(contents.candidates, error.chosen, numbered=True) from None


def _resolved(path: Path, given: Sequence[Path]) -> Path:
    """A path as it is, or else below the study's folder."""
    if path.exists():
        return path
    below = [folder / path for folder in given if (folder / path).exists()]
    return below[0] if below else path


def _below(path: Path) -> list[Path]:
    """The files below a folder, without hidden ones; a file itself.

    Raises:
        SeriesError: it is not there, or there are too many of them.
    """
    if not path.exists():
        raise SeriesError(f"There is no file or folder {path.name}. Check the name.")
    if not path.is_dir():
        return [path]
    files = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in NOISE)
        kept = [name for name in names if not name.startswith(".") and name not in NOISE]
        files += [Path(folder) / name for name in sorted(kept, key=natural)]
        if len(files) > MAX_STUDY_FILES:
            raise SeriesError(
                f"There are over {MAX_STUDY_FILES:,} files below {path.name}. Give the folder of one study."
            )
    return files


def _sorted_by_kind(paths: Sequence[Path]) -> tuple[list[_Part], list[_Part], list[_Part], list[_Part], int]:
    """DICOM files, NIfTI volumes, pictures, what is no image, and how many files cannot be opened.

    Raises:
        SliceError: an archive is damaged, or all that is in archives takes too much memory.
    """
    dicom: list[_Part] = []
    nifti: list[_Part] = []
    pictures: list[_Part] = []
    others: list[_Part] = []
    unread = unpacked = 0
    for path in paths:
        try:
            parts = list(_parts(path))
        except OSError:
            unread += 1
            continue
        unpacked += sum(len(part.data or b"") for part, _ in parts)
        check_unpacked(unpacked)
        for part, start in parts:
            if is_nifti(start):
                nifti.append(part)
            elif is_dicom(start):
                dicom.append(part)
            else:
                (pictures if _is_picture(start) else others).append(part)
    return dicom, nifti, pictures, others, unread


def _parts(path: Path) -> Iterator[tuple[_Part, bytes]]:
    """A file, or all that an archive holds, each with its first bytes."""
    start = _start(path, NIFTI_HEADER)
    if start.startswith(ZIPPED):
        for file in unpack([path]):
            yield _Part(file.name, path, file.data), file.data[:NIFTI_HEADER]
    else:
        yield _Part(path.name.removesuffix(".gz"), path), start


def _start(path: Path, size: int) -> bytes:
    """The first bytes of a file, unpacked if it is packed by gzip.

    Raises:
        OSError: it cannot be opened, or is damaged.
    """
    with path.open("rb") as stream:
        start = stream.read(size)
        if not start.startswith(GZIP):
            return start
        stream.seek(0)
        try:
            with gzip.GzipFile(fileobj=stream) as packed:
                return packed.read(size)
        except (EOFError, zlib.error) as error:
            raise OSError from error


def _is_picture(start: bytes) -> bool:
    try:
        kind_of(start)
    except SliceError:
        return False
    return True


#: Candidates, the files of each, and how many files hold no picture and are damaged.
Volumes = tuple[tuple[Candidate, ...], dict[str, list[_Part]], int, int]


def _nifti_volumes(files: Sequence[_Part]) -> Volumes:
    """A candidate for each file."""
    times = Counter(part.name for part in files)
    # Volumes of one name are told apart by their folders.
    unique = [
        part if times[part.name] == 1 else replace(part, name=f"{part.name} in {part.path.parent.name}")
        for part in sorted(files, key=lambda part: natural(part.name))
    ]
    if len({part.name for part in unique}) < len(unique):
        raise SeriesError("Two of the volumes have the same name. Give the folder of one study.")
    heads = [
        File(part.name, part.name, part.data[:NIFTI_HEADER] if part.data else _start(part.path, NIFTI_HEADER))
        for part in unique
    ]
    return nifti_candidates(heads), {part.name: [part] for part in unique}, 0, 0


def _dicom_volumes(files: Sequence[_Part]) -> Volumes:
    """A candidate for each series."""
    groups: dict[str, list[tuple[File, Header]]] = defaultdict(list)
    parts: dict[str, list[_Part]] = defaultdict(list)
    seen, failed = set[str](), list[Exception]()
    for part in files:
        try:
            groups_of_one, _ = group_series([File(part.name, part.name, _header_bytes(part))])
        except (SliceError, OSError) as error:
            failed.append(error)
            continue
        ((key, slices),) = groups_of_one.items()
        instance = slices[0][1].instance
        if instance and instance in seen:  # a copy of the same image
            continue
        seen.add(instance)
        # Without the bytes, which thousands of files would fill the memory with.
        groups[key] += [(File(part.name, part.name, b""), header) for _, header in slices]
        parts[key].append(part)
    if not groups:
        unreadable = SeriesError("The DICOM files cannot be read. Export the series once more.")
        raise next((error for error in failed if isinstance(error, SliceError)), unreadable)
    studies = {group[0][1].study for group in groups.values()} - {""}
    if len(studies) > 1:
        raise SeriesError(
            f"There are series of {len(studies)} examinations. Give the folder or the files of one of them."
        )
    no_pictures = sum(isinstance(error, NoPictureError) for error in failed)  # a report, a directory
    return dicom_candidates(groups), dict(parts), no_pictures, len(failed) - no_pictures


def _header_bytes(part: _Part) -> bytes:
    """The beginning of a DICOM file, as far as its pixels."""
    if part.data is not None:
        return part.data
    start = _start(part.path, MOST_HEADERS)
    whole = len(start) < MOST_HEADERS or any(tag in start for tag in PIXELS)
    return start if whole else _start(part.path, MAX_FRAMES_HEADER + 1)


def _by_number(candidates: Sequence[Candidate], number: int) -> Candidate:
    for candidate in candidates:
        if candidate.number == number:
            return candidate
    listed = ", ".join(str(candidate.number) for candidate in candidates)
    raise SeriesError(f"There is no series {number}. These are there: {listed}.")


def _by_place(
    candidates: Sequence[Candidate], parts: Mapping[str, list[_Part]], channel: int, files: set[Path]
) -> Candidate:
    """The candidate that comes from these files; of several, the one that seems to be the sequence."""
    there = [
        candidate for candidate in candidates if any(part.path in files for part in parts[candidate.key])
    ]
    fitting = [candidate for candidate in there if candidate.guess == channel] if len(there) > 1 else there
    if len(fitting) != 1:
        raise AmbiguousSeriesError(there or candidates, {}, numbered=True)
    return fitting[0]


def _rows(series: Series) -> dict[int, Found]:
    """Channel → what was done with its volume."""
    keys = {key: channel for channel, key in series.chosen.items()}
    rows = zip(series.candidates, series.found, strict=True)
    return {keys[candidate.key]: row for candidate, row in rows if candidate.key in keys}
