"""Markdown tables of the results, for README, `docs/results.md` and whoever else quotes them."""

import json
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from typing import Any

import numpy as np

from lgg.models import BUILDERS, GATE, TITLES, build, parameters
from lgg.weights import ModelConfig
from train.evaluate import HEADLINE, Protocol, Row
from train.results import GateSlices, PatientRow, Results

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
    everything = json.loads((resources.files("train") / "published.json").read_text())
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
