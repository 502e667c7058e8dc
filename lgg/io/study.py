"""A whole study from the disk: a folder, an archive or files, as one patient's series.

Every volume is looked at by its header alone; what is chosen is then read as an upload is, by `read_series`.
So a study may hold thousands of files that are never loaded.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lgg.errors import SeriesError, SliceError
from lgg.io import DICOM, NIFTI, PICTURES, kind_of_series, read_files
from lgg.io.archive import MAX_UNPACKED, ZIPPED, File, is_noise, natural, unpack
from lgg.io.combine import Volumes
from lgg.io.dicom import dicom_volumes
from lgg.io.dicom_header import NoPictureError
from lgg.io.nifti import nifti_volumes
from lgg.io.orientation import same_grid
from lgg.io.sequences import AS_IT_IS, CHANNELS, AmbiguousSeriesError, choose, found
from lgg.types import FLAIR, Candidate, Found, Series

StudyPath = str | os.PathLike[str]
#: A series of a study: its file or folder, or its number.
SeriesChoice = str | os.PathLike[str] | int

#: Files below a folder; an examination has thousands.
MAX_STUDY_FILES = 20_000
#: Bytes in which a file's kind is told, and every NIfTI header ends.
NIFTI_HEADER = 2**10


def read_study(
    study: "StudyPath | Iterable[StudyPath] | Contents" = (),
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
        study: a folder (all that is below it), an archive, a file, or several of them; or its contents.
        flair, pre, post: the file, folder or number of a series where it is not to be recognised.
        assignment: all that is read where nothing is to be recognised: `Candidate.key` → `pre`, `flair` or
            `post`, as `recognise` tells the keys.
        register: whether T1 volumes are aligned with FLAIR by what is seen in them, not by headers alone.

    Raises:
        AmbiguousSeriesError: several series fit equally, or none is FLAIR; its message lists them by numbers.
        SeriesError, SliceError: whatever else is wrong; the message says what to do.
    """
    choices = {"flair": flair, "pre": pre, "post": post}
    contents = study if isinstance(study, Contents) else look_through(study, choices)
    if contents.volumes is None:
        series = read_files(unpack(contents.pictures), contents.name)
        return replace(series, source=contents.name, notes=(*contents.notes, *series.notes))
    candidates = contents.volumes.candidates
    chosen = choose(candidates, assignment) if assignment else _choose(candidates, contents.pinned)
    return contents.volumes.read(chosen, contents.name, register, contents.notes)


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
            done[channel] = AS_IT_IS if same else "to be resampled onto the FLAIR's grid"
        return found(self.candidates, chosen, done)

    @property
    def open_channels(self) -> frozenset[int]:
        """Those for which somebody has to choose: FLAIR if it is not known, T1 if several fit equally."""
        guesses = {candidate.guess for candidate in self.candidates if candidate.guess is not None}
        return frozenset(({FLAIR, *guesses} if self.candidates else guesses) - set(self.chosen))


def recognise(study: "StudyPath | Iterable[StudyPath] | Contents") -> Recognised:
    """What `read_study` would take each volume of a study, or of its contents, for.

    Raises:
        SeriesError: there is nothing in it that can be read.
    """
    volumes = (study if isinstance(study, Contents) else look_through(study)).volumes
    if volumes is None:
        return Recognised()
    try:
        chosen = _choose(volumes.candidates, {})
    except AmbiguousSeriesError:
        # What is alone of its kind; nothing of several examinations, as nobody knows which is meant.
        examinations = {candidate.examination for candidate in volumes.candidates}
        lone = volumes.candidates if len(examinations) == 1 else ()
        guesses = Counter(candidate.guess for candidate in lone)
        chosen = {c.guess: c for c in lone if c.guess is not None and guesses[c.guess] == 1}
    return Recognised(volumes.candidates, {channel: candidate.key for channel, candidate in chosen.items()})


@dataclass(frozen=True)
class Contents:
    """What a study holds, looked through once; what came out of archives is kept unpacked.

    Attributes:
        name: of the study, for people.
        volumes: None in a study of pictures.
        pinned: channel → the candidate that was named for it.
        pictures: where slices as TIFF, PNG or JPEG lie, or all that was in an archive with them.
        notes: a sentence on what was left out.
        nbytes: how much came out of archives.
    """

    name: str
    volumes: Volumes | None = None
    pinned: Mapping[int, Candidate] = field(default_factory=dict)
    pictures: tuple[Path | File, ...] = ()
    notes: tuple[str, ...] = ()
    nbytes: int = 0


def look_through(
    study: StudyPath | Iterable[StudyPath], choices: Mapping[str, SeriesChoice | None] | None = None
) -> Contents:
    """Find the volumes of a study, and those that were named for a sequence.

    Args:
        study: as `read_study` takes it.
        choices: `flair`, `pre` or `post` → the series that is meant, as `read_study` takes them.

    Raises:
        SeriesError, SliceError: there is nothing in it that can be read.
    """
    given = [Path(study)] if isinstance(study, str | os.PathLike) else [Path(path) for path in study]
    numbers: dict[int, int] = {}
    places: dict[int, list[Path]] = {}
    for role, choice in (choices or {}).items():
        if isinstance(choice, int) or (isinstance(choice, str) and choice.isdecimal()):
            numbers[CHANNELS[role]] = int(choice)
        elif choice is not None:
            places[CHANNELS[role]] = _below(_resolved(Path(choice), given))
    paths = [file for path in given for file in _below(path)]
    paths = list(dict.fromkeys([*paths, *(file for files in places.values() for file in files)]))
    if not paths:
        raise SeriesError("There are no files to read. Give the folder or the files of one study.")
    name = given[0].resolve().name if len(given) == 1 else f"{len(paths)} files"
    files, unread = _sorted_by_kind(paths)
    nbytes = sum(len(file.data or b"") for kind in files.values() for file in kind)
    if files[DICOM] and files[NIFTI]:
        raise SeriesError("There are both DICOM and NIfTI files. Give the folder or the files of one kind.")
    if not (files[DICOM] or files[NIFTI]):
        if not files[PICTURES] and len(paths) > 1:
            raise SeriesError("There are no images that can be read. Give the folder or files of one study.")
        # Of an archive, reading itself says what it leaves out; of a lone file, why it cannot be read.
        there = {file.place for file in files[PICTURES]}
        taken = [file for file in (*files[PICTURES], *files[""]) if file.place in there]
        pictures = tuple(file if file.packed else file.place for file in taken) or tuple(paths)
        loose = [file for file in files[""] if not file.packed]
        notes = _left_out("images", len(loose), unread)
        return Contents(name, pictures=pictures, notes=notes, nbytes=nbytes)
    others, kind = len(files[""]) + len(files[PICTURES]), "NIfTI volumes"
    if files[DICOM]:
        volumes, errors = dicom_volumes(files[DICOM], strict=False)
        empty = sum(isinstance(error, NoPictureError) for error in errors)  # a report, a directory
        others, unread, kind = others + empty, unread + len(errors) - empty, "DICOM images"
    else:
        volumes = nifti_volumes(sorted(files[NIFTI], key=lambda file: natural(file.name)))
    pinned = {channel: _by_number(volumes.candidates, number) for channel, number in numbers.items()}
    for channel, named in places.items():
        pinned[channel] = _by_place(volumes, channel, set(named))
    return Contents(name, volumes, pinned, notes=_left_out(kind, others, unread), nbytes=nbytes)


def _left_out(kind: str, others: int, unread: int) -> tuple[str, ...]:
    """Sentences on the files of a study that are none of its images, and on those that are damaged."""
    notes = ((f"Files that are no {kind}", others), ("Files that could not be read", unread))
    return tuple(f"{files} were left out: {count}." for files, count in notes if count)


def _choose(candidates: Sequence[Candidate], pinned: Mapping[int, Candidate]) -> dict[int, Candidate]:
    """The candidate of each channel: the one that was named for it, else the one that fits best.

    Of several examinations, one has to be named; the rest is chosen among the volumes of the same.
    """
    named = {candidate.key: channel for channel, candidate in pinned.items()}
    if len(named) < len(pinned):
        raise SeriesError("One series was named for two sequences. Name each for the one that it is.")
    meant = {candidate.examination for candidate in pinned.values()}
    if not pinned and len({candidate.examination for candidate in candidates} - {""}) > 1:
        raise AmbiguousSeriesError(candidates, {}, numbered=True)
    left = []
    for candidate in candidates:
        if candidate.key in named:
            left.append(replace(candidate, guess=named[candidate.key], reason=""))
        elif candidate.guess not in pinned and (not pinned or candidate.examination in meant):
            left.append(candidate)
    if len(left) == 1 and (left[0].guess not in (FLAIR, None) or left[0].reason):
        raise AmbiguousSeriesError(candidates, {}, numbered=True)
    try:
        return choose(left)
    except AmbiguousSeriesError as error:
        raise AmbiguousSeriesError(candidates, error.chosen, numbered=True) from None


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
        folders[:] = sorted(name for name in folders if not is_noise(name))
        files += [Path(folder, name) for name in sorted(names, key=natural) if not is_noise(name)]
        if len(files) > MAX_STUDY_FILES:
            raise SeriesError(
                f"There are over {MAX_STUDY_FILES:,} files below {path.name}. Give the folder of one study."
            )
    return files


def _sorted_by_kind(paths: Sequence[Path]) -> tuple[dict[str, list[File]], int]:
    """Kind (`DICOM`, `NIfTI`, `pictures`, "" where it is none) → its files; and how many cannot be opened.

    Raises:
        SliceError: an archive is damaged, or all that is in archives takes too much memory.
    """
    files: dict[str, list[File]] = defaultdict(list)
    unread, left = 0, MAX_UNPACKED
    for path in paths:
        file = File(path.name.removesuffix(".gz"), path.name, None, place=path)
        try:
            start = file.start(NIFTI_HEADER)
        except SliceError:
            unread += 1
            continue
        packed = unpack([path], left=left) if start.startswith(ZIPPED) else []
        left -= sum(len(inner.whole()) for inner in packed)
        for inner in [replace(inner, place=path) for inner in packed] or [file]:
            try:
                kind = kind_of_series(inner.start(NIFTI_HEADER))
            except SliceError:
                kind = ""
            files[kind].append(inner)
    return files, unread


def _by_number(candidates: Sequence[Candidate], number: int) -> Candidate:
    for candidate in candidates:
        if candidate.number == number:
            return candidate
    listed = ", ".join(str(candidate.number) for candidate in candidates)
    raise SeriesError(f"There is no series {number}. These are there: {listed}.")


def _by_place(volumes: Volumes, channel: int, files: set[Path]) -> Candidate:
    """The candidate that comes from these files; of several, the one that seems to be the sequence."""
    there = [candidate for candidate in volumes.candidates if volumes.places[candidate.key] & files]
    fitting = [candidate for candidate in there if candidate.guess == channel] if len(there) > 1 else there
    if len(fitting) != 1:
        raise AmbiguousSeriesError(there or volumes.candidates, {}, numbered=True)
    return fitting[0]
