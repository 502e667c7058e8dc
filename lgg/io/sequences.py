"""Several volumes of one patient: which is pre-contrast T1, FLAIR, post-contrast T1, and all in one array."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError
from lgg.types import FLAIR, POST, PRE, SEQUENCES, Candidate

#: What a caller may say that a volume is.
CHANNELS = {"pre": PRE, "flair": FLAIR, "post": POST}

FLAIR_WORDS = ("flair", "t2f", "tirm", "darkfluid")
#: Other sequences, maps and masks, whose names may hold "T1" or "post" too.
OTHER_WORDS = (
    *("t2", "pd", "dwi", "adc", "diff", "dti", "swi", "swan", "perf", "dsc", "dce", "asl", "bold", "tof"),
    *("loc", "scout", "survey", "seg", "mask", "label", "map"),
)
T1_WORDS = ("t1", "mprage", "spgr", "bravo", "pre", "post")
PRE_WORDS = ("pre", "non", "nativ", "without", "unenhanced", "t1n")
POST_WORDS = ("post", "gd", "gad", "contrast", "enhanced", "ce", "km", "t1c", "t1gd", "t1post", "t1km")


def guess(label: str) -> int | None:
    """The channel that the name of a file, or a scanner's description of a series, suggests.

    FLAIR by its name; T1 by its name, post-contrast where contrast is named and not denied.

    Returns:
        PRE, FLAIR or POST; None where the name says another sequence, or nothing.
    """
    text = label.lower().replace("w/o", "without").replace("+c", " contrast")
    words = re.findall("[a-z]+[0-9]*[a-z]*", text)

    def named(beginnings: tuple[str, ...]) -> bool:
        return any(word.startswith(beginnings) for word in words)

    if "flair" in text or named(FLAIR_WORDS):
        return FLAIR
    if named(OTHER_WORDS) or not named(T1_WORDS):
        return None
    if named(PRE_WORDS):
        return PRE
    return POST if named(POST_WORDS) or "c" in words else PRE


def choose(
    candidates: Sequence[Candidate], assignment: Mapping[str, str] | None = None
) -> dict[int, Candidate]:
    """The candidate of each channel; FLAIR is always among them.

    One candidate alone is FLAIR. Of several, those are taken whose labels say what they are.

    Args:
        assignment: candidate's key → `pre`, `flair` or `post`; it alone decides where it is given.

    Raises:
        AmbiguousSeriesError: none, or more than one, is FLAIR, or two are the same T1; it holds them all.
        SeriesError: the assignment names a candidate or a sequence that is not there.
    """
    if assignment:
        keys = {candidate.key: candidate for candidate in candidates}
        if not set(assignment) <= set(keys) or not set(assignment.values()) <= set(CHANNELS):
            raise SeriesError("The sequences were chosen for other files. Choose them again.")
        pairs = [(CHANNELS[sequence], keys[key]) for key, sequence in assignment.items()]
    elif len(candidates) == 1:
        pairs = [(FLAIR, candidates[0])]
    else:
        pairs = [(volume.guess, volume) for volume in candidates if volume.guess is not None]
    chosen = dict(pairs)
    if len(chosen) < len(pairs) or FLAIR not in chosen:
        raise AmbiguousSeriesError(candidates, chosen)
    return chosen


def left_out_note(what: str, candidates: Sequence[Candidate], chosen: Mapping[int, Candidate]) -> list[str]:
    """A sentence on the candidates that were not chosen, if there are any; `what` they are in the plural."""
    left_out = len(candidates) - len(chosen)
    return [f"Further {what} in the upload were left out: {left_out}."] if left_out > 0 else []


def combine(sequences: dict[int, NDArray[np.float32]], source: str) -> NDArray[np.float32]:
    """One (N, H, W, 3) array of the sequences (channel → (N, H, W)); FLAIR where one is missing.

    Args:
        source: what a message calls it.

    Raises:
        SeriesError: a voxel is not finite, or all of them are equal.
    """
    flair = sequences[FLAIR]
    pixels = np.empty((*flair.shape, 3), np.float32)
    for channel in range(3):
        pixels[..., channel] = sequences.get(channel, flair)
    check_content(pixels, source)
    return pixels


def check_content(pixels: NDArray[np.float32], source: str) -> None:
    """Refuse what no network could use.

    Raises:
        SeriesError: as for `combine`.
    """
    if not np.isfinite(pixels).all():
        raise SeriesError(
            f"{source}: some voxels are NaN or infinite. Replace them and save the series again."
        )
    if (pixels == pixels[:1, :1, :1]).all():
        pixel, what = ("pixel", "slice") if len(pixels) == 1 else ("voxel", "series")
        raise SeriesError(
            f"{source}: every {pixel} has the same value: there is nothing to see. Choose another {what}."
        )


class AmbiguousSeriesError(SeriesError):
    """Several volumes, and no telling which is which; `candidates` are those to choose from."""

    def __init__(self, candidates: Sequence[Candidate], chosen: Mapping[int, Candidate]) -> None:
        self.candidates = tuple(candidates)
        what = (
            "None of them is known to be FLAIR"
            if FLAIR not in chosen
            else "Some seem to be the same sequence"
        )
        names = ", ".join(f"“{volume.label}”" for volume in self.candidates[:8])
        more = f" and {len(self.candidates) - 8} more" if len(self.candidates) > 8 else ""
        super().__init__(
            f"There are {len(self.candidates)} volumes: {names}{more}. {what}. "
            f"Say which is {SEQUENCES[PRE]}, {SEQUENCES[FLAIR]} and {SEQUENCES[POST]}, or upload FLAIR alone."
        )
