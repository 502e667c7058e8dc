"""The tab in which a whole series is examined: its layout, which control does what, and its API."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, Protocol

import gradio as gr

from lgg.cascade import Cascade
from lgg.chart import FOLLOW, ON_LOAD
from lgg.page.lines import DRAW, SERIES
from lgg.page.look import LookControls, Settings, look_controls, truth_box
from lgg.page.lookup import own_thresholds
from lgg.page.scripts import CANCELLING, scroll_to
from lgg.page.series_events import (
    OTHER_FILES,
    TURNING,
    WAITING,
    SeriesEvents,
    Updates,
    failed,
)
from lgg.page.series_run import ROLES, Order, SeriesDesk
from lgg.page.stops import Stops
from lgg.slice import SEQUENCES

HINT = """<p class="hint">All slices of one patient: TIFF, PNG or JPEG files in the order of their names, a
ZIP archive of them, a TIFF with a page a slice, a DICOM series, or NIfTI, FLAIR alone or one file for each
sequence. 512 slices at most. Deleted within the hour; still, send nothing that identifies a patient.</p>"""
TRUTH_HINT = """Masks of the series that is shown: NIfTI, a TIFF with a page a slice, or a file a slice,
packed or not. Whatever is not black is tumour."""
#: The archive is made when it is asked for; then it is saved as if its own button were pressed.
SAVE = """() => setTimeout(() => {
    const save = document.querySelector("a#series-save, #series-save a, button#series-save");
    if (save && save.offsetParent) save.click();
}, 200)"""


class Models(Protocol):
    """Whatever holds the models: architecture → cascade."""

    cascades: dict[str, Cascade]


def series_tab(desk: Models, choices: Sequence[tuple[str, str]], preferred: str | None) -> SeriesDesk:
    """Build the tab's contents in the surrounding blocks.

    Args:
        desk: holds the models.
        choices: (name for people, architecture) of each segmenter on offer.
        preferred: the architecture that is chosen at first.

    Returns:
        where series are examined, for `segment_series`.
    """
    series_desk = SeriesDesk(desk.cascades)
    # Of this visitor: what was examined, and whether it was asked which volume is which.
    parts: dict[str, Any] = {"order": gr.State(None), "asked": gr.State(False)}
    with gr.Row(elem_id="series-columns"):
        with gr.Column(scale=2, min_width=280, elem_id="series-controls"):
            parts |= _controls(choices, preferred)
        with gr.Column(scale=5, min_width=280, elem_id="series-result"):
            parts["said"] = gr.HTML(WAITING, elem_id="series-said")
            # The style hides it while there is no plot: in Gradio 6.31 what comes together with its column,
            # shortly after other answers, is sometimes lost.
            with gr.Column(elem_id="series-view"):
                parts |= _view(own_thresholds(desk.cascades, preferred, series=True))
    _connect(parts, SeriesEvents(series_desk))
    return series_desk


def _controls(choices: Sequence[tuple[str, str]], preferred: str | None) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    gr.HTML("<h2>Upload a series</h2>")
    parts["files"] = gr.File(show_label=False, file_count="multiple", height=150, elem_id="series-upload")
    gr.HTML(HINT)
    with gr.Column(visible=False, elem_id="series-sequences") as parts["sequences"]:
        gr.HTML("<h2>Which volume is which?</h2>")
        for role, sequence in zip(ROLES, SEQUENCES, strict=True):
            parts[role] = gr.Dropdown([], label=sequence, interactive=True, elem_id=f"series-{role}")
    parts["architecture"] = gr.Radio(
        list(choices), value=preferred, label="Architecture", visible=bool(choices)
    )
    parts["truth"] = truth_box("series-", TRUTH_HINT, file_count="multiple")
    with gr.Row(elem_id="series-buttons"):
        parts["start"] = gr.Button("Examine", variant="primary", elem_id="series-start")
        parts["stop"] = gr.Button("Cancel", variant="stop", visible=False, elem_id="series-stop")
    return parts


def _view(thresholds: tuple[float, float]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    parts["picture"] = gr.Image(
        format="png",
        interactive=False,
        show_label=False,
        buttons=["fullscreen", "download"],
        elem_id="series-picture",
    )
    parts["slider"] = gr.Slider(1, 2, value=1, step=1, label="Slice", buttons=[], elem_id="series-slice")
    parts["legend"] = gr.HTML(elem_id="series-legend")
    look = look_controls(thresholds, "series-")
    parts |= {field.name: getattr(look, field.name) for field in fields(look)}
    parts["chart"] = gr.HTML(js_on_load=ON_LOAD, elem_id="series-chart")
    parts["scores"] = gr.HTML(elem_id="series-scores")
    parts["facts"] = gr.HTML(elem_id="series-facts")
    with gr.Row(elem_id="series-more"):
        parts["turn"] = gr.Button("Show the tumour in 3D", elem_id="series-turn")
        parts["prepare"] = gr.Button("Download everything", elem_id="series-prepare")
        parts["save"] = gr.DownloadButton("Save the archive", visible=False, elem_id="series-save")
    parts["surface"] = gr.Model3D(
        interactive=False,
        visible=False,
        height=420,
        clear_color=(0.04, 0.05, 0.07, 1.0),
        elem_id="series-surface",
    )
    return parts


def _connect(parts: dict[str, Any], events: SeriesEvents) -> None:
    """Tie controls to handlers; every handler may change every component."""
    outputs = list(parts.values())
    look = [parts[field.name] for field in fields(LookControls)]
    place = [parts["slider"], parts["order"], *look]

    def named(updates: Updates) -> dict[Any, Any]:
        return {parts[name]: value for name, value in updates.items()}

    stops = Stops()

    def on_start(
        request: gr.Request, files: list[str] | None, architecture: str, asked: bool, *rest: Any
    ) -> Iterator[dict[Any, Any]]:
        roles, settings = [str(role or "") for role in rest[:3]], Settings(*rest[3:])
        with stops.running(str(request.session_hash)) as stopped:
            for updates in events.start(files, architecture, asked, roles, settings, stopped):
                yield named(updates)

    def on_stop(request: gr.Request) -> None:
        stops.ask(str(request.session_hash))

    def one(handler: Callable[[float, Order, Settings], Updates]) -> Callable[..., dict[Any, Any]]:
        def answer(number: float, order: Order, *rest: Any) -> dict[Any, Any]:
            try:
                return named(handler(number, order, Settings(*rest)))
            except Exception as error:
                return named(failed(error))

        return answer

    def on_truth(files: list[str] | None, number: float, order: Order, *rest: Any) -> dict[Any, Any]:
        return one(partial(events.truth, files))(number, order, *rest)

    def on_pick(event: gr.EventData, order: Order, *rest: Any) -> dict[Any, Any]:
        return one(events.slice)(event.slice, order, *rest)

    def made(handler: Callable[[Order, Settings], Iterator[Updates]]) -> Callable[..., Iterator[dict]]:
        def answer(order: Order, *rest: Any) -> Iterator[dict[Any, Any]]:
            try:
                for updates in handler(order, Settings(*rest)):
                    yield named(updates)
            except Exception as error:
                yield named(failed(error))

        return answer

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    parts["files"].change(lambda: named(OTHER_FILES), None, outputs, **quiet)
    roles = [parts[role] for role in ROLES]
    parts["start"].click(
        on_start,
        [parts["files"], parts["architecture"], parts["asked"], *roles, *look],
        outputs,
        js=scroll_to("series-result"),
        show_progress_on=[parts["said"]],
        **SERIES,
    )
    # It changes nothing itself: all that is said of an examination comes from one event, in order.
    parts["stop"].click(on_stop, None, None, js=CANCELLING, queue=False, **quiet)
    parts["slider"].input(one(events.slice), place, outputs, js=FOLLOW, **DRAW)
    parts["chart"].select(on_pick, place[1:], outputs, **DRAW)
    shown = [parts[name].input for name in ("layer", "channel", "opacity")]
    gr.on(shown, one(events.slice), place, outputs, **DRAW)
    # The picture comes last, by what the controls say then: other answers may have come in between.
    deciding = [parts[name].input for name in ("threshold", "gate")]
    gr.on(deciding, one(events.threshold), place, outputs, **DRAW).then(
        one(events.slice), place, outputs, **DRAW
    )
    gr.on([parts["truth"].upload, parts["truth"].clear], on_truth, [parts["truth"], *place], outputs, **DRAW)
    # In two steps: Gradio 6.31 does not draw a model that comes together with its component.
    opened = parts["turn"].click(lambda: named(TURNING), None, outputs, queue=False, **quiet)
    opened.then(made(events.surface), place[1:], outputs, show_progress_on=[parts["surface"]], **SERIES)
    parts["prepare"].click(
        made(events.archive), place[1:], outputs, show_progress_on=[parts["prepare"]], **SERIES
    ).success(None, js=SAVE)
