"""From what a visitor chose to what the tab for one slice shows."""

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from lgg import report
from lgg.page.desk import Desk, Examined
from lgg.page.look import Settings
from lgg.page.messages import Trouble
from lgg.picture import shrink
from lgg.prediction import Prediction
from lgg.scorecard import truth_html
from lgg.slice import SEQUENCES
from lgg.uncertainty import calibration_error, in_words
from lgg.view import base, describe, draw, legend

#: How many values `show` returns before the error: those of `lgg.page.slice_parts.Result`.
NOTHING: tuple[Any, ...] = (gr.skip(),) * 9


@dataclass(frozen=True)
class Current:
    """What one visitor looks at: paths in Gradio's cache of uploads, or of the shipped examples."""

    path: str | None = None
    truth: str | None = None
    example: str | None = None


@dataclass(frozen=True)
class Wanted(Settings):
    """The values of the controls, in the order of `lgg.page.slice_parts.Controls`."""

    architecture: str | None
    slider: bool


def show(desk: Desk, current: Current, wanted: Wanted, same_base: bool = False) -> tuple[Any, ...]:
    """Values of all of `Result`, and an error or None.

    `same_base`: the picture without a layer stands there already, and is not sent again.

    A failure clears the last result. It is returned, not raised, so that its words can stay on the page.
    """
    if current.path is None:
        return *NOTHING, None
    try:
        examined = desk.examine(current.path, wanted.architecture)
        truth = desk.truth(current.truth, examined)
        look = wanted.look
        if look.layer == "errors" and truth is None:
            look = replace(look, layer="fill")
        extra = desk.extra(current.path, str(wanted.architecture), look.layer)
    except Exception as error:
        return failed(error)
    one = examined.one
    prediction = examined.prediction.decided(wanted.thresholds(examined.prediction.thresholds))
    over = shrink(draw(one, prediction, look, extra, truth))
    sides = not wanted.slider
    plain = None if sides and same_base else shrink(base(one, prediction, look))
    words = describe(look, prediction)
    label = f"{report.model(examined.cascade)}: {'outlined' if prediction.area else 'nothing outlined'}"
    alone = gr.update(value=plain if sides else None, alt_text=f"{SEQUENCES[look.channel]} alone.")
    return (
        _said(examined, prediction),
        gr.Column(visible=True),
        gr.Row(visible=sides),
        # Not gr.Image(…): a component of its own would write each picture once more, as lossy WebP.
        gr.update(value=over if sides else None, label=label, alt_text=words),
        gr.skip() if sides and same_base else alone,
        gr.update(value=(plain, over) if wanted.slider else None, visible=wanted.slider),
        f'<p class="hint">{legend(look, truth is not None, examined.series.oriented)}</p>',
        report.facts_html(one, prediction, examined.cascade),
        truth_html(prediction, truth) if truth is not None else "",
        None,
    )


def failed(error: Exception) -> tuple[Any, ...]:
    """What stands there instead of a result, and the error in words."""
    trouble: Trouble = report.explain(error)
    hidden = (gr.Column(visible=False), gr.skip(), None, None, None, "", "", "")
    return report.error_html(*trouble), *hidden, trouble


def _said(examined: Examined, prediction: Prediction) -> str:
    error = calibration_error(examined.cascade.gate_config)
    sure = in_words(prediction.gate_probability, error)
    warning = report.warning_html(examined.warnings)
    return report.verdict_html(examined.one, prediction, sure) + warning
