"""The tab for a whole series: what only it does with a result, its layout, and its events."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, ClassVar

import gradio as gr

from lgg.app import controls, render, viewer
from lgg.app.controls import DRAW, SERIES, SHOWN_BY, Handlers, Tab, Updates, Values, View, told
from lgg.app.render import message_html, script
from lgg.app.service import ROLES, Correction, Request, Service, assigned
from lgg.errors import LggError, SeriesError
from lgg.examples import SHIPPED
from lgg.io import AmbiguousSeriesError
from lgg.io.archive import MAX_FILES
from lgg.io.sequences import CHANNELS
from lgg.types import FLAIR, SEQUENCES, SeriesResult

WAITING = message_html("empty", "No series yet", "Upload a patient's slices, then choose Examine.")
CANCELLED = message_html(
    "empty", "Cancelled", "Nothing was kept. Choose Examine to begin again.", role="status"
)
#: A phantom's FLAIR, both T1 as they were scanned, on grids of their own, and where its tumour is.
SAMPLE_FOLDER = SHIPPED / "study"
SAMPLE = tuple(str(SAMPLE_FOLDER / f"{name}.nii.gz") for name in ("FLAIR", "own-grid/T1", "own-grid/T1-post"))
SAMPLE_TRUTH = (str(SAMPLE_FOLDER / "mask.nii.gz"),)
TRUTH_HINT = """Masks of the series that is shown: NIfTI, a TIFF with a page a slice, or a file a slice,
packed or not. Whatever is not black is tumour."""
NONE = "(none: FLAIR stands in)"

#: The names of all that decides which slice is shown and how.
INPUTS = ("current", "slice", *SHOWN_BY)
#: The names of what `SeriesHandlers` changes when it draws a slice, and when it decides by other thresholds.
DRAWN = ("picture", "legend", "slice")
DECIDED = ("said", "facts", "scores", "chart", "viewer", "save", "ask")
#: What was made of another outline, or asked about it, put away.
AWAY: Updates = {
    "save": gr.DownloadButton(value=None, visible=False),
    "ask": gr.Column(visible=False),
}
#: Other files have other volumes.
OTHER_FILES: Updates = {"asked": None, "volumes": ""}


def buttons(running: bool) -> Updates:
    """What can be pressed while a series is examined, and while none is."""
    begin = {name: gr.Button(interactive=not running) for name in ("start", "sample")}
    return {**begin, "stop": gr.Button(visible=running)}


class SeriesHandlers(Handlers):
    """What the controls of the tab do.

    `asked` holds the files whose volumes the visitor can choose from, and what these seem to be; else None.
    """

    archive_name = "segmentation.zip"
    cleared: ClassVar[Updates] = {
        "current": None,
        "picture": None,
        "viewer": None,
        **dict.fromkeys(("chart", "facts", "scores"), ""),
        **AWAY,
    }

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        #: Visitor → what ends the examination that runs for them. Not Gradio's `cancels`: what was cancelled
        #: may still send an answer that it had ready, and in Gradio 6.31 that sometimes came after, and so in
        #: place of, the answer of the button that cancelled it.
        self.running: dict[str, Event] = {}

    def start(self, values: Values) -> Iterator[Updates]:
        """Examine a series, telling after each batch how far it is."""
        # Gradio copies what the viewer is to load from there when it takes the last answer.
        with TemporaryDirectory() as folder:
            yield from self._examine(values, Path(folder))

    def sample(self, values: Values) -> Iterator[Updates]:
        """Examine the sample study, and compare it with its ground truth."""
        files = {"files": list(SAMPLE)}
        for updates in self.start({**values, **files, "asked": None, "truth": SAMPLE_TRUTH}):
            yield {**updates, **files}

    def recognise(self, values: Values) -> Iterator[Updates]:
        """What the volumes of an upload seem to be, and a choice of them, before they are examined."""
        yield OTHER_FILES
        with suppress(LggError):  # it is said when they are examined
            yield self._asking(tuple(values["files"] or ()))

    def reassign(self, values: Values) -> Updates:
        """The volumes as the visitor takes them."""
        if values["asked"] is None:
            return {}
        chosen = {channel: values[role] for role, channel in CHANNELS.items() if values[role]}
        _, seem = values["asked"]
        volumes = replace(seem, chosen=chosen).found
        return {"volumes": render.html("recognised", volumes=volumes, open=True)}

    def _asking(self, paths: Sequence[str]) -> Updates:
        """A choice of volume for each sequence; none where there is nothing to choose from."""
        seem = self.service.recognise(paths)
        if not seem.candidates or (len(seem.candidates) == 1 and FLAIR in seem.chosen):
            return OTHER_FILES
        volumes = [(candidate.label, candidate.key) for candidate in seem.candidates]
        fields: Updates = {}
        for role, channel in CHANNELS.items():
            choices = volumes if channel == FLAIR else [(NONE, ""), *volumes]
            value = None if channel in seem.open_channels else seem.chosen.get(channel, "")
            fields[role] = gr.Dropdown(choices, value=value)
        said = render.html("recognised", volumes=seem.found, open=bool(seem.open_channels))
        return {"asked": (paths, seem), "volumes": said, **fields}

    def _examine(self, values: Values, folder: Path) -> Iterator[Updates]:
        # Each answer is the whole state: of answers that follow each other within milliseconds, Gradio 6.31
        # loses some, but not the last.
        last: Updates = {}
        visitor, paths = str(values["visitor"].session_hash), tuple(values["files"] or ())
        stopped = self.running[visitor] = Event()
        try:
            of_these = values["asked"] is not None and values["asked"][0] == paths
            chosen = assigned([values[role] for role in ROLES]) if of_these else ()
            request = Request(paths, values["architecture"], chosen, truth=values.get("truth", ()))
            for progress in self.service.examine(request):
                if stopped.is_set():
                    last = {**self.cleared, "said": CANCELLED}
                    break
                if progress.result is None:
                    now = render.html("progress", progress=progress)
                    yield {**self.cleared, **buttons(running=True), "said": now}
                else:
                    last = self._opened(request, progress.result, values, folder)
        except AmbiguousSeriesError as error:
            said = message_html("error", "Which volume is which?", str(error))
            last = {**self.cleared, "said": said, **self._asking(paths)}
        except Exception as error:
            last = self.failed(error)
        finally:
            if self.running.get(visitor) is stopped:  # else another examination of theirs began meanwhile
                del self.running[visitor]
        yield {**last, **buttons(running=False)}

    def stop(self, visitor: gr.Request) -> None:
        """Have the visitor's examination end at its next batch."""
        if running := self.running.get(str(visitor.session_hash)):
            running.set()

    def pick(self, values: Values) -> Updates:
        """The slice that was chosen in the plot."""
        return self.redraw({**values, "slice": values["picked"]})

    def picture(self, view: View, values: Values) -> Updates:
        """The slice with its layer, and its number."""
        words = f"Slice {view.number} of {len(view.result)}. {view.describe()}"
        return {
            # Not gr.Image(…): a component of its own would write the picture once more, as lossy WebP.
            "picture": gr.update(value=view.picture(), alt_text=words),
            "legend": view.legend_html(),
            "slice": view.number,
        }

    def words(self, view: View) -> Updates:
        """With the plot along the slices; what was made of another outline is put away."""
        chart = render.html("chart", result=view.result, current=view.number)
        mask = viewer.mask_value(view.request.study, view.result, view.truth)
        return {**super().words(view), "chart": chart, "viewer": mask, **AWAY}

    def decide(self, values: Values) -> Updates:
        """What is said of the result by other thresholds, or a question: a correction would be lost."""
        if values["current"] is not None and values["current"].correction is not None:
            return {"ask": gr.Column(visible=True)}
        return super().decide(values)

    def truth(self, values: Values) -> Updates:
        """A ground truth for what is shown, in the viewer too."""
        said = super().truth(values)
        if "current" not in said:
            return said
        view = self.view(said["current"], values)
        return {**said, "viewer": viewer.mask_value(view.request.study, view.result, view.truth)}

    def correct(self, values: Values) -> Updates:
        """The masks as the visitor drew them, which the viewer sends, in place of the networks'."""
        request = values["current"]
        if request is None:
            return {}
        try:
            masks = viewer.sent_masks(request.study, self.service.series(request), values["picked"])
        except SeriesError as error:  # the result stays; only the correction is refused
            told(error)
            return {}
        began = request.correction
        thresholds = (began.mask, began.gate) if began else (values["threshold"], values["gate"])
        correction = Correction(viewer.packed_mask(masks), *thresholds)
        return self._redrawn(replace(request, correction=correction), values)

    def discard(self, values: Values) -> Updates:
        """The networks' masks again, by the thresholds as they stand now."""
        request = values["current"]
        return {} if request is None else self._redrawn(replace(request, correction=None), values)

    def keep(self, values: Values) -> Updates:
        """The correction stays, and the thresholds go back to where it began."""
        request = values["current"]
        drawn = None if request is None else request.correction
        thresholds = {} if drawn is None else {"threshold": drawn.mask, "gate": drawn.gate}
        return {"ask": gr.Column(visible=False), **thresholds}

    def _redrawn(self, request: Request, values: Values) -> Updates:
        """The same series with other masks."""
        view = self.view(request, values)
        return {**self.words(view), **self.picture(view, values), "current": request}

    def _opened(self, request: Request, result: SeriesResult, values: Values, folder: Path) -> Updates:
        """A result that is shown for the first time, by the model's own thresholds.

        Args:
            folder: for what the viewer is to load.
        """
        series, number, own = result.series, result.most_telling, result.thresholds
        values = {**values, "slice": number, "threshold": own.mask, "gate": own.gate}
        if series.flair_only:
            values["channel"] = FLAIR
        view = self.view(request, values)
        study = viewer.study_value(request.study, result, folder, view.truth) if len(result) > 1 else None
        return {
            **self.words(view),
            **self.picture(view, values),
            "viewer": study,
            "current": request,
            "layer": controls.layers(bool(request.truth), values["layer"]),
            "truth": list(request.truth) or None,
            "slice": gr.Slider(maximum=max(len(result), 2), value=number, visible=len(result) > 1),
            "channel": gr.Radio(value=values["channel"], visible=not series.flair_only),
            "threshold": own.mask,
            "gate": own.gate,
        }


def build_series_tab(service: Service) -> None:
    """Lay the tab out in the surrounding blocks and connect it."""
    handlers = SeriesHandlers(service)
    tab = Tab(handlers.failed)
    # Of this visitor: what was examined, and among which volumes there is a choice.
    tab |= {"current": gr.State(None), "asked": gr.State(None)}
    with gr.Row(elem_id="series-columns"):
        with gr.Column(scale=2, min_width=280, elem_id="series-controls"):
            _lay_out_choice(tab, service)
        with gr.Column(scale=5, min_width=280, elem_id="series-result"):
            tab["said"] = gr.HTML(WAITING, elem_id="series-said")
            # The style hides it while there is no plot: in Gradio 6.31 what comes together with its column,
            # shortly after other answers, is sometimes lost.
            with gr.Column(elem_id="series-view"):
                _lay_out_view(tab, service)
    _connect(tab, handlers)


def _lay_out_choice(tab: Tab, service: Service) -> None:
    gr.HTML("<h2>Upload a series</h2>")
    tab["files"] = gr.File(show_label=False, file_count="multiple", height=150, elem_id="series-upload")
    with gr.Row(elem_id="series-sources"):
        # A script of the hint's answers it.
        gr.Button("Choose a folder", size="sm", elem_id="series-folder", min_width=120)
        tab["sample"] = gr.Button("Sample study", size="sm", elem_id="series-sample", min_width=120)
    # The style hides it while there is no table, and the choice while the table is folded.
    with gr.Column(elem_id="series-sequences"):
        tab["volumes"] = gr.HTML(elem_id="series-volumes")
        for role, sequence in zip(ROLES, SEQUENCES, strict=True):
            tab[role] = gr.Dropdown([], label=sequence, interactive=True, elem_id=f"series-{role}")
    tab["architecture"] = controls.architecture_choice(service, "series-")
    with gr.Row(elem_id="series-buttons"):
        tab["start"] = gr.Button("Examine", variant="primary", elem_id="series-start")
        tab["stop"] = gr.Button("Cancel", variant="stop", visible=False, elem_id="series-stop")
    gr.HTML(render.html("series_hint", most=MAX_FILES), js_on_load=script("folder"))
    tab["truth"] = controls.truth_box("series-", TRUTH_HINT, file_count="multiple")


def _lay_out_view(tab: Tab, service: Service) -> None:
    tab["viewer"] = gr.HTML(
        None,
        html_template=render.html("viewer"),
        js_on_load=script("viewer"),
        apply_default_css=False,
        elem_id="series-viewer",
    )
    tab["picture"] = gr.Image(
        format="png",
        interactive=False,
        show_label=False,
        buttons=["fullscreen", "download"],
        elem_id="series-picture",
    )
    tab["slice"] = gr.Slider(1, 2, value=1, step=1, label="Slice", buttons=[], elem_id="series-slice")
    controls.layer_controls(tab, "series-")
    tab["legend"] = gr.HTML(elem_id="series-legend")
    tab["facts"] = gr.HTML(elem_id="series-facts")
    tab["scores"] = gr.HTML(elem_id="series-scores")
    controls.sliders(tab, service.thresholds(service.preferred, "volume"), "series-")
    with gr.Column(visible=False, elem_id="series-ask") as tab["ask"]:
        gr.HTML(render.html("ask"))
        with gr.Row():
            tab["keep"] = gr.Button("Keep the correction", elem_id="series-keep")
            tab["discard"] = gr.Button("Discard the correction", variant="stop", elem_id="series-discard")
    tab["chart"] = gr.HTML(js_on_load=script("chart"), elem_id="series-chart")
    with gr.Row(elem_id="series-more"):
        tab["pack"] = gr.Button("Download everything", size="sm", elem_id="series-pack")
        tab["save"] = gr.DownloadButton("Save the archive", size="sm", visible=False, elem_id="series-save")


def _connect(tab: Tab, handlers: SeriesHandlers) -> None:
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    tab.on(tab["files"].change, handlers.recognise, ("files",), **DRAW)
    tab.on([tab[role].input for role in ROLES], handlers.reassign, ("asked", *ROLES), **DRAW)
    for button, handler in (("start", handlers.start), ("sample", handlers.sample)):
        tab.on(
            tab[button].click,
            handler,
            ("files", "architecture", "asked", *ROLES, *INPUTS),
            js=script("scroll_to", "series-result"),
            show_progress_on=[tab["said"]],
            **SERIES,
        )
    # It changes nothing itself: all that is said of an examination comes from one event, in order.
    tab["stop"].click(handlers.stop, None, None, js=script("cancelling"), queue=False, **quiet)
    tab["slice"].input(None, tab["slice"], None, js=script("follow"))
    tab.on(tab["slice"].input, handlers.redraw, INPUTS, DRAWN, **DRAW)
    tab.on(tab["chart"].select, handlers.pick, INPUTS, DRAWN, picked="slice", **DRAW)
    # The viewer follows at once, and sends its own places to the slider; where there is none, it asks for the
    # slice to be drawn with another opacity.
    look = [tab[name] for name in ("layer", "channel", "opacity")]
    gr.on([control.change for control in look], None, look, None, js=script("look"))
    tab["viewer"].located(None, None, tab["slice"], js=script("located"))
    tab.on(tab["viewer"].redraw, handlers.redraw, INPUTS, DRAWN, **DRAW)
    tab.on([tab[name].input for name in ("layer", "channel")], handlers.redraw, INPUTS, DRAWN, **DRAW)
    # The picture comes last, by what the controls say then: other answers may have come in between.
    deciding = [tab[name].input for name in ("threshold", "gate")]
    decided = tab.on(deciding, handlers.decide, INPUTS, DECIDED, **DRAW)
    tab.on(decided.then, handlers.redraw, INPUTS, DRAWN, **DRAW)
    # A correction; moving a threshold afterwards only asks.
    tab.on(tab["viewer"].corrected, handlers.correct, INPUTS, picked="correction", **DRAW)
    for discarded in (tab["viewer"].discarded, tab["discard"].click):
        tab.on(discarded, handlers.discard, INPUTS, **DRAW)
    tab.on(tab["keep"].click, handlers.keep, INPUTS, **DRAW)
    controls.connect_extras(tab, handlers, INPUTS, SERIES)
