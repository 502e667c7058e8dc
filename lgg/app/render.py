"""Results as people and programs read them: words and figures, HTML for the page, plain values for the API.

Numbers and words are made here. The HTML around them stands in `templates/`, where Jinja2 escapes every text.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from lgg import metrics
from lgg.cascade import Cascade
from lgg.errors import LggError, SliceError
from lgg.explain import agreement
from lgg.input_check import input_warnings, series_warnings
from lgg.models import SEGMENTERS, TITLES
from lgg.postprocess import FEWEST
from lgg.types import SEQUENCES, Prediction, Series, SeriesResult, Slice
from lgg.weights import REPOSITORY_WEIGHTS, ModelConfig

log = logging.getLogger("lgg.app")

TITLE = "Low-grade glioma segmentation"
#: Beside the weights; written by `python -m train benchmark`.
BENCHMARK = "benchmark.json"
MISSING = "–"
#: Measure → its name for people, in the order of the table.
MEASURES = {
    "volume_mean": "Dice of a patient's volume, mean",
    "volume_median": "the same, median",
    "slice_tumour": "Dice of a slice with tumour",
    "pooled": "Dice over all pixels",
    "empty_kept": "slices without tumour kept empty",
}
GATE_MEASURES = {
    "auroc": "AUROC",
    "accuracy": "accuracy",
    "recall_tumour": "slices with tumour that pass",
    "ece": "calibration error",
}
#: Height of a plot, in the drawing's own units; width that a slice takes of it.
PLOT_HEIGHT, SLICE_WIDTH = 100, 10
#: A bar's width, and the least height of one that is not zero.
BAR_WIDTH, LEAST_HEIGHT = 8, 1.5

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


def script(name: str) -> str:
    """One of `static/*.js`, as Gradio takes scripts."""
    return (HERE / "static" / f"{name}.js").read_text(encoding="utf-8").strip()


@dataclass(frozen=True)
class Verdict:
    """What a result means: its tone, which is also the headline's, and one or two sentences."""

    tone: Tone
    detail: str

    @property
    def headline(self) -> str:
        """Two or three words."""
        return HEADLINES[self.tone]


def verdict(result: Prediction | SeriesResult) -> Verdict:
    """The result of a slice or of a series in words.

    Three outcomes: something is outlined, or the gate suspects a glioma in vain, or it does not. Where a
    slice's probability lies in the soft gate's unsure range, the detail says so.
    """
    if isinstance(result, SeriesResult):
        return _series_verdict(result)
    thresholds, gate = result.thresholds, result.gate_probability
    unsure = " The gate is unsure about this slice." if thresholds.low <= gate < thresholds.high else ""
    if not result.passed:
        detail = f"The gate stays below its threshold of {percent(thresholds.gate)}, so nothing was outlined."
        return Verdict("none", detail + unsure)
    if result.area == 0:
        detail = "The gate suspects a glioma, but the segmenter outlines nothing. Look at the slice yourself."
        return Verdict("unclear", detail + unsure)
    detail = f"The outlined area covers {percent(result.head_percent / 100)} of the head."
    return Verdict("likely", detail + unsure)


def _series_verdict(result: SeriesResult) -> Verdict:
    total, outlined = _slices(len(result)), result.with_tumour
    if len(outlined) == 1:
        return Verdict("likely", f"Outlined in slice {outlined[0]}{_in_all(result)}.")
    if outlined:
        where = f"Outlined in {len(outlined)} of {total}, {_ranges(outlined)}{_in_all(result)}."
        return Verdict("likely", f"{where} The largest outline is in slice {result.most_telling}.")
    if result.suspected:
        confirmed = " that a neighbouring slice confirms" if len(result) >= FEWEST else ""
        detail = (
            f"The gate suspects a glioma in {len(result.suspected)} of {total}, but the segmenter outlines "
            f"nothing{confirmed}. Look at the slices yourself."
        )
        return Verdict("unclear", detail)
    limit = percent(result.thresholds.gate)
    return Verdict("none", f"The gate stays below its threshold of {limit} in all of {total}.")


def _in_all(result: SeriesResult) -> str:
    return "" if result.volume_ml is None else f": {volume(result.volume_ml)} in all"


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


def model(cascade: Cascade) -> str:
    """The segmenter's name for people."""
    return TITLES[cascade.config.architecture]


def explain(error: Exception) -> tuple[str, str]:
    """Title and message for a visitor; what was not meant for one goes to the log alone."""
    if isinstance(error, SliceError):
        return "Cannot read this file", str(error)
    if isinstance(error, LggError):
        return "No model to run", str(error)
    log.error("A slice could not be examined", exc_info=error)
    return "That went wrong", "The server met an error that it did not expect. Try again, or another slice."


def as_json(result: SeriesResult, cascade: Cascade) -> dict[str, Any]:
    """A lone slice's result as plain values, for the API. `area_mm2` is None where no spacing is stated."""
    (slice_,), (prediction,) = result.series.slices(), result.predictions
    return {
        **_answer(prediction, slice_, cascade),
        **_slice_values(prediction),
        "head_percent": prediction.head_percent,
        "milliseconds": prediction.milliseconds,
        "warnings": list(input_warnings(slice_, prediction.head)),
    }


def series_as_json(result: SeriesResult, cascade: Cascade) -> dict[str, Any]:
    """The result as plain values, for the API; what is in mm or ml is None where no distances are known."""
    series = result.series
    return {
        **_answer(result, series, cascade),
        "mask_threshold": result.thresholds.mask,
        "slices": len(result),
        "slices_with_tumour": list(result.with_tumour),
        "largest_slice": result.most_telling if result.voxels else None,
        "voxels": result.voxels,
        "volume_ml": result.volume_ml,
        "per_slice": [
            {"slice": number, **_slice_values(prediction)}
            for number, prediction in enumerate(result.predictions, start=1)
        ],
        "milliseconds": _milliseconds(result),
        "spacing_mm": None if series.spacing is None else list(series.spacing),
        "slice_distance_mm": series.slice_distance,
        "notes": list(series.notes),
        "warnings": list(series_warnings(series.slices(), [answer.head for answer in result.predictions])),
    }


def _answer(result: Prediction | SeriesResult, upload: Slice | Series, cascade: Cascade) -> dict[str, Any]:
    """What the API says of a slice and of a series alike: the verdict, of what, and what ran."""
    said = verdict(result)
    return {
        "verdict": said.headline,
        "detail": said.detail.replace("\u00a0", " "),
        "gate_threshold": result.thresholds.gate,
        "source": upload.source,
        "height": upload.pixels.shape[-3],
        "width": upload.pixels.shape[-2],
        "flair_only": upload.flair_only,
        "architecture": cascade.config.architecture,
        "weights": cascade.source.name if cascade.source else None,
        "weights_revision": cascade.source.revision if cascade.source else None,
        "weights_date": cascade.config.date,
        "parameters": cascade.config.parameters,
        "device": cascade.device.type,
        "notice": "Research only, not a medical device.",
    }


def _slice_values(prediction: Prediction) -> dict[str, Any]:
    return {
        "gate_probability": prediction.gate_probability,
        "gate_passed": prediction.passed,
        "area_pixels": prediction.area,
        "area_mm2": prediction.area_mm2,
    }


def verdict_html(slice_: Slice, prediction: Prediction, sure: str = "") -> str:
    """The verdict on a slice, the gate's bar, and how sure that is in plain words."""
    return _verdict_html(prediction, slice_.source, gate=_gate_bar(prediction), sure=sure, notes=())


def series_verdict_html(result: SeriesResult) -> str:
    """The verdict on a series, and what reading noted about the upload."""
    return _verdict_html(result, result.series.source, gate=None, notes=result.series.notes)


def _verdict_html(result: Prediction | SeriesResult, source: str, **more: Any) -> str:
    said = verdict(result)
    words = {"tone": said.tone, "headline": said.headline, "detail": said.detail}
    return html("verdict", **words, role="status", source=source, **more)


def _gate_bar(prediction: Prediction) -> dict[str, str]:
    """The gate's probability and threshold in words, and where a meter has them."""
    probability, threshold = prediction.gate_probability, prediction.thresholds.gate
    return {
        "probability": percent(probability),
        "threshold": percent(threshold),
        "value": f"{100 * probability:.1f}",
        "fill": f"{100 * probability:.2f}",
        "mark": f"{100 * threshold:.2f}",
        # The mark's words stay inside the bar: they hang to the left of a mark on the right half.
        "side": "before" if threshold > 0.5 else "after",
    }


def empty_html(ready: bool) -> str:
    """What stands where a slice's result will be."""
    if ready:
        return message_html("empty", "No slice yet", "Pick an example, or upload a slice of your own.")
    detail = "The gate or all segmenters lack weights: slices can be picked, not examined."
    return message_html("empty", "No model to run", detail)


def error_html(title: str, message: str) -> str:
    """An error where the result would stand."""
    return message_html("error", title, message, role="alert")


def message_html(tone: str, headline: str, detail: str, role: str | None = None) -> str:
    """What stands where a result would: `empty` or an `error`; `role`: how screen readers announce it."""
    return html("message", tone=tone, headline=headline, detail=detail, role=role)


def warning_html(reasons: Sequence[str]) -> str:
    """Why the networks were not made for this picture; nothing where it is like what they were trained on."""
    return html("warning", reasons=reasons) if reasons else ""


def unavailable(reasons: Mapping[str, str]) -> str:
    """Architectures that cannot be chosen, those with the same reason (architecture → reason) together."""
    together: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        together.setdefault(reason, []).append(TITLES[name])
    return html("unavailable", reasons=together)


def progress_html(done: int, slices: int, seconds: float) -> str:
    """How far the examination is: `24 of 100 slices, about 12 s to go`.

    Args:
        done: slices that are examined; 0 while the series is being read.
        slices: in all; 0 while that is unknown.
        seconds: since the first batch began.
    """
    left = _time(seconds / done * (slices - done)) if done else ""
    return html("progress", done=done, slices=slices, total=_slices(slices), left=left)


def facts_html(slice_: Slice, prediction: Prediction, cascade: Cascade) -> str:
    """What was measured in a slice, on what, by what and how fast."""
    stages = [f"{stage} {time:.0f}" for stage, time in prediction.milliseconds.items() if round(time)]
    return html("slice_facts", slice=slice_, prediction=prediction, cascade=cascade, stages=stages)


def series_facts_html(result: SeriesResult, cascade: Cascade) -> str:
    """What was measured in a series, on what, by what and how fast."""
    seconds, confirmed = _milliseconds(result) / 1000, len(result) >= FEWEST
    return html("series_facts", result=result, cascade=cascade, seconds=seconds, confirmed=confirmed)


def truth_html(outline: NDArray[np.bool_], truth: NDArray[np.bool_]) -> str:
    """How an outline agrees with a ground truth; both (H, W) of a slice or (N, H, W) of a series, bool."""
    agreed, outlined, there, slices = outline & truth, outline, truth, None
    if outline.ndim == 3:
        agreed, outlined, there = (np.any(masks, axis=(1, 2)) for masks in (agreed, outline, truth))
        slices = metrics.slice_dices(outline[there], truth[there])
    return html(
        "truth",
        dice=metrics.dice(outline, truth),
        iou=metrics.iou(outline, truth),
        slices=slices,
        distance=_distance(outline, truth) if slices is None else None,
        agreed=np.count_nonzero(agreed),
        missed=np.count_nonzero(there & ~agreed),
        invented=np.count_nonzero(outlined & ~there),
    )


def _distance(outline: NDArray[np.bool_], truth: NDArray[np.bool_]) -> str:
    if outline.any() and truth.any():
        return f"{metrics.hd95(outline, truth):.1f}\u00a0px"
    empty = "one of them is" if outline.any() or truth.any() else "both are"
    return f"not defined: {empty} empty"


def comparison_html(compared: Sequence[tuple[Cascade, Prediction]]) -> str:
    """A row an architecture, and how far their outlines agree."""
    rows = [
        (
            model(cascade),
            verdict(prediction).headline,
            f"{prediction.area:,}\u00a0px",
            percent(prediction.head_percent / 100),
            f"{sum(prediction.milliseconds.values()):,.0f}\u00a0ms",
        )
        for cascade, prediction in compared
    ]
    masks = [prediction.mask for _, prediction in compared]
    dice = agreement(masks) if len(masks) > 1 else None
    return html("comparison", rows=rows, dice=dice, words="" if dice is None else _how_close(dice))


def _how_close(dice: float) -> str:
    if dice >= 0.9:
        return "They agree."
    if dice >= 0.7:
        return "They agree on the core, less on the border."
    return "They disagree: trust none of them without looking."


def chart_html(result: SeriesResult, current: int) -> str:
    """The gate's probability and the outlined area along the slices: plots, a button a slice, and a table.

    Args:
        result: what was found.
        current: the slice that is shown, from 1.
    """
    known = [prediction.area_mm2 for prediction in result.predictions]
    unit = "px" if None in known else "mm²"
    areas = [float(area) for area in (result.areas if unit == "px" else known) if area is not None]
    largest, threshold = max(areas), percent(result.thresholds.gate)
    top = f"{largest:,.0f}\u00a0{unit}"
    predictions = result.predictions
    return html(
        "chart",
        result=result,
        rows=[
            (
                number,
                percent(prediction.gate_probability),
                "yes" if prediction.passed else "no",
                f"{area:,.0f}",
            )
            for number, (prediction, area) in enumerate(zip(predictions, areas, strict=True), start=1)
        ],
        current=current,
        unit=unit,
        width=SLICE_WIDTH * len(result),
        height=PLOT_HEIGHT,
        threshold=threshold,
        line=f"{PLOT_HEIGHT * (1 - result.thresholds.gate):.1f}",
        gate_bars=[
            _bar(index, prediction.gate_probability, None if prediction.passed else "below")
            for index, prediction in enumerate(predictions)
        ],
        top=top,
        area_bars=[_bar(index, area / (largest or 1)) for index, area in enumerate(areas)],
    )


def _bar(index: int, share: float, tone: str | None = None) -> dict[str, str | None]:
    """Place and size of a slice's bar in a plot; `share`: of the plot's height, 0 to 1."""
    height = max(PLOT_HEIGHT * share, LEAST_HEIGHT) if share > 0 else 0
    return {
        "x": f"{SLICE_WIDTH * index + (SLICE_WIDTH - BAR_WIDTH) / 2:g}",
        "y": f"{PLOT_HEIGHT - height:.1f}",
        "width": f"{BAR_WIDTH}",
        "height": f"{height:.1f}",
        "tone": tone,
    }


def about_html(cascades: Mapping[str, Cascade], reasons: Mapping[str, str]) -> str:
    """The tab that says what this is, how well it does and what it cannot do."""
    return html("about", architectures=_architectures(cascades, reasons), results=_results(cascades))


def architectures_html(cascades: Mapping[str, Cascade], reasons: Mapping[str, str]) -> str:
    """All architectures: size, speed, Dice on test patients; what cannot be chosen with the reason."""
    return html("architectures", architectures=_architectures(cascades, reasons))


def _architectures(cascades: Mapping[str, Cascade], reasons: Mapping[str, str]) -> list[tuple[str, ...]]:
    speed = benchmark_milliseconds()
    rows: list[tuple[str, ...]] = []
    for name in SEGMENTERS:
        if name not in cascades:
            rows.append((TITLES[name], f"unavailable: {reasons.get(name, 'no weights')}"))
            continue
        config = cascades[name].config
        measures = (_measure(config, measure) for measure in ("volume_mean", "slice_tumour"))
        rows.append(
            (
                TITLES[name],
                _millions(config),
                f"{speed[name]:.0f}\u00a0ms" if name in speed else MISSING,
                *(f"{measure['value']:.2f}" if measure else MISSING for measure in measures),
            )
        )
    return rows


def benchmark_milliseconds(path: Path = REPOSITORY_WEIGHTS / BENCHMARK) -> dict[str, float]:
    """Architecture → time of a slice through gate and segmenter on two CPU cores, as it was measured."""
    try:
        measured = json.loads(path.read_text())["slice_ms"]
        return {name: float(stages["total"]) for name, stages in measured.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # the table does without


def _results(cascades: Mapping[str, Cascade]) -> list[dict[str, Any]]:
    """A table for the gate and one for the segmenters, of those that were measured, with 95 % intervals."""
    gates = [cascade.gate_config for cascade in cascades.values()][:1]
    segmenters = [cascades[name].config for name in SEGMENTERS if name in cascades]
    tables = []
    for label, configs, measures in (
        ("The gate", gates, GATE_MEASURES),
        ("The segmenters", segmenters, MEASURES),
    ):
        measured = [config for config in configs if config.metrics]
        if measured:
            tables.append(
                {
                    "label": label,
                    "head": ("", *(TITLES[config.architecture] for config in measured)),
                    "rows": [
                        (words, *(_with_interval(_measure(config, name)) for config in measured))
                        for name, words in measures.items()
                    ],
                    "patients": len(measured[0].metrics.get("patients", ())),
                }
            )
    return tables


def _measure(config: ModelConfig, name: str) -> dict[str, float]:
    """`value`, `low` and `high` of a measure on the test patients; empty where it was not taken."""
    measure = (config.metrics.get("measures") or {}).get(name) or {}
    return {} if measure.get("value") is None else measure


def _with_interval(measure: Mapping[str, float]) -> str:
    if not measure:
        return MISSING
    return f"{measure['value']:.3f} ({measure['low']:.3f} to {measure['high']:.3f})"


def _sequences(upload: Slice | Series) -> str:
    return "one channel, taken as FLAIR" if upload.flair_only else ", ".join(SEQUENCES)


def _millions(config: ModelConfig) -> str:
    return f"{config.parameters / 1e6:.2f}\u00a0M"


def _milliseconds(result: SeriesResult) -> float:
    """What the networks took for the whole series."""
    return sum(sum(prediction.milliseconds.values()) for prediction in result.predictions)


def _slices(count: int) -> str:
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


def _time(seconds: float) -> str:
    """Rounded up, so that nobody waits longer than was said."""
    return f"{math.ceil(seconds)}\u00a0s" if seconds < 90 else f"{math.ceil(seconds / 60)}\u00a0min"


def _whole(number: float) -> str:
    return f"{number:,.0f}"


_templates.filters |= {
    "percent": percent,
    "volume": volume,
    "whole": _whole,
    "millions": _millions,
    "title": lambda config: TITLES[config.architecture],
    "sequences": _sequences,
}
