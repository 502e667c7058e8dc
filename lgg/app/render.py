"""Results for people: words and figures, filled into the HTML of `templates/`, which escape every text.

`lone` is said of a slice that was examined by itself, not as a series.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from lgg import metrics
from lgg.app.models import LoadedModels
from lgg.cascade import Cascade
from lgg.errors import LggError, SliceError
from lgg.explain import agreement, in_words
from lgg.export.statistics import components
from lgg.models import SEGMENTERS, TITLES
from lgg.postprocess import FEWEST
from lgg.types import SEQUENCES, SeriesResult
from lgg.weights import REPOSITORY_WEIGHTS, ModelConfig

log = logging.getLogger("lgg.app")

TITLE = "Low-grade glioma segmentation"
#: Beside the weights; written by `python -m train benchmark`.
BENCHMARK = "benchmark.json"
#: Engine → its name for people.
ENGINES = {"torch": "PyTorch", "openvino": "OpenVINO"}
Tone = Literal["likely", "unclear", "none"]
HEADLINES: dict[Tone, str] = {"likely": "Glioma likely", "unclear": "Unclear", "none": "No glioma found"}

HERE = Path(__file__).parent
_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def html(template: str, **values: Any) -> str:
    """One of `templates/`, filled in with texts that it escapes and numbers."""
    return _templates.get_template(f"{template}.html").render(values)


def script(name: str, elem_id: str = "") -> str:
    """One of `static/*.js`, as Gradio takes scripts; `elem_id`: of the element that it is about, its NAME."""
    return (HERE / "static" / f"{name}.js").read_text(encoding="utf-8").strip().replace("NAME", elem_id)


def tone(result: SeriesResult) -> Tone:
    """The verdict: something is outlined, or the gate suspects a glioma in vain, or it does not."""
    return "likely" if result.voxels else "unclear" if result.suspected else "none"


def headline(result: SeriesResult) -> str:
    """The verdict in two or three words."""
    return HEADLINES[tone(result)]


def detail(result: SeriesResult, lone: bool) -> str:
    """What the verdict means, in one or two sentences.

    Where a lone slice's probability lies in the soft gate's unsure range, it says so.
    """
    if not lone:
        return _series_detail(result)
    (prediction,), thresholds = result.predictions, result.thresholds
    said = {
        "likely": f"The outlined area covers {percent(prediction.head_percent / 100)} of the head.",
        "unclear": "The gate suspects a glioma, but the segmenter outlines nothing. Look at the slice "
        "yourself.",
        "none": f"The gate stays below its threshold of {percent(thresholds.gate)}, so nothing was outlined.",
    }[tone(result)]
    unsure = thresholds.low <= prediction.gate_probability < thresholds.high
    return f"{said} The gate is unsure about this slice." if unsure else said


def _series_detail(result: SeriesResult) -> str:
    total, outlined = count_slices(len(result)), result.with_tumour
    in_all = "" if result.volume_ml is None else f": {volume(result.volume_ml)} in all"
    by_hand = "Corrected by hand. " if result.corrected else ""
    if len(outlined) == 1:
        return f"{by_hand}Outlined in slice {outlined[0]}{in_all}."
    if outlined:
        where = f"{by_hand}Outlined in {len(outlined)} of {total}, {_ranges(outlined)}{in_all}."
        return f"{where} The largest outline is in slice {result.most_telling}."
    if result.corrected:
        return f"{by_hand}Nothing is outlined any more."
    if result.suspected:
        confirmed = " that a neighbouring slice confirms" if len(result) >= FEWEST else ""
        return (
            f"The gate suspects a glioma in {len(result.suspected)} of {total}, but the segmenter outlines "
            f"nothing{confirmed}. Look at the slices yourself."
        )
    return f"The gate stays below its threshold of {percent(result.thresholds.gate)} in all of {total}."


def explain(error: Exception) -> tuple[str, str]:
    """Title and message for a visitor; what was not meant for one goes to the log alone."""
    if isinstance(error, SliceError):
        return "Cannot read this file", str(error)
    if isinstance(error, LggError):
        return "No model to run", str(error)
    log.error("A slice could not be examined", exc_info=error)
    return "That went wrong", "The server met an error that it did not expect. Try again, or another slice."


def message_html(kind: str, headline: str, detail: str, role: str | None = None) -> str:
    """What stands where a result would: `empty` or an `error`; `role`: how screen readers announce it."""
    role = "alert" if kind == "error" else role
    return html("message", tone=kind, headline=headline, detail=detail, role=role)


def verdict_html(result: SeriesResult, cascade: Cascade, lone: bool, warnings: Sequence[str] = ()) -> str:
    """The verdict, and why the networks were not made for the upload, if they were not.

    With it for a lone slice the gate's bar, and how sure that is in plain words; for a series what reading
    noted about the upload.
    """
    gate = result.predictions[0].gate_probability
    return html(
        "verdict",
        result=result,
        tone=tone(result),
        headline=headline(result),
        detail=detail(result, lone),
        role="status",
        sure=in_words(gate, _measure(cascade.gate_config, "ece").get("value")) if lone else "",
        warnings=warnings,
    )


def facts_html(result: SeriesResult, cascade: Cascade, lone: bool) -> str:
    """What was measured in a slice or a series, on what, by what and how fast."""
    values = {"result": result, "cascade": cascade, "confirmed": len(result) >= FEWEST}
    if lone:
        return html("slice_facts", **values)
    return html("series_facts", components=components(result.series, result.masks), **values)


def truth_html(
    outline: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: Sequence[float] | None = None
) -> str:
    """How an outline agrees with a ground truth.

    Args:
        outline, truth: (H, W) of a slice or (N, H, W) of a series, bool.
        spacing: millimetres from slice to slice, row to row and column to column of a series, if known.
    """
    agreed, outlined, there, slices = outline & truth, outline, truth, None
    if outline.ndim == 3:
        agreed, outlined, there = (np.any(masks, axis=(1, 2)) for masks in (agreed, outline, truth))
        slices = metrics.slice_dices(outline[there], truth[there])
    empty = sum(not mask.any() for mask in (outline, truth))
    measurable = not empty and (slices is None or spacing is not None)
    return html(
        "truth",
        dice=metrics.dice(outline, truth),
        iou=metrics.iou(outline, truth),
        slices=slices,
        hd95=metrics.hd95(outline, truth, spacing) if measurable else None,
        empty=empty,
        agreed=np.count_nonzero(agreed),
        missed=np.count_nonzero(there & ~agreed),
        invented=np.count_nonzero(outlined & ~there),
    )


def comparison_html(results: Mapping[str, SeriesResult]) -> str:
    """A row an architecture, and how far their outlines agree: architecture → its result for a lone slice."""
    masks = [result.predictions[0].mask for result in results.values()]
    return html("comparison", results=results, dice=agreement(masks))


def about_html(models: LoadedModels, part: str = "about") -> str:
    """The tab that says what this is, how well it does and what it cannot do; or its part `architectures`."""
    return html(part, models=models, speed=benchmark_milliseconds(), segmenters=SEGMENTERS)


def benchmark_milliseconds(path: Path = REPOSITORY_WEIGHTS / BENCHMARK) -> dict[str, float]:
    """Architecture → time of a slice through gate and segmenter on two CPU cores, as it was measured."""
    if not path.is_file():  # an installed package has none: the table does without
        return {}
    return {name: stages["total"] for name, stages in json.loads(path.read_text())["slice_ms"].items()}


def _measure(config: ModelConfig, name: str) -> dict[str, float]:
    """`value`, `low` and `high` of a measure on the test patients; empty where it was not taken."""
    measure = (config.metrics.get("measures") or {}).get(name) or {}
    return {} if measure.get("value") is None else measure


def milliseconds(result: SeriesResult) -> float:
    """What the networks took for all slices."""
    return sum(sum(prediction.milliseconds.values()) for prediction in result.predictions)


def percent(share: float) -> str:
    """A share of 0 to 1 for people: `97.3 %`, never rounded to a certainty that it is not."""
    if 0 < share < 0.001:
        return "under 0.1\u00a0%"
    if 0.999 < share < 1:
        return "over 99.9\u00a0%"
    return f"{100 * share:.1f}".removesuffix(".0") + "\u00a0%"


def volume(ml: float) -> str:
    """A volume for people: `34.2 ml`, with more digits where it is small."""
    return f"{ml:,.0f}\u00a0ml" if ml >= 100 else f"{ml:.1f}\u00a0ml" if ml >= 1 else f"{ml:.2f}\u00a0ml"


def count_slices(count: int) -> str:
    """`1 slice`, `2 slices`."""
    return "1 slice" if count == 1 else f"{count} slices"


def _ranges(numbers: Sequence[int]) -> str:
    """`31 to 53`, or `3, 5 and 9 to 12` where slices between them are empty; at most three runs are told."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    if len(runs) > 3:
        return f"between {numbers[0]} and {numbers[-1]}"
    words = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _duration(seconds: float) -> str:
    """Rounded up, so that nobody waits longer than was said."""
    return f"{math.ceil(seconds)}\u00a0s" if seconds < 90 else f"{math.ceil(seconds / 60)}\u00a0min"


_templates.filters |= {
    "percent": percent,
    "volume": volume,
    "whole": lambda number: f"{number:,.0f}",
    "millions": lambda config: f"{config.parameters / 1e6:.2f}\u00a0M",
    "title": lambda config: TITLES[config.architecture],
    "titles": lambda names: ", ".join(TITLES[name] for name in names),
    "sequences": lambda series: "one channel, taken as FLAIR" if series.flair_only else ", ".join(SEQUENCES),
    "slices": count_slices,
    "duration": _duration,
    "milliseconds": milliseconds,
    "engine": lambda engine: f"{ENGINES[engine.name]} {engine.precision}",
    "headline": headline,
    "measure": _measure,
}
