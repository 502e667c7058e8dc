"""Several volumes of one patient: which is pre-contrast T1, which FLAIR, which post-contrast T1."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lgg.errors import SeriesError
from lgg.io.orientation import as_thick, axial_rank, describe, same_grid
from lgg.types import FLAIR, POST, PRE, SEQUENCES, Candidate, Found, Grid

#: What a caller may say that a volume is.
CHANNELS = {"pre": PRE, "flair": FLAIR, "post": POST}

#: Drawn by a person or a program, whatever else the name says.
MASK_WORDS = ("seg", "dseg", "probseg", "mask", "label", "roi")
FLAIR_WORDS = ("flair", "t2f", "tirm", "darkfluid")
#: Other sequences and maps, whose names may hold "T1" or "post" too.
OTHER_WORDS = (
    *("t2", "pd", "dwi", "adc", "diff", "dti", "swi", "swan", "perf", "dsc", "dce", "asl", "bold", "tof"),
    *("loc", "scout", "survey", "map", "field", "subtr", "mip", "phase", "stir", "cest", "rho"),
)
T1_WORDS = ("t1", "mprage", "spgr", "bravo", "pre", "post")
PRE_WORDS = ("pre", "non", "nativ", "without", "unenhanced", "t1n")
POST_WORDS = ("post", "gd", "gad", "contrast", "enhanced", "ce", "km", "t1c", "t1gd", "t1post", "t1km")
#: Of BIDS: who and when, which may be called anything.
BIDS_PERSON = re.compile(r"^sub-[a-z0-9]+_(ses-[a-z0-9]+_)?")

#: Values of ImageType that no scan of the three sequences has.
LOCALIZER = "LOCALIZER"
MAP_TYPES = frozenset(
    (
        *("ADC", "FA", "TRACE", "TRACEW", "DIFFUSION", "SUB", "SUBTRACTION", "MIP", "MINIP", "MIN IP"),
        *("PROJECTION IMAGE", "T1 MAP", "T2 MAP", "PHASE MAP", "PHASE", "P", "MOSAIC", "FMRI", "ASL"),
        *("PERFUSION", "CBF", "CBV", "MTT", "TTP", "SCREEN SAVE", "SCREENSHOT"),
    )
)
#: Texts that say that no agent was given.
NO_AGENT = ("", "no", "none", "n", "n/a", "na", "0", "-", "without")

#: Milliseconds. Fluid is nulled by an inversion at 1,600 (in 3D) to 2,800; FLAIR's echo is late.
FLAIR_INVERSION, LATE_ECHO = 1200.0, 60.0
#: T1 has short echoes: of spin echoes, and of gradient echoes, among which T2* begins above.
SPIN_ECHO, GRADIENT_ECHO = 40.0, 9.0
#: Repetition up to which a spin echo without inversion is weighted by T1, and not by proton density.
SHORT_REPETITION = 1300.0

#: Of two series, the one that covers less than this share of the other's height is not complete.
COMPLETE = 0.9
#: And below this share it was stopped early.
HALF_COMPLETE = 0.6
#: What was done with a volume that needed nothing.
AS_IT_IS = "read as it is"
#: Lines of a message that lists volumes; and volumes that one names in a sentence.
LONGEST_LIST, FEW = 40, 8


@dataclass(frozen=True)
class Parameters:
    """How a DICOM series was taken.

    Attributes:
        echo, repetition, inversion: times in milliseconds; None where they are not told.
        technique: the values of ScanningSequence: `SE`, `IR`, `GR`, `EP`.
        agent: what ContrastBolusAgent says.
        image_type: the values of ImageType, upper case.
        weighting: AcquisitionContrast, which enhanced files tell: `FLUID_ATTENUATED`, `T1` …
    """

    echo: float | None = None
    repetition: float | None = None
    inversion: float | None = None
    technique: tuple[str, ...] = ()
    agent: str = ""
    image_type: tuple[str, ...] = ()
    weighting: str = ""

    @property
    def contrast(self) -> bool:
        """Whether a contrast agent was given."""
        return self.agent.strip().lower() not in NO_AGENT

    @property
    def kind(self) -> str:
        """What the times make of it: "FLAIR", "T1" or "other"; "" where they do not tell."""
        if self.weighting not in ("", "UNKNOWN", "MIXED"):
            return {"FLUID_ATTENUATED": "FLAIR", "T1": "T1"}.get(self.weighting, "other")
        if "EP" in self.technique:
            return "other"
        if self.echo is None or self.repetition is None:
            return ""
        if self.echo >= LATE_ECHO:
            if self.inversion:
                return "FLAIR" if self.inversion >= FLAIR_INVERSION else "other"
            # Where the inversion is not told, T2 and FLAIR look alike.
            return "FLAIR" if "IR" in self.technique else ""
        gradient = "GR" in self.technique and "SE" not in self.technique
        if gradient:
            return "T1" if self.echo <= GRADIENT_ECHO else "other"
        short = self.repetition <= SHORT_REPETITION or 0 < (self.inversion or 0) < FLAIR_INVERSION
        return "T1" if self.echo <= SPIN_ECHO and short else "other"


def recognise_series(label: str, parameters: Parameters) -> tuple[int | None, str]:
    """The channel of a DICOM series by how it was taken and what the scanner calls it.

    Returns:
        PRE, FLAIR, POST or None; and why it is certainly none of these, or "".
    """
    words, kind = _Words(label), parameters.kind
    if LOCALIZER in parameters.image_type or words.named(("loc", "scout", "survey")):
        return None, "a localiser"
    if MAP_TYPES.intersection(parameters.image_type):
        return None, "a map"
    if kind == "other" or words.named(MASK_WORDS) or (words.named(OTHER_WORDS) and not words.flair):
        return None, "another sequence"
    if kind == "FLAIR" or (words.flair and not kind):
        return FLAIR, ""
    if kind == "T1" or words.named(T1_WORDS):
        told = words.contrast
        return (POST if parameters.contrast else PRE) if told is None else told, ""
    return None, ""


def recognise_file(name: str) -> tuple[int | None, str]:
    """The channel that the name of a NIfTI file suggests.

    FLAIR by its name; T1 by its name, post-contrast where contrast is named and not denied.

    Returns:
        PRE, FLAIR or POST; None where the name says nothing, or another sequence; and why, or "".
    """
    words = _Words(BIDS_PERSON.sub("", name.lower()))
    if words.named(MASK_WORDS):
        return None, "a mask"
    if words.flair:
        return FLAIR, ""
    if words.named(OTHER_WORDS):
        return None, "another sequence"
    if not words.named(T1_WORDS):
        return None, ""
    return PRE if words.contrast is None else words.contrast, ""


class _Words:
    """The words of a label, lower case."""

    def __init__(self, label: str) -> None:
        self.text = label.lower().replace("w/o", "without").replace("+c", " contrast")
        self.words = re.findall("[a-z]+[0-9]*[a-z]*", self.text)

    def named(self, beginnings: tuple[str, ...]) -> bool:
        """Whether a word begins so."""
        return any(word.startswith(beginnings) for word in self.words)

    @property
    def flair(self) -> bool:
        return "flair" in self.text or self.named(FLAIR_WORDS)

    @property
    def contrast(self) -> int | None:
        """PRE where contrast is denied, POST where it is named, else None."""
        if self.named(PRE_WORDS):
            return PRE
        return POST if self.named(POST_WORDS) or "c" in self.words else None


def choose(
    candidates: Sequence[Candidate], assignment: Mapping[str, str] | None = None
) -> dict[int, Candidate]:
    """The candidate of each channel; FLAIR is always among them.

    One candidate alone is FLAIR. Of several, those are taken that seem to be one of the sequences; of two of
    one sequence the better: scanned and not reformatted, on the FLAIR's grid, with slices as thick as the
    FLAIR's, axial, complete.

    Args:
        assignment: candidate's key → `pre`, `flair` or `post`; it alone decides where it is given.

    Raises:
        AmbiguousSeriesError: none is FLAIR, or two of one sequence fit equally; it holds them all.
        SeriesError: the assignment names a candidate or a sequence that is not there.
    """
    if assignment:
        keys = {candidate.key: candidate for candidate in candidates}
        if not set(assignment) <= set(keys) or not set(assignment.values()) <= set(CHANNELS):
            raise SeriesError("The sequences were chosen for other files. Choose them again.")
        pairs = [(CHANNELS[sequence], keys[key]) for key, sequence in assignment.items()]
        chosen = dict(pairs)
        if len(chosen) < len(pairs) or FLAIR not in chosen:
            raise AmbiguousSeriesError(candidates, chosen)
        return chosen
    if len(candidates) == 1:
        return {FLAIR: candidates[0]}
    chosen = {}
    for channel in (FLAIR, PRE, POST):
        fitting = [volume for volume in candidates if volume.guess == channel]
        best = _best(fitting, chosen[FLAIR].grid if channel != FLAIR else None)
        if len(best) > 1 or (channel == FLAIR and not best):
            raise AmbiguousSeriesError(candidates, {**chosen, **({channel: best[0]} if best else {})})
        if best:
            chosen[channel] = best[0]
    return chosen


def _best(fitting: Sequence[Candidate], flair: Grid | None) -> list[Candidate]:
    """Those of one sequence that suit best: one, unless several fit equally."""

    def suits(volume: Candidate) -> tuple[bool | int, ...]:
        grid = volume.grid
        if grid is None:
            return (False,)
        like = flair is not None and as_thick(flair, grid)
        same = flair is not None and same_grid(flair, grid)
        return True, volume.original, same, like, axial_rank(grid)

    # A scan that was stopped early first of all, however well it would suit.
    best = _tallest(fitting, HALF_COMPLETE)
    most = max(map(suits, best), default=())
    return _tallest([volume for volume in best if suits(volume) == most], COMPLETE)


def _tallest(volumes: Sequence[Candidate], share: float) -> list[Candidate]:
    """Those that reach at least this share of the tallest one's height."""
    heights = [_height(volume.grid) for volume in volumes]
    least = share * max(heights, default=0.0)
    return [volume for volume, height in zip(volumes, heights, strict=True) if height >= least]


def _height(grid: Grid | None) -> float:
    """Millimetres from the lowest to the highest slice."""
    if grid is None or grid.distances is None:
        return 0.0
    return grid.shape[grid.order[0]] * grid.distances[0]


def found(
    candidates: Sequence[Candidate], chosen: Mapping[int, Candidate], done: Mapping[int, str]
) -> tuple[Found, ...]:
    """What became of each candidate; of those between which somebody has to choose, nothing yet.

    Args:
        done: channel → what was done with the candidate that was chosen for it.
    """
    channels = {candidate.key: channel for channel, candidate in chosen.items()}
    rows = []
    for candidate in candidates:
        channel = channels.get(candidate.key)
        if channel is not None:
            sequence, what = SEQUENCES[channel], done[channel]
        elif candidate.reason or candidate.guess is None:
            sequence, what = "", f"left out: {candidate.reason or 'not recognised'}"
        elif candidate.guess not in chosen:
            sequence, what = SEQUENCES[candidate.guess], "not read until it is chosen"
        else:
            sequence, what = "", f"left out: another {SEQUENCES[candidate.guess]} was taken"
        grid = describe(candidate.grid) if candidate.grid else ""
        rows.append(Found(candidate.number, candidate.label, sequence, grid, what))
    return tuple(rows)


class AmbiguousSeriesError(SeriesError):
    """Several volumes, and no telling which is which.

    Attributes:
        candidates: those to choose from.
        chosen: channel → the candidate that was settled, or one of those that fit equally.
    """

    def __init__(
        self, candidates: Sequence[Candidate], chosen: Mapping[int, Candidate], numbered: bool = False
    ) -> None:
        """`numbered`: whether the message lists the candidates by numbers, as for a study on the disk."""
        self.candidates, self.chosen = tuple(candidates), dict(chosen)
        why = "Some seem to be the same sequence" if FLAIR in chosen else "None of them is known to be FLAIR"
        if numbered:
            super().__init__(_numbered(candidates, why))
            return
        names = ", ".join(
            f"“{volume.label}”" + (f" ({volume.reason})" if volume.reason else "")
            for volume in self.candidates[:FEW]
        )
        more = f" and {len(candidates) - FEW} more" if len(candidates) > FEW else ""
        super().__init__(
            f"These volumes are there: {names}{more}. {why}. "
            f"Say which is {SEQUENCES[PRE]}, {SEQUENCES[FLAIR]} and {SEQUENCES[POST]}, or give FLAIR alone."
        )


def _numbered(candidates: Sequence[Candidate], why: str) -> str:
    """A message that lists candidates by their numbers, examination by examination."""
    by_examination: dict[str, list[Candidate]] = {}
    for volume in candidates:
        by_examination.setdefault(volume.examination, []).append(volume)
    several = len(by_examination) > 1
    if several:
        why = f"There are {len(by_examination)} examinations. Give the folder of one, or its series"
    lines = [f"{why}. Choose by flair=, pre= and post= (--flair …), each a number or a path:"]
    for number, volumes in enumerate(by_examination.values(), start=1):
        lines += [f"  Examination {number}:"] if several else []
        lines += [f"  {volume.number}: {_line(volume)}" for volume in volumes]
    more = len(lines) - LONGEST_LIST
    return "\n".join(lines[:LONGEST_LIST] + ([f"  and {more} more"] if more > 0 else []))


def _line(volume: Candidate) -> str:
    """A candidate in a list: its label, its grid, and what it seems to be."""
    seems = SEQUENCES[volume.guess] if volume.guess is not None else volume.reason
    return ", ".join(part for part in (volume.label, volume.grid and describe(volume.grid), seems) if part)
