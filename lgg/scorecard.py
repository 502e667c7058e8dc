"""Figures side by side, as HTML: an outline against a ground truth, architectures against each other."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lgg import metrics, report
from lgg.cascade import Cascade
from lgg.models import SEGMENTERS, TITLES
from lgg.prediction import Prediction
from lgg.table import table_html
from lgg.uncertainty import agreement
from lgg.volume import SeriesResult
from lgg.weights import REPOSITORY_WEIGHTS

#: Written by `python -m train.benchmark`; it goes where the weights go.
BENCHMARK = "benchmark.json"
MISSING = "–"


def truth_html(prediction: Prediction, truth: NDArray[np.bool_]) -> str:
    """Dice, IoU and HD95 of an outline against a ground truth of the same (H, W)."""
    both = prediction.mask.any() and truth.any()
    distance = (
        f"{metrics.hd95(prediction.mask, truth):.1f}\u00a0px" if both else "not defined: one of them is empty"
    )
    if not prediction.mask.any() and not truth.any():
        distance = "not defined: both are empty"
    cells = [
        ("Dice", f"{metrics.dice(prediction.mask, truth):.3f}", "1: the same, 0: nothing in common"),
        ("IoU", f"{metrics.iou(prediction.mask, truth):.3f}", "shared area over joint area"),
        ("HD95", distance, "95th percentile of the outlines' distance"),
        (
            "Pixels",
            f"{np.count_nonzero(prediction.mask & truth):,} agreed",
            f"{np.count_nonzero(truth & ~prediction.mask):,} missed, "
            f"{np.count_nonzero(prediction.mask & ~truth):,} invented",
        ),
    ]
    return f"<h3>Against the ground truth</h3>{report.facts_list(cells)}"


def series_truth_html(result: SeriesResult, truth: NDArray[np.bool_]) -> str:
    """Dice and IoU of a whole series' outline against a ground truth of the same (N, H, W)."""
    masks = result.masks
    found, there = masks.any((1, 2)), truth.any((1, 2))
    touched = (masks & truth).any((1, 2))
    slices = metrics.slice_dices(masks[there], truth[there])
    cells = [
        ("Dice", f"{metrics.dice(masks, truth):.3f}", "of the volume; 1: the same, 0: nothing in common"),
        ("IoU", f"{metrics.iou(masks, truth):.3f}", "shared volume over joint volume"),
        (
            "Dice of slices",
            f"{slices.mean():.3f}" if there.any() else MISSING,
            f"mean of the {np.count_nonzero(there)} slices with tumour",
        ),
        (
            "Slices",
            f"{np.count_nonzero(touched)} agreed",
            f"{np.count_nonzero(there & ~touched)} missed, {np.count_nonzero(found & ~there)} invented",
        ),
    ]
    return f"<h3>Against the ground truth</h3>{report.facts_list(cells)}"


def comparison_html(found: Sequence[tuple[Cascade, Prediction]]) -> str:
    """A row an architecture, and how far their outlines agree."""
    rows = [
        (
            report.model(cascade),
            report.verdict(prediction).headline,
            f"{prediction.area:,}\u00a0px",
            report.percent(prediction.head_percent / 100),
            f"{sum(prediction.milliseconds.values()):,.0f}\u00a0ms",
        )
        for cascade, prediction in found
    ]
    words = ""
    if len(found) > 1:
        dice = agreement([prediction.mask for _, prediction in found])
        words = f"<p>Mean Dice between their outlines: <strong>{dice:.3f}</strong>. {_how_close(dice)}</p>"
    head = ("Architecture", "Verdict", "Area", "Of the head", "Time")
    return table_html("The architectures on this slice", head, rows) + words


def architectures_html(cascades: Mapping[str, Cascade], reasons: Mapping[str, str]) -> str:
    """All architectures: size, speed, Dice on test patients; what cannot be chosen with the reason."""
    speed = milliseconds()
    rows: list[tuple[str, ...]] = []
    for name in SEGMENTERS:
        if name in cascades:
            config = cascades[name].config
            time = speed.get(name)
            rows.append(
                (
                    TITLES[name],
                    f"{config.parameters / 1e6:.2f}\u00a0M",
                    f"{time:.0f}\u00a0ms" if time else MISSING,
                    _measured(config.metrics, "volume_mean"),
                    _measured(config.metrics, "slice_tumour"),
                )
            )
        else:
            rows.append((TITLES[name], f"unavailable: {reasons.get(name, 'no weights')}"))
    head = ("Architecture", "Parameters", "A slice", "Dice, volumes", "Dice, slices")
    return table_html("The architectures", head, rows)


def milliseconds(path: Path = REPOSITORY_WEIGHTS / BENCHMARK) -> dict[str, float]:
    """Architecture → time of a slice through gate and segmenter on two CPU cores, as it was measured."""
    try:
        measured = json.loads(path.read_text())["slice_ms"]
        return {name: float(stages["total"]) for name, stages in measured.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # the table does without


def _measured(metrics_of: Mapping[str, Any], name: str) -> str:
    value = (metrics_of.get("measures", {}).get(name) or {}).get("value")
    return MISSING if value is None else f"{value:.2f}"


def _how_close(dice: float) -> str:
    if dice >= 0.9:
        return "They agree."
    if dice >= 0.7:
        return "They agree on the core, less on the border."
    return "They disagree: trust none of them without looking."
