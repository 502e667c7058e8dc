"""The components of the tab for one slice."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from lgg import report
from lgg.gallery import Example
from lgg.page.look import LookControls, Parts, look_controls, truth_box
from lgg.picture import flair_picture
from lgg.reading import read_slice

#: What the result's pictures share.
PICTURE: dict[str, Any] = {"format": "png", "interactive": False, "buttons": ["fullscreen", "download"]}


@dataclass(frozen=True)
class Choice(Parts):
    """Where a visitor says what to look at."""

    gallery: gr.Gallery
    caption: gr.HTML
    upload: gr.File
    truth: gr.File
    architecture: gr.Radio


@dataclass(frozen=True)
class Controls(LookControls):
    """Their values are the arguments of `lgg.page.slice_show.Wanted`, in this order."""

    architecture: gr.Radio
    slider: gr.Checkbox


@dataclass(frozen=True)
class Result(Parts):
    """What is shown."""

    said: gr.HTML
    body: gr.Column
    pictures: gr.Row
    picture: gr.Image
    plain: gr.Image
    both: gr.ImageSlider
    legend: gr.HTML
    facts: gr.HTML
    scores: gr.HTML


def choice_column(examples: list[Example], choices: list[tuple[str, str]], preferred: str | None) -> Choice:
    """Examples, uploads, architecture."""
    gr.HTML("<h2>Pick an example</h2>", visible=bool(examples))
    gallery = example_gallery(examples)
    caption = gr.HTML(elem_id="caption")
    gr.HTML("<h2>or upload a slice</h2>")
    upload = gr.File(show_label=False, height=88, elem_id="upload")
    gr.HTML(report.PRIVACY)
    architecture = gr.Radio(
        choices, value=preferred, label="Architecture", visible=bool(choices), elem_id="architecture"
    )
    truth = truth_box("", "A mask of the same size, PNG or TIFF: whatever is not black is tumour.")
    return Choice(gallery, caption, upload, truth, architecture)


def example_gallery(examples: list[Example]) -> gr.Gallery:
    """The examples as thumbnails of what the reading makes of them."""
    return gr.Gallery(
        [(flair_picture(read_slice(one.image)), one.title) for one in examples],
        show_label=False,
        container=False,
        columns=3,
        allow_preview=False,
        format="png",
        interactive=False,
        buttons=[],
        visible=bool(examples),
        elem_id="examples",
    )


def result_column(
    ready: bool, architecture: gr.Radio, thresholds: tuple[float, float]
) -> tuple[Result, Controls]:
    """Verdict first, then the pictures with their controls, then what was measured.

    Args:
        ready: whether there is any model to run.
        thresholds: of the mask and of the gate, to begin with.
    """
    said = gr.HTML(report.empty_html(ready))
    with gr.Column(visible=False, elem_id="body") as body:
        with gr.Row(elem_id="pictures") as pictures:
            picture = gr.Image(label="Outlined", elem_id="outlined", **PICTURE)
            plain = gr.Image(label="As read", elem_id="plain", **PICTURE)
        both = gr.ImageSlider(
            label="Before and after",
            visible=False,
            format="png",
            interactive=False,
            elem_id="both",
            buttons=["fullscreen"],
        )
        legend = gr.HTML(elem_id="legend")
        look = look_controls(thresholds)
        slider = gr.Checkbox(
            label="Before and after under one slider", container=False, elem_id="before-after"
        )
        scores = gr.HTML(elem_id="scores")
        facts = gr.HTML(elem_id="facts")
    result = Result(said, body, pictures, picture, plain, both, legend, facts, scores)
    controls = Controls(
        look.layer, look.channel, look.threshold, look.gate, look.opacity, architecture, slider
    )
    return result, controls
