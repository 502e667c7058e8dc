"""The table of ablations: what each change costs, with intervals over patients."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lgg.metrics import bootstrap_interval
from train.ablations import MODES, VARIANTS, Run
from train.tables import header, line

COLUMNS = ("", "volume mean", "change", "slice-tumour", "slice statistics", "FLAIR only", "runs")


def ablation_table(runs: Sequence[Run]) -> str:
    """A line a variant; empty where there is none.

    The change is paired: the same patients and seeds, seeds averaged. Its 95 % interval says whether the
    patients, not the seeds, could have made the difference.
    """
    parts = []
    for recipe in dict.fromkeys(one.recipe for one in runs):
        mine = [one for one in runs if one.recipe == recipe]
        budgets: dict[tuple[int, int], list[str]] = {}
        for one in mine:
            budgets.setdefault((one.epochs, one.size), []).append(one.variant)
        # Most share a budget; those that do not are named.
        usual = max(budgets, key=lambda key: len(budgets[key]))
        budget = ", ".join(
            f"{epochs} epochs at {size} pixels"
            + ("" if (epochs, size) == usual else f" ({', '.join(dict.fromkeys(names))})")
            for (epochs, size), names in budgets.items()
        )
        lines = [header(COLUMNS)]
        for name in VARIANTS:
            if found := [one for one in mine if one.variant == name]:
                seeds = {one.seed for one in found}
                against = [one for one in mine if one.variant == VARIANTS[name].against and one.seed in seeds]
                lines.append(_line(name, found, against))
        parts.append(f"`{recipe}` recipe: {budget}.\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _line(name: str, found: Sequence[Run], against: Sequence[Run]) -> str:
    means = {mode: float(_volumes(found, mode).mean()) for mode in MODES}
    change = ""
    if against:
        differences = _volumes(found, "volume") - _volumes(against, "volume")
        low, high = bootstrap_interval(lambda some: float(np.mean(some)), list(differences))
        change = f"{differences.mean():+.3f} ({low:+.3f} to {high:+.3f})"
    tumour = float(np.mean([one.slice_tumour["volume"] for one in found]))
    figures = (means["volume"], tumour, means["slice"], means["flair"])
    first, *others = (f"{one:.3f}" for one in figures)
    return line([VARIANTS[name].words, first, change, *others, str(len(found))])


def _volumes(runs: Sequence[Run], mode: str) -> NDArray[np.float64]:
    """(patients,) Dice of each volume, the mean over runs."""
    means: NDArray[np.float64] = np.mean([one.volume[mode] for one in runs], axis=0)
    return means
