"""What the controls of the series' tab do: from a visitor's choices to new values for its components.

Handlers answer with component's name → value, and know nothing of the layout. A failure clears the last
result and says why where the result would stand.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import gradio as gr

from lgg.app import render as report
from lgg.app import render as series_report
from lgg.app.controls import (
    CANCELLING,
    DRAW,
    SERIES,
    LookControls,
    Settings,
    layers,
    look_controls,
    scroll_to,
    truth_box,
)
from lgg.app.render import chart_html, html, message_html, script, truth_html
from lgg.app.service import ROLES, Request, SeriesDesk, Stops, assigned, own_thresholds
from lgg.cascade import Cascade
from lgg.export import write_zip
from lgg.export.mesh import surface_glb
from lgg.export.provenance import provenance_of
from lgg.io import AmbiguousSeriesError
from lgg.types import FLAIR, POST, PRE, SEQUENCES, Candidate, SeriesResult
from lgg.visualize import describe, draw, legend, shrink

WAITING = message_html("empty", "No series yet", "Upload a patient's slices, then choose Examine.")
CANCELLED = message_html(
    "empty", "Cancelled", "Nothing was kept. Choose Examine to begin again.", role="status"
)
#: What a visitor saves is never named after the upload.
SURFACE, ARCHIVE = "tumour.glb", "segmentation.zip"
#: Seconds between two answers that must both arrive.
PAUSE = 0.5
NONE = "(none: FLAIR stands in)"

Updates = dict[str, Any]


class SeriesEvents:
    """The handlers. They keep nothing of any visitor."""

    def __init__(self, desk: SeriesDesk) -> None:
        self.desk = desk

    def start(
        self,
        files: Sequence[str] | None,
        architecture: str,
        asked: bool,
        roles: Sequence[str | None],
        settings: Settings,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[Updates]:
        """Examine a series, telling after each batch how far it is.

        Args:
            files: the uploads.
            asked: whether the visitor was asked which volume is which sequence.
            roles: the volumes chosen for `ROLES`.
            stopped: whether the visitor wants no more of it; asked after each batch.
        """
        # Each answer is the whole state: of answers that follow each other within milliseconds, Gradio 6.31
        # loses some, but not the last.
        last: Updates = {}
        try:
            order = Request(tuple(files or ()), architecture, assigned(roles) if asked else ())
            for progress in self.desk.examine(order):
                if stopped():
                    yield STOPPED
                    return
                if progress.result is None:
                    now = series_report.progress_html(progress.done, progress.slices, progress.seconds)
                    yield {**CLEARED, **RUNNING, "said": now}
                else:
                    last = self._opened(order, progress.result, settings)
        except AmbiguousSeriesError as error:
            guesses = {one.guess: one.key for one in error.candidates if one.guess is not None}
            said = report.error_html("Which volume is which?", str(error))
            last = {**CLEARED, "said": said, **_asking(error.candidates, guesses)}
        except Exception as error:
            last = failed(error)
        yield {**last, **IDLE}

    def slice(self, number: float, order: Request, settings: Settings) -> Updates:
        """Another slice, or the same one shown in another way."""
        result = self._decided(order, settings)
        number = min(max(round(number), 1), len(result))
        return {**self._picture(result, number, order, settings), "slider": number}

    def threshold(self, number: float, order: Request, settings: Settings) -> Updates:
        """What other outlines in all slices amount to; the picture follows. No network runs."""
        return self._said(order, self._decided(order, settings), round(number))

    def truth(
        self, files: Sequence[str] | None, number: float, order: Request | None, settings: Settings
    ) -> Updates:
        """A ground truth for the series that is shown, or none any more; one that cannot be used is left."""
        if order is None:
            return {"truth": None}
        mine = replace(order, truth=tuple(files or ()))
        try:
            self.desk.truth(mine)
        except Exception as error:
            return {"scores": report.error_html(*report.explain(error)), "truth": None}
        return {
            **self.slice(number, mine, settings),
            "order": mine,
            "layer": layers(bool(mine.truth), settings.layer),
            "scores": self._scores(mine, self._decided(mine, settings)),
        }

    def surface(self, order: Request, settings: Settings) -> Iterator[Updates]:
        """The tumour in 3D."""
        result = self._decided(order, settings)
        data = surface_glb(result)
        if data is None:
            return
        unit = "pixels and slices as cubes" if result.series.voxel_mm3 is None else "true to scale"
        label = f"The outlined tumour in the head, {unit}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / SURFACE
            path.write_bytes(data)
            # Gradio copies the file when it takes this value, before it asks for the next.
            yield {"surface": gr.Model3D(str(path), visible=True, label=label)}
            # The last answer is sent twice, and a model that comes again while its viewer loads is never
            # drawn; so the last one is another, and late enough for the first not to be lost.
            time.sleep(PAUSE)
            yield {"turn": gr.skip()}

    def archive(self, order: Request, settings: Settings) -> Iterator[Updates]:
        """Everything that was found, as a ZIP archive."""
        with tempfile.TemporaryDirectory() as folder:
            path = self.write(Path(folder), order, self._decided(order, settings))
            size = path.stat().st_size / 1e6
            label = f"Save the archive ({size:.1f}\u00a0MB)"
            yield {"save": gr.DownloadButton(label, value=str(path), visible=True)}

    def write(self, folder: Path, order: Request, result: SeriesResult) -> Path:
        """Write the archive of a result into a folder."""
        method = replace(provenance_of(self.desk.cascade(order)), thresholds=result.thresholds)
        write_zip(folder / ARCHIVE, result, method)
        return folder / ARCHIVE

    def _decided(self, order: Request, settings: Settings) -> SeriesResult:
        return self.desk.decided(order, settings.thresholds)

    def _opened(self, order: Request, result: SeriesResult, settings: Settings) -> Updates:
        """A result that is shown for the first time, by the model's own thresholds."""
        series, number = result.series, result.most_telling
        own = result.thresholds
        settings = replace(settings, threshold=own.mask, gate=own.gate)
        if series.flair_only:
            settings = replace(settings, channel=FLAIR)
        more = len(series.candidates) > 1
        return {
            **self._said(order, result, number),
            **(_asking(series.candidates, series.chosen) if more else {}),
            "order": order,
            **self._picture(result, number, order, settings),
            "layer": layers(False, settings.layer),
            "truth": None,
            "slider": gr.Slider(maximum=max(len(result), 2), value=number, visible=len(result) > 1),
            "channel": gr.Radio(value=settings.channel, visible=not series.flair_only),
            "threshold": own.mask,
            "gate": own.gate,
        }

    def _said(self, order: Request, result: SeriesResult, number: int) -> Updates:
        """All words about a result; what was made of another outline is put away."""
        warning = report.warning_html(series_report.warnings(result))
        return {
            "said": series_report.series_verdict_html(result) + warning,
            "chart": chart_html(result, number),
            "facts": series_report.series_facts_html(result, self.desk.cascade(order)),
            "scores": self._scores(order, result),
            "turn": gr.Button(visible=result.voxels > 0),
            "surface": gr.Model3D(None, visible=False),
            "save": gr.DownloadButton(value=None, visible=False),
        }

    def _scores(self, order: Request, result: SeriesResult) -> str:
        truth = self.desk.truth(order)
        return "" if truth is None else truth_html(result.masks, truth)

    def _picture(self, result: SeriesResult, number: int, order: Request, settings: Settings) -> Updates:
        one = result.series.slices()[number - 1]
        prediction = result.predictions[number - 1]
        truth, look = self.desk.truth(order), settings.look
        if look.layer == "errors" and truth is None:
            look = replace(look, layer="fill")
        extra = self.desk.extra(order, number, look.layer)
        known = None if truth is None else truth[number - 1]
        picture = shrink(draw(one, prediction, look, extra, known))
        words = f"Slice {number} of {len(result)}. {describe(look, prediction)}"
        # Not gr.Image(…): a component of its own would write the picture once more, as lossy WebP.
        return {
            "picture": gr.update(value=picture, alt_text=words),
            "legend": f'<p class="hint">{legend(look, truth is not None, result.series.oriented)}</p>',
        }


#: How the tab looks while a series is examined, while none is, and while there is no result.
RUNNING: Updates = {"start": gr.Button(interactive=False), "stop": gr.Button(visible=True)}
IDLE: Updates = {"start": gr.Button(interactive=True), "stop": gr.Button(visible=False)}
CLEARED: Updates = {
    "order": None,
    "picture": None,
    "chart": "",
    "facts": "",
    "scores": "",
    "surface": gr.Model3D(None, visible=False),
    "save": gr.DownloadButton(value=None, visible=False),
}
TURNING: Updates = {"surface": gr.Model3D(visible=True)}
#: Other files have other volumes.
OTHER_FILES: Updates = {"asked": False, "sequences": gr.Column(visible=False)}
STOPPED: Updates = {**CLEARED, **IDLE, "said": CANCELLED}


def failed(error: Exception) -> Updates:
    """A result that can no longer be shown, and why."""
    return {**CLEARED, "said": report.error_html(*report.explain(error))}


def _asking(candidates: Sequence[Candidate], chosen: Mapping[int, str]) -> Updates:
    """A choice of volume for each sequence; `chosen` stands there at first."""
    volumes = [(one.label, one.key) for one in candidates]
    fields: Updates = {}
    for role, channel in zip(ROLES, (PRE, FLAIR, POST), strict=True):
        choices = volumes if channel == FLAIR else [(NONE, ""), *volumes]
        value = chosen.get(channel)
        fields[role] = gr.Dropdown(choices, value=value if value or channel == FLAIR else "")
    return {"asked": True, "sequences": gr.Column(visible=True), **fields}


TRUTH_HINT = """Masks of the series that is shown: NIfTI, a TIFF with a page a slice, or a file a slice,
packed or not. Whatever is not black is tumour."""
#: The archive is made when it is asked for; then it is saved as if its own button were pressed.
SAVE = script("save")


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
    gr.HTML(html("series_hint"))
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
    parts["chart"] = gr.HTML(js_on_load=script("chart"), elem_id="series-chart")
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

    def one(handler: Callable[[float, Request, Settings], Updates]) -> Callable[..., dict[Any, Any]]:
        def answer(number: float, order: Request, *rest: Any) -> dict[Any, Any]:
            try:
                return named(handler(number, order, Settings(*rest)))
            except Exception as error:
                return named(failed(error))

        return answer

    def on_truth(files: list[str] | None, number: float, order: Request, *rest: Any) -> dict[Any, Any]:
        return one(partial(events.truth, files))(number, order, *rest)

    def on_pick(event: gr.EventData, order: Request, *rest: Any) -> dict[Any, Any]:
        return one(events.slice)(event.slice, order, *rest)

    def made(handler: Callable[[Request, Settings], Iterator[Updates]]) -> Callable[..., Iterator[dict]]:
        def answer(order: Request, *rest: Any) -> Iterator[dict[Any, Any]]:
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
    parts["slider"].input(one(events.slice), place, outputs, js=script("follow"), **DRAW)
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
