"""Markdown tables of the results, for README, `docs/results.md` and whoever else quotes them."""

import json
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lgg.metrics import bootstrap_interval
from lgg.models import BUILDERS, GATE, TITLES, build, parameters
from lgg.postprocess import Gating
from lgg.weights import ModelConfig
from train.ablation import MODES as ABLATION_MODES
from train.ablation import VARIANTS, Run
from train.evaluation.evaluate import HEADLINE, Protocol, Row
from train.evaluation.patient_metrics import Mode
from train.evaluation.results import GateSlices, PatientRow, Results

SEGMENTER_COLUMNS = {
    "volume_mean": "volume mean",
    "volume_median": "volume median",
    "slice_tumour": "slice-tumour",
    "slice_all_268_125": "slice-all 268:125",
    "pooled": "pooled",
    "empty_kept": "empty kept empty",
}
GATE_COLUMNS = {"auroc": "AUROC", "accuracy": "accuracy", "recall_tumour": "recall", "ece": "ECE"}
#: Bounds of tumour volume in pixels over all slices of 256×256: about a third of the patients each.
SIZES = {"small, below 15,000 px": 15_000, "medium, to 45,000 px": 45_000, "large, above": float("inf")}
MODES = {
    "volume": "volume statistics",
    "apart": "volume statistics, slices decided apart",
    "slice": "slice statistics",
    "flair": "FLAIR only",
    "tta": "flip TTA",
}


def networks(results: Results, protocol: Protocol) -> list[tuple[str, str]]:
    """(architecture, recipe) of each network that was measured by a protocol, in the registry's order."""
    found = {(one.model, one.recipe) for one in results.rows if one.protocol == protocol}
    return sorted(found, key=lambda one: (list(BUILDERS).index(one[0]), one[1]))


def title(model: str, recipe: str, results: Results, protocol: Protocol) -> str:
    """A network for people; with its recipe where results by one protocol are of several."""
    several = len({one for _, one in networks(results, protocol)}) > 1
    return f"{TITLES[model]}, {recipe} recipe" if several else TITLES[model]


def headline_tables(results: Results, configs: Sequence[ModelConfig], protocol: Protocol = "patient") -> str:
    """Segmenters in the headline mode, then the gates, by one protocol; empty where nothing was measured.

    Args:
        configs: of the weights that ship; other networks are built to count their parameters.
    """
    gating, mode = HEADLINE
    parts = []
    counts = {one.architecture: one.parameters for one in configs}
    # Of single slices there is no volume.
    segmenter = {
        k: v for k, v in SEGMENTER_COLUMNS.items() if protocol != "slice" or not k.startswith("volume")
    }
    for gates, columns in ((False, segmenter), (True, GATE_COLUMNS)):
        lines = [header(["", "parameters", *columns.values()])]
        for model, recipe in networks(results, protocol):
            found = select(results.rows, model, protocol, "none" if gates else gating, mode, recipe)
            if (model == GATE) != gates or not set(columns) <= set(found):
                continue
            cells = [interval(found[name]) for name in columns]
            name = f"{title(model, recipe, results, protocol)} (`{model}`)"
            count = counts.get(model) or parameters(build(model))
            lines.append(line([name, f"{count / 1e6:.2f} M", *cells]))
        if len(lines) > 1:
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def published(protocol: Protocol) -> list[dict[str, Any]]:
    """What others report by one protocol: who, measure, value, note."""
    everything = json.loads((resources.files("train.report") / "published.json").read_text())
    return [one for one in everything if one["protocol"] == protocol]


def published_table(protocol: Protocol) -> str:
    """What others report by one protocol."""
    lines = [header(["published", "measure", "value", ""])]
    for one in published(protocol):
        measure = SEGMENTER_COLUMNS.get(one["measure"], one["measure"])
        lines.append(line([one["who"], measure, f"{one['value']:g}", one["note"]]))
    return "\n".join(lines)


def mode_table(results: Results, model: str, protocol: Protocol, recipe: str | None = None) -> str:
    """One segmenter in every cascade and mode: volume mean, slice-tumour and empty slices kept empty."""
    shown = ("slice_all_268_125" if protocol == "slice" else "volume_mean", "slice_tumour", "empty_kept")
    lines = [header(["", "", *(SEGMENTER_COLUMNS[name] for name in shown)])]
    for mode, words in MODES.items():
        for gating, gate in (("hard", "hard gate"), ("soft", "soft gate"), ("none", "no gate")):
            found = select(results.rows, model, protocol, gating, mode, recipe)
            if set(shown) <= set(found):
                lines.append(line([words, gate, *(interval(found[name]) for name in shown)]))
    return "\n".join(lines)


def gate_mode_table(results: Results, protocol: Protocol, recipe: str) -> str:
    """One gate in every mode; it judges a slice without its neighbours, so none is decided apart."""
    lines = [header(["", *GATE_COLUMNS.values()])]
    for mode, words in MODES.items():
        found = select(results.rows, GATE, protocol, "none", mode, recipe)
        if mode != "apart" and set(GATE_COLUMNS) <= set(found):
            lines.append(line([words, *(interval(found[name]) for name in GATE_COLUMNS)]))
    return "\n".join(lines)


def threshold_table(results: Results, protocol: Protocol) -> str:
    """What choosing the mask's threshold is worth: Dice over all pixels, no gate; empty if not measured."""
    counts = [one for one in results.pixels if one.protocol == protocol]
    lines = [header(["", "chosen", "pooled at 0.5", "at the chosen", "at the best in hindsight"])]
    for one in counts:
        dice = one.dice()
        half, chosen, best = len(dice) // 2, round(one.threshold * len(dice)), int(np.argmax(dice))
        name = title(one.model, one.recipe, results, protocol)
        hindsight = f"{dice[best]:.3f} (threshold {best / len(dice):g})"
        lines.append(
            line([name, f"{one.threshold:g}", f"{dice[half]:.3f}", f"{dice[chosen]:.3f}", hindsight])
        )
    return "\n".join(lines) if counts else ""


def patient_table(results: Results, protocol: Protocol) -> str:
    """Volume Dice of each patient by every segmenter, the worst on top."""
    models = list(dict.fromkeys(one.model for one in results.patients if one.protocol == protocol))
    patients: dict[str, dict[str, PatientRow]] = {}
    for one in results.patients:
        if one.protocol == protocol:
            patients.setdefault(one.patient, {})[one.model] = one
    lines = [
        header(["patient", "slices (tumour)", "tumour px", "missing", *(TITLES[name] for name in models)])
    ]
    for name, found in sorted(patients.items(), key=lambda item: min(one.volume for one in item[1].values())):
        any_of = next(iter(found.values()))
        cells = [f"{found[model].volume:.3f}" if model in found else "" for model in models]
        what = [f"{any_of.slices} ({any_of.tumour_slices})", f"{any_of.tumour_pixels:,}", any_of.missing]
        lines.append(line([name, *what, *cells]))
    return "\n".join(lines)


def group_tables(results: Results, protocol: Protocol) -> str:
    """Mean volume Dice by site, by size of the tumour and by missing sequence."""
    groups: dict[str, Callable[[PatientRow], str]] = {
        "site": lambda one: one.site or "unknown",
        "tumour": lambda one: next(name for name, bound in SIZES.items() if one.tumour_pixels < bound),
        "missing sequence": lambda one: one.missing,
    }
    rows = [one for one in results.patients if one.protocol == protocol]
    models = list(dict.fromkeys(one.model for one in rows))
    tables = []
    for title, key in groups.items():
        lines = [header([title, "patients", *(TITLES[name] for name in models)])]
        names = sorted(
            {key(one) for one in rows},
            key=lambda name: (list(SIZES).index(name) if name in SIZES else 0, name),
        )
        for name in names:
            inside = [
                [one.volume for one in rows if one.model == model and key(one) == name] for model in models
            ]
            cells = [f"{np.mean(one):.3f}" if one else "" for one in inside]
            lines.append(line([name, str(max(map(len, inside))), *cells]))
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def gate_report(gate: GateSlices) -> str:
    """The gate's classification report in the form in which the reference prints its own."""
    from sklearn.metrics import classification_report  # brings pandas: every command would wait for it

    says = np.array(gate.probability) >= np.array(gate.threshold)
    return str(
        classification_report(gate.tumour, says, target_names=["no tumour", "tumour"], zero_division=0)
    )


def select(
    rows: Iterable[Row], model: str, protocol: str, cascade: str, mode: str, recipe: str | None = None
) -> dict[str, Row]:
    """Measure → its row; without a recipe, of several the one that was listed last."""
    wanted = (model, protocol, cascade, mode)
    return {
        one.measure: one
        for one in rows
        if (one.model, one.protocol, one.cascade, one.mode) == wanted
        and one.value is not None
        and recipe in (None, one.recipe)
    }


def interval(row: Row | dict[str, Any]) -> str:
    """`0.812 (0.790–0.840)`."""
    value, low, high = (
        row[k] if isinstance(row, dict) else getattr(row, k) for k in ("value", "low", "high")
    )
    return f"{value:.3f} ({low:.3f}–{high:.3f})" if low is not None and high is not None else f"{value:.3f}"


def header(cells: Sequence[str]) -> str:
    """The first two lines of a Markdown table."""
    return line(cells) + "\n" + "|---" * len(cells) + "|"


def line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


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
    means = {mode: float(_volumes(found, mode).mean()) for mode in ABLATION_MODES}
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
        lines += [_patient_line(one) for one in poor]
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


def _patient_line(one: PatientRow) -> str:
    ungated = "" if one.ungated is None else f"{one.ungated:.3f}"
    cells = (one.patient, one.site, f"{one.tumour_pixels:,}", one.missing, f"{one.volume:.3f}", ungated)
    return f"| {' | '.join((*cells, '; '.join(causes(one))))} |"


def _summary(poor: Sequence[PatientRow]) -> str:
    """How often each cause was named."""
    small, gate = sum(map(_small, poor)), sum(_gate_cost(one) >= COSTLY for one in poor)
    return f"Of these, {small} have a small tumour, and {gate} would be better without the gate."


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
