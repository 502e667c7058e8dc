"""A table as HTML that scrolls by itself on a narrow screen, with the keyboard too."""

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lgg import metrics
from lgg.cascade import Cascade
from lgg.errors import LggError, SliceError
from lgg.explain import agreement
from lgg.input_check import input_warnings, series_warnings
from lgg.models import GATE, SEGMENTERS, TITLES
from lgg.postprocess import FEWEST
from lgg.types import SEQUENCES, Prediction, SeriesResult, Slice
from lgg.weights import REPOSITORY_WEIGHTS


def table_html(label: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table; its first column names the rows.

    Args:
        label: what the table is, for those who cannot see it.
        head: the columns' names.
        rows: their texts; a row that is too short spreads its first value over what is left, and what stands
            in brackets at a text's end is printed small.
    """
    top = "".join(f'<th scope="col">{escape(one)}</th>' if one else "<td></td>" for one in head)
    lines = []
    for first, *rest in rows:
        wide = f' colspan="{len(head) - len(rest)}"' if len(rest) + 1 < len(head) else ""
        cells = "".join(f"<td{wide}>{_text(one)}</td>" for one in rest)
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}"><table>'
        f"<thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _text(text: str) -> str:
    before, bracket, after = text.partition(" (")
    return escape(before) + (f" <small>({escape(after)}</small>" if bracket else "")


TITLE = "Low-grade glioma segmentation"
HEADER = f"""<header><div><h1>{TITLE}</h1>
<p>A gate says how likely a brain MRI slice holds a glioma; a U-Net outlines it.</p></div>
<p class="notice">Research only, not a medical device</p></header>"""
PRIVACY = """<p class="hint">TIFF, PNG, JPEG or single-frame DICOM, with pre-contrast T1, FLAIR and
post-contrast T1 as its three channels, or with FLAIR alone. Deleted within the hour; still, send nothing that
identifies a patient.</p>"""
FOOTER = """<footer><p><strong>Research only, not a medical device.</strong>
Not for diagnosis or treatment.</p>
<p>Code: MIT. Weights: CC BY-NC-SA 4.0. The examples are synthetic, drawn from the ICBM 152 template.</p>
</footer>"""

log = logging.getLogger("lgg.app")

Tone = Literal["likely", "unclear", "none"]


@dataclass(frozen=True)
class Verdict:
    """A headline of two or three words, one or two sentences under it, and their tone."""

    headline: str
    detail: str
    tone: Tone


def verdict(prediction: Prediction) -> Verdict:
    """The prediction in words.

    Three outcomes: the gate passes and something is outlined, the gate passes and nothing is, or the gate
    does not pass. Where its probability lies in the soft gate's unsure range, the detail says so.
    """
    thresholds, gate = prediction.thresholds, prediction.gate_probability
    unsure = " The gate is unsure about this slice." if thresholds.low <= gate < thresholds.high else ""
    if not prediction.passed:
        detail = f"The gate stays below its threshold of {percent(thresholds.gate)}, so nothing was outlined."
        return Verdict("No glioma found", detail + unsure, "none")
    if prediction.area == 0:
        detail = "The gate suspects a glioma, but the segmenter outlines nothing. Look at the slice yourself."
        return Verdict("Unclear", detail + unsure, "unclear")
    detail = f"The outlined area covers {percent(prediction.head_percent / 100)} of the head."
    return Verdict("Glioma likely", detail + unsure, "likely")


def percent(share: float) -> str:
    """A share of 0 to 1 for people: `97.3 %`, never rounded to a certainty that it is not."""
    if 0 < share < 0.001:
        return "under 0.1\u00a0%"
    if 0.999 < share < 1:
        return "over 99.9\u00a0%"
    return f"{100 * share:.1f}".removesuffix(".0") + "\u00a0%"


def millions(parameters: int) -> str:
    """A parameter count: `5.61 M parameters`."""
    return f"{parameters / 1e6:.2f}\u00a0M parameters"


def model(cascade: Cascade) -> str:
    """The segmenter's name for people."""
    return TITLES[cascade.config.architecture]


def device_name(cascade: Cascade) -> str:
    """`CPU`, `CUDA` or `MPS`."""
    return cascade.device.type.upper()


def as_json(one: Slice, prediction: Prediction, cascade: Cascade) -> dict[str, Any]:
    """The prediction as plain values, for the API. `area_mm2` is None where the file states no spacing."""
    said, mm2 = verdict(prediction), prediction.area_mm2
    return {
        "verdict": said.headline,
        "detail": said.detail.replace("\u00a0", " "),
        "gate_probability": prediction.gate_probability,
        "gate_threshold": prediction.thresholds.gate,
        "gate_passed": prediction.passed,
        "area_pixels": prediction.area,
        "area_mm2": mm2,
        "head_percent": prediction.head_percent,
        **ran(cascade),
        "milliseconds": prediction.milliseconds,
        "source": one.source,
        "height": one.size[0],
        "width": one.size[1],
        "flair_only": one.flair_only,
        "warnings": list(input_warnings(one, prediction.head)),
    }


def ran(cascade: Cascade) -> dict[str, Any]:
    """What ran, where, and what for, as plain values."""
    return {
        "architecture": cascade.config.architecture,
        "weights": cascade.source.name if cascade.source else None,
        "weights_revision": cascade.source.revision if cascade.source else None,
        "weights_date": cascade.config.date,
        "parameters": cascade.config.parameters,
        "device": cascade.device.type,
        "notice": "Research only, not a medical device.",
    }


def verdict_html(one: Slice, prediction: Prediction, sure: str = "") -> str:
    """The verdict, the gate's bar, and how sure that is in plain words."""
    said = verdict(prediction)
    return (
        f'<section class="verdict {said.tone}" role="status"><p class="source">{escape(one.source)}</p>'
        f"<h2>{escape(said.headline)}</h2><p>{escape(said.detail)}</p>"
        f"{gate_bar(prediction.gate_probability, prediction.thresholds.gate)}"
        f'<p class="sure">{escape(sure)}</p></section>'
    )


def warning_html(reasons: Sequence[str]) -> str:
    """Why the networks were not made for this picture; nothing where it is like what they were trained on."""
    if not reasons:
        return ""
    lines = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    return (
        '<section class="warning" role="alert"><h3>The networks were not made for this picture</h3>'
        f"<ul>{lines}</ul><p>Do not rely on what they say of it.</p></section>"
    )


def gate_bar(probability: float, threshold: float) -> str:
    """The gate's probability as a number and a meter with its threshold marked, both 0 to 1."""
    value, limit = 100 * probability, 100 * threshold
    # The mark's words stay inside the bar: they hang to the left of a mark on the right half.
    side = "before" if limit > 50 else "after"
    return (
        '<div class="gate"><div class="reading"><span>Gate: probability of a glioma in this slice</span>'
        f"<strong>{percent(probability)}</strong></div>"
        '<div class="meter" role="meter" aria-label="Gate: probability of a glioma" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{value:.1f}" '
        f'aria-valuetext="{percent(probability)}, threshold {percent(threshold)}">'
        f'<span class="fill" style="width:{value:.2f}%"></span>'
        f'<span class="mark" style="left:{limit:.2f}%"></span></div>'
        f'<div class="scale" aria-hidden="true"><span class="{side}" style="left:{limit:.2f}%">'
        f"threshold {percent(threshold)}</span></div></div>"
    )


def facts_html(one: Slice, prediction: Prediction, cascade: Cascade) -> str:
    """What was measured, on what, by what and how fast, as a description list."""
    rows = (
        _area(prediction),
        _slice(one),
        (
            "Architecture",
            model(cascade),
            f"{millions(cascade.config.parameters)}, after the {TITLES[GATE]} "
            f"({millions(cascade.gate_config.parameters)})",
        ),
        (
            "Time",
            f"{sum(prediction.milliseconds.values()):,.0f}\u00a0ms on {device_name(cascade)}",
            _stages(prediction),
        ),
    )
    return facts_list(rows)


def facts_list(rows: Iterable[tuple[str, str, str]]) -> str:
    """Name, value and note of each fact as an HTML description list; plain texts."""
    cells = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in rows
    )
    return f'<dl class="facts">{"".join(cells)}</dl>'


def empty_html(ready: bool) -> str:
    """What stands where the result will be."""
    headline, text = (
        ("No slice yet", "Pick an example, or upload a slice of your own.")
        if ready
        else (
            "No model to run",
            "The gate or all segmenters lack weights: slices can be picked, not examined.",
        )
    )
    return f'<section class="verdict empty"><h2>{headline}</h2><p>{text}</p></section>'


def explain(error: Exception) -> tuple[str, str]:
    """Title and message for a visitor; what was not meant for one goes to the log alone."""
    if isinstance(error, SliceError):
        return "Cannot read this file", str(error)
    if isinstance(error, LggError):
        return "No model to run", str(error)
    log.error("A slice could not be examined", exc_info=error)
    return "That went wrong", "The server met an error that it did not expect. Try again, or another slice."


def error_html(title: str, message: str) -> str:
    """An error where the result would stand."""
    words = f"<h2>{escape(title)}</h2><p>{escape(message)}</p>"
    return f'<section class="verdict error" role="alert">{words}</section>'


def unavailable(reasons: dict[str, str]) -> str:
    """Architectures that cannot be chosen, those with the same reason (architecture → reason) together."""
    together: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        together.setdefault(reason, []).append(TITLES[name])
    lines = (f"<p>{escape(', '.join(names))}: {escape(reason)}</p>" for reason, names in together.items())
    return f'<div class="hint">{"".join(lines)}</div>'


def _area(prediction: Prediction) -> tuple[str, str, str]:
    if prediction.area == 0:
        return "Outlined area", "0\u00a0px", "nothing outlined"
    pixels = f"{prediction.area:,}\u00a0px"
    share = f"{percent(prediction.head_percent / 100)} of the head"
    if prediction.area_mm2 is None:
        return "Outlined area", pixels, f"{share}; no mm², the file states no pixel spacing"
    return "Outlined area", f"{prediction.area_mm2:,.0f}\u00a0mm²", f"{pixels}, {share}"


def _slice(one: Slice) -> tuple[str, str, str]:
    height, width = one.size
    sequences = (
        "one channel, taken as FLAIR" if one.flair_only else "pre-contrast T1, FLAIR, post-contrast T1"
    )
    return "Slice", f"{width} × {height}\u00a0px", sequences


def _stages(prediction: Prediction) -> str:
    """The time of each stage that took any, in whole milliseconds."""
    took = {stage: round(value) for stage, value in prediction.milliseconds.items()}
    return ", ".join(f"{stage} {value}" for stage, value in took.items() if value)


CONFIRMED = " that a neighbouring slice confirms"
LONE = "; what no neighbouring slice confirms is left out"
NO_VOLUME = "no ml: the upload does not state the distances of its pixels and slices"


def series_verdict(result: SeriesResult) -> Verdict:
    """The result in words: something is outlined, or the gate suspects in vain, or it passes no slice."""
    slices = _slices(len(result))
    if result.voxels:
        found, ml = result.with_tumour, result.volume_ml
        where = f"slice {found[0]}" if len(found) == 1 else f"{len(found)} of {slices}, {_ranges(found)}"
        size = "" if ml is None else f": {volume(ml)} in all"
        largest = "" if len(found) == 1 else f". The largest outline is in slice {result.most_telling}"
        return Verdict("Glioma likely", f"Outlined in {where}{size}{largest}.", "likely")
    if result.suspected:
        detail = (
            f"The gate suspects a glioma in {len(result.suspected)} of {slices}, but the segmenter outlines "
            f"nothing{CONFIRMED if len(result) >= FEWEST else ''}. Look at the slices yourself."
        )
        return Verdict("Unclear", detail, "unclear")
    limit = percent(result.thresholds.gate)
    return Verdict(
        "No glioma found", f"The gate stays below its threshold of {limit} in all of {slices}.", "none"
    )


def volume(ml: float) -> str:
    """A volume for people: `34.2 ml`, with more digits where it is small."""
    return f"{ml:,.0f}\u00a0ml" if ml >= 100 else f"{ml:.1f}\u00a0ml" if ml >= 1 else f"{ml:.2f}\u00a0ml"


def series_verdict_html(result: SeriesResult) -> str:
    """The verdict, and what reading noted about the upload."""
    said = series_verdict(result)
    notes = "".join(f"<li>{escape(note)}</li>" for note in result.series.notes)
    return (
        f'<section class="verdict {said.tone}" role="status">'
        f'<p class="source">{escape(result.series.source)}</p>'
        f"<h2>{escape(said.headline)}</h2><p>{escape(said.detail)}</p>"
        + (f'<ul class="notes" aria-label="Notes on the upload">{notes}</ul>' if notes else "")
        + "</section>"
    )


def series_facts_html(result: SeriesResult, cascade: Cascade) -> str:
    """What was measured, in what, by what and how fast, as a description list."""
    series, ml = result.series, result.volume_ml
    height, width = series.pixels.shape[1:3]
    voxels = f"{result.voxels:,}\u00a0voxels"
    sequences = "one channel, taken as FLAIR" if series.flair_only else ", ".join(SEQUENCES)
    seconds = milliseconds(result) / 1000
    rows = (
        ("Outlined volume", voxels, NO_VOLUME) if ml is None else ("Outlined volume", volume(ml), voxels),
        (
            "Slices with an outline",
            f"{len(result.with_tumour)} of {len(result)}",
            f"the gate passed {len(result.suspected)}" + (LONE if len(result) >= FEWEST else ""),
        ),
        ("Series", f"{len(result)} × {width} × {height}\u00a0px", f"{_distances(result)}{sequences}"),
        (
            "Architecture",
            model(cascade),
            f"{millions(cascade.config.parameters)}; {seconds:,.1f}\u00a0s on {device_name(cascade)}",
        ),
    )
    return facts_list(rows)


def progress_html(done: int, slices: int, seconds: float) -> str:
    """How far the examination is: `24 of 100 slices, about 12 s to go`.

    Args:
        done: slices that are examined; 0 while the series is being read.
        slices: in all; 0 while that is unknown.
        seconds: since the first batch began.
    """
    if slices == 0:
        words = "Reading the series …"
    elif done == 0:
        words = f"0 of {_slices(slices)}: measuring the whole volume …"
    else:
        left = seconds / done * (slices - done)
        words = f"{done} of {_slices(slices)}, about {_time(left)} to go"
    return (
        f'<div class="progress" role="status"><p>{words}</p>'
        f'<progress max="{max(slices, 1)}" value="{done}" aria-label="Slices examined"></progress></div>'
    )


def series_as_json(result: SeriesResult, cascade: Cascade) -> dict[str, Any]:
    """The result as plain values, for the API; what is in mm or ml is None where no distances are known."""
    said, series = series_verdict(result), result.series
    return {
        "verdict": said.headline,
        "detail": said.detail.replace("\u00a0", " "),
        "slices": len(result),
        "slices_with_tumour": list(result.with_tumour),
        "largest_slice": result.most_telling if result.voxels else None,
        "voxels": result.voxels,
        "volume_ml": result.volume_ml,
        "gate_threshold": result.thresholds.gate,
        "mask_threshold": result.thresholds.mask,
        "per_slice": [
            {
                "slice": number,
                "gate_probability": one.gate_probability,
                "gate_passed": one.passed,
                "area_pixels": one.area,
                "area_mm2": one.area_mm2,
            }
            for number, one in enumerate(result.predictions, start=1)
        ],
        **ran(cascade),
        "milliseconds": milliseconds(result),
        "source": series.source,
        "height": series.pixels.shape[1],
        "width": series.pixels.shape[2],
        "flair_only": series.flair_only,
        "spacing_mm": None if series.spacing is None else list(series.spacing),
        "slice_distance_mm": series.slice_distance,
        "notes": list(series.notes),
        "warnings": list(warnings(result)),
    }


def warnings(result: SeriesResult) -> tuple[str, ...]:
    """Why the networks were not made for this series, a sentence each."""
    return series_warnings(result.series.slices(), [one.head for one in result.predictions])


def milliseconds(result: SeriesResult) -> float:
    """What the networks took for the whole series."""
    return sum(sum(one.milliseconds.values()) for one in result.predictions)


def _distances(result: SeriesResult) -> str:
    spacing, step = result.series.spacing, result.series.slice_distance
    if spacing is None:
        return ""
    apart = "" if step is None else f", slices {step:.3g}\u00a0mm apart"
    return f"{spacing[1]:.3g} × {spacing[0]:.3g}\u00a0mm{apart}; "


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


#: Written by `python -m train.evaluation.benchmark`; it goes where the weights go.
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
    return f"<h3>Against the ground truth</h3>{facts_list(cells)}"


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
    return f"<h3>Against the ground truth</h3>{facts_list(cells)}"


def comparison_html(found: Sequence[tuple[Cascade, Prediction]]) -> str:
    """A row an architecture, and how far their outlines agree."""
    rows = [
        (
            model(cascade),
            verdict(prediction).headline,
            f"{prediction.area:,}\u00a0px",
            percent(prediction.head_percent / 100),
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
    speed = benchmark_milliseconds()
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


def benchmark_milliseconds(path: Path = REPOSITORY_WEIGHTS / BENCHMARK) -> dict[str, float]:
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

WHAT = """<h2>What this is</h2>
<p>Two networks look at an axial slice of a brain MRI. The <em>gate</em>, a ResNet18, says how likely the
slice holds a lower-grade glioma. If it passes, a <em>segmenter</em>, one of several U-Nets, outlines it. The
segmenters were trained on pre-contrast T1, FLAIR and post-contrast T1 of one data set, kaggle_3m, from
patients of The Cancer Genome Atlas.</p>"""
PROTOCOLS = """<h2>How it was measured</h2>
<p>By <strong>patient</strong>: no slice of a test patient was ever trained or chosen on, so the figures say
what to expect of a new patient of the same kind. By <strong>slice</strong>, as most published figures for
this data are: neighbouring slices of a patient stand on both sides, so such figures flatter, and we call them
leaky. All figures here are by patient. A wide interval means few test patients, not a careful
measurement.</p>"""
LIMITS = """<h2>What it cannot do</h2>
<ul><li>It is not a medical device. Do not use it for diagnosis, treatment or triage.</li>
<li>It has seen one kind of tumour, before surgery, in adults, from five hospitals, in axial slices. Anything
else (glioblastoma, metastases, children, CT, other planes) is guesswork, even where no warning appears.</li>
<li>Tumours that barely show on FLAIR may be missed; other bright lesions may be outlined.</li>
<li>The masks that it learnt from were drawn by one person on FLAIR; experts differ by several points of
Dice.</li></ul>"""
LICENCES = """<h2>Licences and citation</h2>
<p>Code: MIT. Weights: CC BY-NC-SA 4.0, as the data they were trained on, as far as its licence is known. The
examples are synthetic, drawn from the ICBM 152 template (copyright notice in lgg/examples).</p>
<p>Please cite Buda, Saha, Mazurowski, <cite>Computers in Biology and Medicine</cite> 109 (2019), and
Mazurowski et al., <cite>Journal of Neuro-Oncology</cite> (2017).</p>"""
HANDLING = """<h2>Your files</h2>
<p>Uploads and results are deleted within the hour, are seen by nobody else and appear in no link. No patient
field of a DICOM file is shown, kept or logged. Still, send nothing that identifies a patient.</p>"""


def about_html(cascades: Mapping[str, Cascade], reasons: Mapping[str, str]) -> str:
    """The whole tab."""
    return (
        f'<article class="about">{WHAT}<h2>The networks</h2>{architectures_html(cascades, reasons)}'
        f"{PROTOCOLS}{results_html(cascades)}{LIMITS}{HANDLING}{LICENCES}</article>"
    )


def results_html(cascades: Mapping[str, Cascade]) -> str:
    """The headline figures in the weights' configs, with their intervals."""
    tables = []
    gate = next((one.gate_config for one in cascades.values()), None)
    if gate is not None and gate.metrics:
        tables.append(_results("The gate", [(TITLES[GATE], gate.metrics)], GATE_MEASURES))
    measured = [
        (TITLES[name], cascades[name].config.metrics)
        for name in SEGMENTERS
        if name in cascades and cascades[name].config.metrics
    ]
    if measured:
        tables.append(_results("The segmenters", measured, MEASURES))
    if not tables:
        return "<p>These weights were not measured.</p>"
    count = len((measured or [("", gate.metrics if gate else {})])[0][1].get("patients", ()))
    return (
        f"{''.join(tables)}<p>{count} test patients, hard gate, statistics of the whole volume, no test-time "
        "augmentation; in brackets 95\u00a0% intervals by bootstrap over patients. Per patient, site and "
        "size of the tumour: docs/results.md.</p>"
    )


def _results(label: str, columns: list[tuple[str, dict[str, Any]]], measures: Mapping[str, str]) -> str:
    rows = [
        (words, *(_figure((found.get("measures") or {}).get(name)) for _, found in columns))
        for name, words in measures.items()
    ]
    return table_html(label, ("", *(title for title, _ in columns)), rows)


def _figure(row: Mapping[str, float] | None) -> str:
    if not row or row.get("value") is None:
        return "–"
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


#: Height of a panel, in the drawing's own units. One slice is 10 units wide.
PANEL, WIDTH = 100, 10
#: A bar's share of its slice's width, and the least height of one that is not zero.
BAR, LEAST = 8, 1.5


def chart_html(result: SeriesResult, current: int) -> str:
    """The plot as HTML.

    Args:
        result: what was found.
        current: the slice that is shown, from 1.
    """
    threshold = result.thresholds.gate
    unit, areas = _areas(result)
    highest = max(areas) or 1
    gate = [
        _bar(number, one.gate_probability, "" if one.passed else "below")
        for number, one in enumerate(result.predictions)
    ]
    area = [_bar(number, value / highest, "") for number, value in enumerate(areas)]
    line = PANEL * (1 - threshold)
    mark = f'<line class="threshold" x1="0" x2="{WIDTH * len(result)}" y1="{line:.1f}" y2="{line:.1f}"/>'
    top = f"{highest:,.0f}\u00a0{unit}" if any(areas) else f"0\u00a0{unit}"
    return (
        '<figure class="slice-chart"><figcaption>Along the slices: choose one in the plot, or with the arrow '
        "keys</figcaption>"
        f'<div class="plots" style="--slices:{len(result)}">'
        + _panel(
            "Gate: probability of a glioma",
            f"Bars from 0 to 100 %. {len(result.suspected)} of {len(result)} slices reach the threshold of "
            f"{percent(threshold)}.",
            [*gate, mark],
            len(result),
            "100\u00a0%",
            f'<span class="limit" style="top:{line:.1f}%">threshold {percent(threshold)}</span>',
        )
        + _panel(
            "Outlined area",
            f"Bars from 0 to {top}. Something is outlined in {len(result.with_tumour)} of {len(result)} "
            "slices.",
            area,
            len(result),
            top,
        )
        + _buttons(result, unit, areas, current)
        + f'</div><div class="ends" aria-hidden="true"><span>slice 1</span><span>{len(result)}</span></div>'
        + _table(result, unit, areas)
        + "</figure>"
    )


def _areas(result: SeriesResult) -> tuple[str, list[float]]:
    """The unit of areas, and each slice's: mm² where the spacing is known, else pixels."""
    known = [one.area_mm2 for one in result.predictions]
    if None in known:
        return "px", [float(area) for area in result.areas]
    return "mm²", [area for area in known if area is not None]


def _bar(number: int, share: float, kind: str) -> str:
    height = max(PANEL * share, LEAST) if share > 0 else 0
    left = WIDTH * number + (WIDTH - BAR) / 2
    name = f' class="{kind}"' if kind else ""
    return f'<rect{name} x="{left:g}" y="{PANEL - height:.1f}" width="{BAR}" height="{height:.1f}"/>'


def _panel(title: str, text: str, shapes: list[str], slices: int, top: str, words: str = "") -> str:
    return (
        f'<div class="panel"><p aria-hidden="true"><span>{escape(title)}</span><span>{top}</span></p>'
        f'<div class="drawing"><svg role="img" aria-label="{escape(title)}. {escape(text)}" '
        f'viewBox="0 0 {WIDTH * slices} {PANEL}" preserveAspectRatio="none">'
        f"<title>{escape(title)}</title><desc>{escape(text)}</desc>{''.join(shapes)}</svg>{words}</div></div>"
    )


def _buttons(result: SeriesResult, unit: str, areas: list[float], current: int) -> str:
    """A button a slice. Only the current one is a stop of the Tab key: arrow keys lead on from there."""
    buttons = []
    for number, (one, area) in enumerate(zip(result.predictions, areas, strict=True), start=1):
        words = f"Slice {number}: gate {percent(one.gate_probability)}, outlined {area:,.0f} {unit}"
        state = 'aria-current="true" tabindex="0"' if number == current else 'tabindex="-1"'
        buttons.append(
            f'<button type="button" data-slice="{number}" {state} aria-label="{words}" '
            f'title="{words}"></button>'
        )
    return f'<div class="picks" role="group" aria-label="Slices">{"".join(buttons)}</div>'


def _table(result: SeriesResult, unit: str, areas: list[float]) -> str:
    rows = [
        (str(number), percent(one.gate_probability), "yes" if one.passed else "no", f"{area:,.0f}")
        for number, (one, area) in enumerate(zip(result.predictions, areas, strict=True), start=1)
    ]
    table = table_html("Along the slices", ("Slice", "Gate", "Passed", f"Outlined, {unit}"), rows)
    return f"<details><summary>The same as a table</summary>{table}</details>"


#: Runs in the browser once, with `element` and `trigger` from Gradio: clicks and arrow keys ask for a slice.
ON_LOAD = """
const picks = () => [...element.querySelectorAll("[data-slice]")];
const go = button => {
    for (const one of picks()) {
        one.tabIndex = one === button ? 0 : -1;
        one === button ? one.setAttribute("aria-current", "true") : one.removeAttribute("aria-current");
    }
    trigger("select", {slice: Number(button.dataset.slice)});
};
element.addEventListener("click", event => {
    const button = event.target.closest("[data-slice]");
    if (button) go(button);
});
element.addEventListener("keydown", event => {
    const all = picks(), at = all.indexOf(event.target.closest("[data-slice]"));
    if (at < 0) return;
    const to = {ArrowLeft: at - 1, ArrowRight: at + 1, ArrowDown: at - 1, ArrowUp: at + 1, Home: 0,
        End: all.length - 1, PageDown: at - 10, PageUp: at + 10}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const button = all[Math.min(Math.max(to, 0), all.length - 1)];
    button.focus();
    go(button);
});
"""
#: Runs in the browser when a slider moves: the mark in the plot follows without asking the server.
FOLLOW = """(...values) => {
    for (const one of document.querySelectorAll(".slice-chart [data-slice]")) {
        const here = Number(one.dataset.slice) === values[0];
        one.tabIndex = here ? 0 : -1;
        here ? one.setAttribute("aria-current", "true") : one.removeAttribute("aria-current");
    }
    return values;
}"""
