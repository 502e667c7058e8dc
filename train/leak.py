"""What figures by slice are worth: what others measured, and how far the same network falls by patient."""

from lgg.gating import Gating
from lgg.models import GATE, TITLES
from train.evaluate import HEADLINE, Protocol, Row
from train.results import Results
from train.score import Mode
from train.tables import GATE_COLUMNS, SEGMENTER_COLUMNS, networks, published, select

OTHERS = (
    "The reference and the Kaggle notebooks split like this: what they report is how well a network draws a "
    "tumour whose next slice it was trained on. Their mean over all slices also counts every empty slice "
    "that stays empty as 1, so that an all-empty prediction scores {empty:.1%}. The 96\u00a0% often quoted "
    "for the most voted notebook is a Dice summed a batch and divided by one batch too few: about "
    "{notebook:.1%} in the copy read."
)

NAMES = {"dice": "Dice", "loss": "loss"} | SEGMENTER_COLUMNS | GATE_COLUMNS
#: In a recipe's name, among what was changed: what kept the epoch.
KEPT_BY = "best by "


def leak(results: Results) -> str:
    """A paragraph: what the published figures by slice are, and the fall of each network we have both of.

    Of a reference network whose epoch was kept by another measure as well, it tells what that changes.
    """
    values = {one["who"]: one["value"] for one in published("slice")}
    words = OTHERS.format(
        empty=values["an all-empty prediction"],
        notebook=values["most voted Kaggle notebook, U-Net ResNeXt50"],
    )
    measured = networks(results, "slice")
    if falls := [fall for one in measured if (fall := _fall(results, *one))]:
        words += f" From slices to patients, {'; '.join(falls)}."
    if kept := [choice for one in measured if (choice := _choice(results, *one))]:
        words += (
            " The `reference` recipe keeps the epoch of the lowest validation loss, which need not be the "
            f"best one: {'; '.join(kept)}."
        )
    return words


def _choice(results: Results, model: str, recipe: str) -> str:
    """`ResNet18 gate kept by AUROC gets 0.91 instead of 0.85 (accuracy)`; empty unless both were measured."""
    name, _, changed = recipe.removesuffix(")").partition(" (")
    changes = changed.split(", ")
    by = [one.removeprefix(KEPT_BY) for one in changes if one.startswith(KEPT_BY)]
    if name != "reference" or not by:
        return ""
    others = ", ".join(one for one in changes if not one.startswith(KEPT_BY))
    # Without gate: each stands behind another one, whose own choice would be counted in.
    chosen = _figure(results, model, "slice", HEADLINE[1], recipe, "none")
    own = _figure(results, model, "slice", HEADLINE[1], f"{name} ({others})" if others else name, "none")
    if chosen is None or own is None:
        return ""
    measure = NAMES[own.measure] + ("" if model == GATE else ", no gate")
    kept = f"{TITLES[model]} kept by {NAMES[by[0]]}"
    return f"{kept} gets {chosen.value:.3f} instead of {own.value:.3f} ({measure})"


def _fall(results: Results, model: str, recipe: str) -> str:
    """`U-Net mini falls from 0.781 to 0.651 (slice-tumour)`; empty unless it was measured both ways."""
    # Slices picked one by one have no neighbours, so the patients' are decided apart as well.
    leaky = _figure(results, model, "slice", HEADLINE[1], recipe)
    honest = _figure(results, model, "patient", "apart", recipe)
    if leaky is None or honest is None:
        return ""
    return f"{TITLES[model]} falls from {leaky.value:.3f} to {honest.value:.3f} ({NAMES[leaky.measure]})"


def _figure(
    results: Results, model: str, protocol: Protocol, mode: Mode, recipe: str, cascade: Gating = HEADLINE[0]
) -> Row | None:
    """The one figure by which a network is compared: the gate's accuracy, else slice-tumour."""
    cascade = "none" if model == GATE else cascade
    measure = "accuracy" if model == GATE else "slice_tumour"
    return select(results.rows, model, protocol, cascade, mode, recipe).get(measure)
