"""What figures by slice are worth: what others measured, and how far the same network falls by patient."""

from lgg.models import GATE, TITLES
from train.evaluate import HEADLINE, Protocol, Row
from train.results import Results
from train.score import Mode
from train.tables import networks, published, select

OTHERS = (
    "The reference and the Kaggle notebooks split like this: what they report is how well a network draws a "
    "tumour whose next slice it was trained on. Their mean over all slices also counts every empty slice "
    "that stays empty as 1, so that an all-empty prediction scores {empty:.1%}. The 96\u00a0% often quoted "
    "for the most voted notebook is a Dice summed a batch and divided by one batch too few: about "
    "{notebook:.1%} in the copy read."
)


def leak(results: Results) -> str:
    """A paragraph: what the published figures by slice are, and the fall of each network we have both of."""
    values = {one["who"]: one["value"] for one in published("slice")}
    words = OTHERS.format(
        empty=values["an all-empty prediction"],
        notebook=values["most voted Kaggle notebook, U-Net ResNeXt50"],
    )
    falls = [fall for model, recipe in networks(results, "slice") if (fall := _fall(results, model, recipe))]
    return f"{words} From slices to patients, {'; '.join(falls)}." if falls else words


def _fall(results: Results, model: str, recipe: str) -> str:
    """`U-Net mini falls from 0.781 to 0.651 (slice-tumour)`; empty unless it was measured both ways."""
    gating, together = HEADLINE
    measure, name = ("accuracy", "accuracy") if model == GATE else ("slice_tumour", "slice-tumour")

    def figure(protocol: Protocol, mode: Mode) -> Row | None:
        cascade = "none" if model == GATE else gating
        return select(results.rows, model, protocol, cascade, mode, recipe).get(measure)

    # Slices picked one by one have no neighbours, so the patients' are decided apart as well.
    leaky, honest = figure("slice", together), figure("patient", "apart")
    if leaky is None or honest is None:
        return ""
    return f"{TITLES[model]} falls from {leaky.value:.3f} to {honest.value:.3f} ({name})"
