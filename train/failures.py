"""Where a cascade fails, in numbers and words: the worst patients and what seems to be the cause."""

from collections.abc import Sequence

from lgg.models import TITLES
from train.evaluate import Protocol
from train.results import PatientRow, Results
from train.tables import SIZES

#: A patient below this Dice is a failure worth a line.
POOR = 0.8
#: How much Dice the gate must cost a patient to be called a cause.
COSTLY = 0.05
#: Share of the slices with tumour, or of those without, that must be wrong to be called a cause.
MANY = 0.15


def failures(results: Results, protocol: Protocol) -> str:
    """A table a segmenter, the worst patient on top; "" where nobody was outlined poorly."""
    parts = []
    for model in dict.fromkeys(one.model for one in results.patients if one.protocol == protocol):
        own = [one for one in results.patients if (one.model, one.protocol) == (model, protocol)]
        poor = sorted((one for one in own if one.volume < POOR), key=lambda one: one.volume)
        if not poor:
            continue
        lines = [
            "| patient | site | tumour px | missing | Dice | without gate | seems to be the cause |",
            "|---" * 7 + "|",
        ]
        lines += [_line(one) for one in poor]
        parts += [f"**{TITLES[model]}**: {len(poor)} of {len(own)} patients below {POOR}.", "\n".join(lines)]
        parts.append(_summary(poor))
    return "\n\n".join(parts)


def causes(one: PatientRow) -> list[str]:
    """What seems to make a patient's Dice poor, the plainest first; several may hold."""
    found = []
    if _gate_cost(one) >= COSTLY:
        found.append(f"the gate vetoes slices with tumour, which costs {_gate_cost(one):.2f}")
    if one.tumour_slices and one.missed_slices / one.tumour_slices >= MANY:
        found.append(f"nothing outlined in {one.missed_slices} of {one.tumour_slices} slices with tumour")
    empty = one.slices - one.tumour_slices
    if empty and one.false_slices / empty >= MANY:
        found.append(f"something outlined in {one.false_slices} of {empty} slices without")
    if _small(one):
        found.append("a small tumour, of which a border's error is a large share")
    if one.missing != "none":
        found.append(f"no {one.missing}")
    return found or ["the outline itself: the right slices, another border"]


def _gate_cost(one: PatientRow) -> float:
    """The Dice that the gate's veto takes; 0 where nobody measured it."""
    return 0.0 if one.ungated is None else one.ungated - one.volume


def _small(one: PatientRow) -> bool:
    return one.tumour_pixels < next(iter(SIZES.values()))


def _line(one: PatientRow) -> str:
    ungated = "" if one.ungated is None else f"{one.ungated:.3f}"
    cells = (one.patient, one.site, f"{one.tumour_pixels:,}", one.missing, f"{one.volume:.3f}", ungated)
    return f"| {' | '.join((*cells, '; '.join(causes(one))))} |"


def _summary(poor: Sequence[PatientRow]) -> str:
    """How often each cause was named."""
    small, gate = sum(map(_small, poor)), sum(_gate_cost(one) >= COSTLY for one in poor)
    return f"Of these, {small} have a small tumour, and {gate} would be better without the gate."
