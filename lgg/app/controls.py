"""What both tabs share: queues, controls, and what the controls do to a result that is shown."""

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lgg.app import render
from lgg.app.render import script
from lgg.app.service import Map, Request, Service
from lgg.export import write_zip
from lgg.models import TITLES
from lgg.types import FLAIR, POST, PRE, Prediction, SeriesResult, Slice, Thresholds
from lgg.visualize import Display, Layer, Rgb, base, describe, draw, legend

# Gradio queue settings. A series takes up to a minute; visitors of single slices do not wait for it.
MODEL: dict[str, Any] = {"concurrency_id": "model", "api_visibility": "private"}
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

LAYER_CHOICES: list[tuple[str, Layer]] = [
    ("Fill", "fill"),
    ("Outline", "outline"),
    ("Heat map", "heat"),
    ("Why (gate)", "why"),
    ("How unsure", "unsure"),
]
ERRORS: tuple[str, Layer] = ("Errors", "errors")
SEQUENCE_CHOICES = [("T1 pre", PRE), ("FLAIR", FLAIR), ("T1 post", POST)]
#: Names of the controls of how a result is shown, and of all that decides what is drawn.
SHOWN_BY = ("layer", "channel", "threshold", "gate", "opacity")

#: Longest side of a picture that is sent to a browser.
SENT_SIDE = 1536

#: Of an event that brings none.
NO_DATA = gr.EventData(None, {})
#: Component's name → its value, or its new value.
Values = Mapping[str, Any]
Updates = dict[str, Any]


def refusal(title: str, message: str) -> gr.Error:
    """Gradio renders messages as HTML, and these hold the names of uploaded files."""
    return gr.Error(escape(message, quote=False), title=title, duration=5, print_exception=False)


@contextmanager
def refusing() -> Iterator[None]:
    """Whatever goes wrong inside is refused in words."""
    try:
        yield
    except Exception as error:
        raise refusal(*render.explain(error)) from None


def told(error: Exception) -> str:
    """An error in words, as HTML; it is announced, too."""
    title, message = render.explain(error)
    # Not a `gr.Error`: it would end the event, and Gradio would mark what it was to change as failed.
    gr.Warning(escape(message, quote=False), title=title, duration=5)
    return render.message_html("error", title, message)


class Tab(dict[str, Any]):
    """A tab's components by name, and the way from their events to handlers, which know names alone.

    Args:
        failed: what is shown where a handler raises; a `gr.Error` is left to Gradio.
    """

    def __init__(self, failed: Callable[[Exception], Updates]) -> None:
        super().__init__()
        self._failed = failed

    def on(
        self,
        event: Any,
        handler: Callable[[Values], Any],
        inputs: Iterable[str] = (),
        changes: Collection[str] | None = None,
        picked: str | None = None,
        **settings: Any,
    ) -> Any:
        """Tie an event, or each of a list, to a handler.

        Args:
            handler: takes the values of `inputs`, and Gradio's request as `visitor`; returns or yields
                updates.
            changes: names of what the handler may change, by default every component. They are named where
                speed counts: a browser takes up to 3 ms for each, changed or not. An error then leaves what
                is shown, and is only announced.
            picked: the field of the event's own data that the handler gets as `picked`.

        Returns:
            Gradio's dependency, for what comes after.
        """
        names = {self[name]: name for name in inputs}
        outputs = [self[name] for name in self if changes is None or name in changes]

        def read(values: dict[Any, Any], visitor: gr.Request, data: gr.EventData | None) -> Values:
            chosen = getattr(data, picked, None) if picked else None
            by_name = {names[component]: value for component, value in values.items()}
            return {**by_name, "visitor": visitor, "picked": chosen}

        def update(updates: Updates) -> dict[Any, Any]:
            # Gradio 6.31 does not take an empty dict for one.
            return {self[name]: value for name, value in updates.items()} or {outputs[0]: gr.skip()}

        def failure(error: Exception) -> dict[Any, Any]:
            if isinstance(error, gr.Error):
                raise error
            if changes is None:
                return update(self._failed(error))
            told(error)
            return update({})

        def answer(values: dict, visitor: gr.Request, data: gr.EventData = NO_DATA) -> dict[Any, Any]:
            try:
                return update(handler(read(values, visitor, data)))
            except Exception as error:
                return failure(error)

        def answers(values: dict, visitor: gr.Request) -> Iterator[dict[Any, Any]]:
            try:
                yield from map(update, handler(read(values, visitor, None)))
            except Exception as error:
                yield failure(error)

        function = answers if inspect.isgeneratorfunction(handler) else answer
        bind = partial(gr.on, event) if isinstance(event, list) else event
        return bind(function, set(names), outputs, **settings)


def layer_controls(tab: Tab, prefix: str = "") -> None:
    """Lay out what is drawn of a slice in the surrounding column.

    Args:
        prefix: of the components' ids in the page.
    """
    start = Display()
    with gr.Row(elem_classes="switches"):
        tab["layer"] = gr.Radio(
            LAYER_CHOICES, value=start.layer, label="Show", elem_id=f"{prefix}layer", scale=3
        )
        tab["channel"] = gr.Radio(
            SEQUENCE_CHOICES, value=start.channel, label="Sequence", elem_id=f"{prefix}sequence", scale=2
        )


def sliders(tab: Tab, thresholds: Thresholds, prefix: str = "") -> None:
    """Lay out the thresholds, these to begin with, and the opacity."""
    values = {"threshold": thresholds.mask, "gate": thresholds.gate, "opacity": Display().opacity}
    labels = {"threshold": "Mask threshold", "gate": "Gate threshold", "opacity": "Opacity"}
    with gr.Row(elem_classes="sliders"):
        for name, value in values.items():
            tab[name] = gr.Slider(
                0, 1, value, step=0.01, label=labels[name], elem_id=prefix + name, min_width=140, buttons=[]
            )


def layers(truth: bool, layer: Layer, choose: bool = False) -> gr.Radio:
    """The layers on offer: errors only where there is a ground truth to err against.

    The chosen one is left alone where it can be (unless `choose`): a visitor may have moved on meanwhile.
    """
    offered = [*LAYER_CHOICES, ERRORS] if truth else LAYER_CHOICES
    if layer == "errors" and not truth:
        layer, choose = "fill", True
    return gr.Radio(offered, value=layer) if choose else gr.Radio(offered)


def architecture_choice(service: Service, prefix: str = "") -> gr.Radio:
    """Which segmenter runs; nothing where there is none."""
    return gr.Radio(
        [(TITLES[name], name) for name in service.cascades],
        value=service.preferred,
        label="Architecture",
        visible=bool(service.cascades),
        elem_id=f"{prefix}architecture",
    )


def truth_box(prefix: str, hint: str, **settings: Any) -> gr.File:
    """Where a ground truth is uploaded, folded away at first; `settings`: more that `gr.File` takes."""
    with gr.Accordion("Compare with a ground truth", open=False, elem_id=f"{prefix}truth-box"):
        gr.HTML(render.html("hint", text=hint))
        return gr.File(show_label=False, height=88, elem_id=f"{prefix}truth", **settings)


def sendable(picture: Rgb) -> Image.Image:
    """A picture for a browser: small enough, and a PNG that is written in a third of the usual time."""
    image = Image.fromarray(picture)
    image.thumbnail((SENT_SIDE, SENT_SIDE))
    image.save = partial(image.save, compress_level=1)  # type: ignore[method-assign]
    return image


@dataclass(frozen=True)
class View:
    """A slice of a result, counted from 1, as the controls show it.

    truth: of the whole upload, (N, H, W) bool. extra: the map that the layer needs, (H, W) float32.
    """

    request: Request
    result: SeriesResult
    number: int = 1
    display: Display = field(default_factory=Display)
    truth: NDArray[np.bool_] | None = None
    extra: Map | None = None

    @property
    def slice_(self) -> Slice:
        """As it was read."""
        return self.result.series.slices()[self.number - 1]

    @property
    def prediction(self) -> Prediction:
        """What was found in it."""
        return self.result.predictions[self.number - 1]

    def picture(self) -> Image.Image:
        """The sequence with its layer, to be sent."""
        truth = None if self.truth is None else self.truth[self.number - 1]
        return sendable(draw(self.slice_, self.prediction, self.display, self.extra, truth))

    def plain(self) -> Image.Image:
        """The sequence alone, to be sent."""
        return sendable(base(self.slice_, self.prediction, self.display))

    def describe(self) -> str:
        """The picture in words, for those who cannot see it."""
        return describe(self.display, self.prediction)

    def legend_html(self) -> str:
        """What the colours mean, and which side is which."""
        oriented, corrected = self.result.series.oriented, self.result.corrected
        text = legend(self.display, self.truth is not None, oriented, corrected)
        return render.html("hint", text=text)

    def scores_html(self) -> str:
        """How the result compares with the ground truth; "" without one."""
        if self.truth is None:
            return ""
        masks = self.result.masks
        if self.request.lone:
            return render.truth_html(masks[0], self.truth[0])
        return render.truth_html(masks, self.truth, self.result.series.distances)


class Handlers:
    """What the controls of either tab do; `current` holds the request that is shown, or None.

    They keep nothing of any visitor. A failure clears the last result and says why where it would stand; it
    is returned, not raised, so that its words can stay on the page. Each tab draws its own `picture`.
    """

    #: What the tab looks like without a result, and the archive's name, never that of the upload.
    cleared: ClassVar[Updates]
    archive_name: str
    #: Whether the button that saves the archive can be seen; a script may press it if it is only hidden.
    save_visible: bool | Literal["hidden"] = True

    def __init__(self, service: Service) -> None:
        self.service = service

    def picture(self, view: View, values: Values) -> Updates:
        """The slice, drawn."""
        raise NotImplementedError

    def words(self, view: View) -> Updates:
        """All that is said about the result: verdict with warnings, what was measured, scores."""
        request, result = view.request, view.result
        cascade, warnings = self.service.cascade(request.architecture), self.service.warnings(request)
        return {
            "said": render.verdict_html(result, cascade, request.lone, warnings),
            "facts": render.facts_html(result, cascade, request.lone),
            "scores": view.scores_html(),
        }

    def view(self, request: Request, values: Values) -> View:
        """The result as the controls decide and show it; no network runs but for `EXTRA` layers.

        Raises:
            WeightsError, SliceError: it cannot be shown any more.
        """
        result = self.service.decided(request, values["threshold"], values["gate"])
        number = min(max(round(values.get("slice", 1)), 1), len(result))
        truth = self.service.truth(request)
        display = Display(values["channel"], values["layer"], values["opacity"])
        if display.layer == "errors" and truth is None:
            display = replace(display, layer="fill")
        extra = self.service.extra(request, number, display.layer)
        return View(request, result, number, display, truth, extra)

    def redraw(self, values: Values) -> Updates:
        """Another slice, or the same one shown in another way."""
        request = values["current"]
        return {} if request is None else self.picture(self.view(request, values), values)

    def decide(self, values: Values) -> Updates:
        """What is said of the result by other thresholds."""
        request = values["current"]
        return {} if request is None else self.words(self.view(request, values))

    def truth(self, values: Values) -> Updates:
        """A ground truth for what is shown, or none any more; one that cannot be used is left."""
        if values["current"] is None:
            return {"truth": None}
        files = values["truth"] or ()
        request = replace(values["current"], truth=(files,) if isinstance(files, str) else tuple(files))
        try:
            self.service.truth(request)
        except Exception as error:  # the result stays; only the mask is refused
            return {"scores": told(error), "truth": None}
        view = self.view(request, values)
        return {
            **self.picture(view, values),
            "current": request,
            "layer": layers(bool(request.truth), values["layer"]),
            "scores": view.scores_html(),
        }

    def archive(self, values: Values) -> Iterator[Updates]:
        """Everything that was found, in one archive that Gradio hands out and deletes within the hour."""
        request = values["current"]
        if request is None:
            raise refusal("Nothing to download", "Pick an example or upload a slice first.")
        with refusing(), TemporaryDirectory() as folder:
            path = Path(folder) / self.archive_name
            result = self.service.decided(request, values["threshold"], values["gate"])
            write_zip(path, result, self.service.provenance(request, result))
            label = f"Save the archive ({path.stat().st_size / 1e6:.1f}\u00a0MB)"
            # Gradio copies the file before it asks for the next value.
            yield {"save": gr.DownloadButton(label, value=str(path), visible=self.save_visible)}

    def failed(self, error: Exception) -> Updates:
        """What stands there instead of a result."""
        return {**self.cleared, "said": told(error)}


def connect_extras(tab: Tab, handlers: Handlers, inputs: Iterable[str], queue: dict[str, Any]) -> None:
    """Tie what both tabs have beside the picture: a ground truth, and the archive, saved once it is there."""
    given = [tab["truth"].upload, tab["truth"].clear]
    tab.on(given, handlers.truth, ("truth", *inputs), **DRAW)
    packed = tab.on(tab["pack"].click, handlers.archive, inputs, show_progress_on=[tab["pack"]], **queue)
    packed.success(None, js=script("save", tab["save"].elem_id))
