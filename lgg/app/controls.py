"""Lines that visitors wait in: for what runs a model on a slice or on a series, and for what only draws."""

from dataclasses import dataclass, fields, replace
from html import escape
from typing import Any

import gradio as gr

from lgg.app.render import script
from lgg.types import FLAIR, POST, PRE, Thresholds
from lgg.visualize import Display, Layer

MODEL: dict[str, Any] = {"concurrency_id": "model", "api_visibility": "private"}
#: A series takes up to a minute; visitors of single slices do not wait for it.
SERIES: dict[str, Any] = {
    "concurrency_id": "series",
    "concurrency_limit": 1,
    "api_visibility": "private",
    "show_progress": "minimal",
}
DRAW: dict[str, Any] = {
    "concurrency_id": "draw",
    "concurrency_limit": 4,
    "api_visibility": "private",
    "show_progress": "hidden",
    "trigger_mode": "always_last",
}


#: Title and message, see `lgg.app.render.explain`.
Trouble = tuple[str, str]


def refusal(title: str, message: str) -> gr.Error:
    """Gradio renders messages as HTML, and these hold the names of uploaded files."""
    return gr.Error(escape(message, quote=False), title=title, duration=5, print_exception=False)


def tell(trouble: Trouble | None) -> None:
    """Announce an error, in a step without outputs: Gradio would mark them as failed."""
    if trouble is not None:
        raise refusal(*trouble)


def scroll_to(name: str) -> str:
    """Show the element of this id, which on a phone may lie outside the screen; hands its arguments on."""
    return script("scroll_to").replace("NAME", name)


#: A picture that is pasted anywhere on the page is uploaded; Gradio's drop zone takes only drops and clicks.
PASTE_TO_UPLOAD = script("paste_to_upload")
#: The address of this page with the query given, to the clipboard; the box shows it if that is not allowed.
COPY_LINK = script("copy_link")
#: Once a file is ready: download it.
CLICK_DOWNLOAD = """() => document.querySelector("#download-ready")?.click()"""
#: Seen at once; the examination itself says when it has stopped, which may be a batch of slices later.
CANCELLING = script("cancelling")


LAYER_CHOICES: list[tuple[str, Layer]] = [
    ("Fill", "fill"),
    ("Outline", "outline"),
    ("Heat map", "heat"),
    ("Why (gate)", "why"),
    ("How unsure", "unsure"),
]
ERRORS: tuple[str, Layer] = ("Errors", "errors")
SEQUENCE_CHOICES = [("T1 pre", PRE), ("FLAIR", FLAIR), ("T1 post", POST)]


@dataclass(frozen=True)
class Parts:
    """Components of one kind, in a fixed order."""

    def all(self) -> list[Any]:
        """All of them, as Gradio takes them for inputs and outputs."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class LookControls(Parts):
    """How it is shown. Their values are the arguments of `Settings`, in this order."""

    layer: gr.Radio
    channel: gr.Radio
    threshold: gr.Slider
    gate: gr.Slider
    opacity: gr.Slider


@dataclass(frozen=True)
class Settings:
    """The values of the controls: what lies over which sequence, two thresholds, an opacity, 0 to 1 each."""

    layer: Layer
    channel: int
    threshold: float
    gate: float
    opacity: float

    @property
    def look(self) -> Display:
        """What is drawn."""
        return Display(self.channel, self.layer, self.opacity)

    def thresholds(self, own: Thresholds) -> Thresholds:
        """The model's own thresholds, but for the two that a visitor moves."""
        return replace(own, mask=self.threshold, gate=self.gate)


def look_controls(thresholds: tuple[float, float], prefix: str = "") -> LookControls:
    """Lay the controls out in the surrounding column.

    Args:
        thresholds: of the mask and of the gate, to begin with.
        prefix: of the components' names in the page.
    """
    start = Display()
    with gr.Row(elem_classes="switches"):
        layer = gr.Radio(LAYER_CHOICES, value=start.layer, label="Show", elem_id=f"{prefix}layer", scale=3)
        channel = gr.Radio(
            SEQUENCE_CHOICES, value=start.channel, label="Sequence", elem_id=f"{prefix}sequence", scale=2
        )
    with gr.Row(elem_classes="sliders"):
        threshold = _slider("Mask threshold", f"{prefix}threshold", thresholds[0])
        gate = _slider("Gate threshold", f"{prefix}gate", thresholds[1])
        opacity = _slider("Opacity", f"{prefix}opacity", start.opacity)
    return LookControls(layer, channel, threshold, gate, opacity)


def layers(truth: bool, layer: Layer) -> gr.Radio:
    """The layers on offer: errors only where there is a ground truth to err against.

    The chosen one is left alone where it can be: a visitor may have chosen another meanwhile.
    """
    if layer == "errors" and not truth:
        return gr.Radio(LAYER_CHOICES, value="fill")
    return gr.Radio([*LAYER_CHOICES, ERRORS] if truth else LAYER_CHOICES)


def truth_box(prefix: str, hint: str, **several: Any) -> gr.File:
    """Where a ground truth is uploaded, folded away at first; `several`: what else `gr.File` takes."""
    with gr.Accordion("Compare with a ground truth", open=False, elem_id=f"{prefix}truth-box"):
        gr.HTML(f'<p class="hint">{hint}</p>')
        return gr.File(show_label=False, height=88, elem_id=f"{prefix}truth", **several)


def _slider(label: str, name: str, value: float) -> gr.Slider:
    return gr.Slider(0, 1, value, step=0.01, label=label, elem_id=name, min_width=180, buttons=[])
