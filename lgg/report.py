"""All that the page says: its standing words, and what a prediction means in words, numbers and HTML."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from lgg.cascade import Cascade
from lgg.errors import LggError, SliceError
from lgg.models import GATE, TITLES
from lgg.plausible import implausible
from lgg.prediction import Prediction
from lgg.slice import Slice

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

log = logging.getLogger("lgg.page")

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
        "warnings": list(implausible(one, prediction.head)),
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
