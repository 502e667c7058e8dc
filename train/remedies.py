"""Remedies on a series' answers instead of on the networks, judged on the validation patients.

Each patient is decided by thresholds that the other patients chose: a remedy is not rewarded for the freedom
that it brings along. The networks run once, each remedy then reads the same answers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit, logit

from lgg import metrics
from lgg.errors import DataError
from lgg.gating import drop_lone
from lgg.models import TITLES
from lgg.prediction import Maps
from lgg.weights import REPOSITORY_WEIGHTS
from train.records import load_records, save_records
from train.tables import header, line
from train.thresholds import objective, slice_worth

REMEDIES_FILE = REPOSITORY_WEIGHTS / "remedies.json"
BASE = "nothing"
MASKS = np.round(np.arange(0.2, 0.75, 0.1), 1)
GATES = np.round(np.arange(0, 0.75, 0.1), 1)
#: Hysteresis: so much below the mask's threshold, a pixel is tumour if it hangs together with a sure one.
REACH = 0.2
COLUMNS = ("", "remedy", "volume mean", "slice-tumour", "empty kept empty", "half of both")

Floats = NDArray[np.float32]
Masks = NDArray[np.bool_]


def at_threshold(probability: Floats, threshold: float) -> Masks:
    """Every pixel at or above the threshold."""
    return probability >= threshold


def hysteresis(probability: Floats, threshold: float) -> Masks:
    """Pixels `REACH` below the threshold too, where they hang together in 3D with one at or above it.

    Args:
        probability: (N, H, W), in slice order.
    """
    components, count = ndimage.label(probability >= threshold - REACH, np.ones((3, 3, 3)))
    sure = np.bincount(components[probability >= threshold], minlength=count + 1) > 0
    sure[0] = False
    return sure[components]


def average(weight: float) -> Callable[[Floats], Floats]:
    """Logits averaged with both neighbouring slices', which count `weight` times as much."""

    def averaged(probability: Floats) -> Floats:
        logits = logit(probability.astype(np.float64).clip(1e-4, 1 - 1e-4))
        total, count = logits.copy(), np.ones(len(logits))
        for to, neighbour in ((np.s_[1:], np.s_[:-1]), (np.s_[:-1], np.s_[1:])):
            total[to] += weight * logits[neighbour]
            count[to] += weight
        mean: Floats = expit(total / count.reshape(-1, *(1 for _ in logits.shape[1:]))).astype(np.float32)
        return mean

    return averaged


def largest(masks: Masks) -> Masks:
    """Only the largest component of a series."""
    components, count = ndimage.label(masks, np.ones((3, 3, 3)))
    if not count:
        return masks
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return components == sizes.argmax()


@dataclass(frozen=True)
class Remedy:
    """What is done to a series of N slices before and after its thresholds.

    Attributes:
        words: what to call it.
        gate: (N,) probabilities → (N,).
        pixels: (N, H, W) probabilities → (N, H, W).
        outline: probabilities and threshold → (N, H, W) masks, as if no gate vetoed them.
        tidy: masks behind the gate → masks.
    """

    words: str
    gate: Callable[[Floats], Floats] = lambda probability: probability
    pixels: Callable[[Floats], Floats] = lambda probability: probability
    outline: Callable[[Floats, float], Masks] = at_threshold
    tidy: Callable[[Masks], Masks] = drop_lone


REMEDIES: dict[str, Remedy] = {
    BASE: Remedy("nothing: as a series is read"),
    "gate": Remedy("the gate's answers averaged with both neighbours'", gate=average(0.5)),
    "pixels": Remedy("every pixel averaged with both neighbours'", pixels=average(0.5)),
    "hysteresis": Remedy("unsure pixels kept where they touch sure ones", outline=hysteresis),
    "largest": Remedy("only the largest component kept", tidy=largest),
}


@dataclass(frozen=True)
class Outcome:
    """What one remedy made of one network's answers.

    Attributes:
        model, remedy: names.
        volume: Dice of each patient.
        slice_tumour, empty_kept: over the slices of all patients.
    """

    model: str
    remedy: str
    volume: list[float]
    slice_tumour: float
    empty_kept: float

    @property
    def aim(self) -> float:
        """What thresholds are chosen by: half slice-tumour, half empty slices kept empty."""
        return (self.slice_tumour + self.empty_kept) / 2


def try_remedy(name: str, model: str, answers: Sequence[Maps], truths: Sequence[Masks]) -> Outcome:
    """Decide each patient by the thresholds that are best for all others.

    Args:
        name: of `REMEDIES`.
        model: whose answers these are.
        answers, truths: of each patient; two or more.

    Raises:
        DataError: no slice of theirs holds tumour, or none is empty: there is nothing to weigh against.
    """
    holds = [truth.any((1, 2)) for truth in truths]
    tumour = np.concatenate(holds)
    if tumour.all() or not tumour.any():
        raise DataError("Slices with tumour and slices without are needed among the validation patients'.")
    tables = [_every_threshold(REMEDIES[name], *one) for one in zip(answers, truths, strict=True)]
    chosen = []
    for patient, own in enumerate(tables):
        others = [one for one in range(len(tables)) if one != patient]
        theirs = np.concatenate([holds[one] for one in others])
        aims = [
            objective(np.concatenate([tables[one][number].worths for one in others]), theirs)
            for number in range(len(own))
        ]
        chosen.append(own[int(np.argmax(aims))])
    worths = np.concatenate([one.worths for one in chosen])
    return Outcome(
        model,
        name,
        [round(float(one.volume), 6) for one in chosen],
        round(float(worths[tumour].mean()), 6),
        round(float(worths[~tumour].mean()), 6),
    )


@dataclass(frozen=True)
class _Decided:
    """A patient under one pair of thresholds: Dice of the volume, and what each slice is worth."""

    volume: float
    worths: NDArray[np.float64]


def _every_threshold(remedy: Remedy, maps: Maps, truth: Masks) -> list[_Decided]:
    gate, probability = remedy.gate(maps.gate), remedy.pixels(maps.probability)
    found = []
    for threshold in MASKS:
        outlined = remedy.outline(probability, float(threshold))
        for passes in GATES:
            masks = remedy.tidy(outlined & (gate >= passes)[:, None, None])
            worths = [slice_worth(mask, other) for mask, other in zip(masks, truth, strict=True)]
            found.append(_Decided(metrics.dice(masks, truth), np.array(worths)))
    return found


def load_outcomes(path: Path = REMEDIES_FILE) -> list[Outcome]:
    """What was tried so far.

    Raises:
        DataError: the file is not one of ours.
    """
    return load_records(path, Outcome, "remedies")


def save_outcomes(outcomes: Sequence[Outcome], path: Path = REMEDIES_FILE) -> None:
    """Take outcomes in, in place of the same networks' before."""
    models = {one.model for one in outcomes}
    kept = [one for one in load_outcomes(path) if one.model not in models]
    order = list(TITLES)
    save_records(path, sorted([*kept, *outcomes], key=lambda one: order.index(one.model)))


def remedy_table(outcomes: Sequence[Outcome]) -> str:
    """A line a network and remedy; empty where there is none."""
    if not outcomes:
        return ""
    lines = [header(COLUMNS)]
    for one in outcomes:
        figures = (float(np.mean(one.volume)), one.slice_tumour, one.empty_kept, one.aim)
        lines.append(
            line([TITLES[one.model], REMEDIES[one.remedy].words, *(f"{value:.3f}" for value in figures)])
        )
    return "\n".join(lines)
