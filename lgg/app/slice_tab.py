"""The tab for one slice: what only it does with a result, its layout, and its events."""

from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any, ClassVar

import gradio as gr

from lgg.app import render
from lgg.app.controls import (
    DRAW,
    LOOK,
    MODEL,
    Handlers,
    Tab,
    Updates,
    Values,
    View,
    layers,
    look_controls,
    refusal,
    save_file,
    scroll_to,
    tell,
    truth_box,
)
from lgg.app.gallery import Example
from lgg.app.render import script
from lgg.app.service import Request, Service, slice_request
from lgg.app.url_state import UrlState, read_link, write_link
from lgg.explain import calibration_error, in_words
from lgg.io import read_slice
from lgg.types import SEQUENCES
from lgg.visualize import Display, base, flair_picture, overlay, shrink

TRUTH_HINT = "A mask of the same size, PNG or TIFF: whatever is not black is tumour."
#: The names of all that decides how a slice is shown.
INPUTS = ("current", *LOOK, "architecture", "before_after")
#: What was said of another slice would mislead beside this one.
AWAY: Updates = {
    "side_by_side": gr.Gallery(None, visible=False),
    "comparison": "",
    "address": gr.Textbox(visible=False),
}


class SliceHandlers(Handlers):
    """What the controls of the tab do; `example` names the example that is shown, for links."""

    archive_name = "glioma-slice.zip"
    save_visible = "hidden"
    cleared: ClassVar[Updates] = {
        "body": gr.Column(visible=False),
        **dict.fromkeys(("picture", "plain", "both")),
        **dict.fromkeys(("legend", "facts", "scores"), ""),
    }

    def __init__(self, service: Service, examples: list[Example]) -> None:
        super().__init__(service)
        self.examples = examples

    def request(self, values: Values) -> Request | None:
        """The slice that is looked at, by the architecture that is chosen."""
        current: Request | None = values["current"]
        return current and replace(current, architecture=values["architecture"])

    def show(self, values: Values, same_base: bool = False) -> Updates:
        """Everything about the slice; nothing changes where there is none."""
        if (request := self.request(values)) is None:
            return {"trouble": None}
        view = self.view(request, values)
        picture = self.picture(view, values, same_base)
        return {**self.words(view), **picture, "body": gr.Column(visible=True), "trouble": None}

    def adjust(self, values: Values) -> Updates:
        """As `show`, where the sequence stays."""
        return self.show(values, same_base=True)

    def picture(self, view: View, values: Values, same_base: bool = False) -> Updates:
        """The slice with its layer beside the one without, or both under one slider.

        `same_base`: the picture without a layer stands there already, and is not sent again.
        """
        slider = values["before_after"]
        kept = same_base and not slider
        over = view.picture()
        plain = None if kept else shrink(base(view.slice_, view.prediction, view.display))
        model = render.model(self.service.cascade(view.request.architecture))
        label = f"{model}: {'outlined' if view.prediction.area else 'nothing outlined'}"
        alone = f"{SEQUENCES[view.display.channel]} alone."
        return {
            "pictures": gr.Row(visible=not slider),
            # Not gr.Image(…): a component of its own would write each picture once more, as lossy WebP.
            "picture": gr.update(value=None if slider else over, label=label, alt_text=view.describe()),
            "plain": gr.skip() if kept else gr.update(value=None if slider else plain, alt_text=alone),
            "both": gr.update(value=(plain, over) if slider else None, visible=slider),
            "legend": view.legend_html(),
        }

    def words(self, view: View) -> Updates:
        """Verdict with warnings, what was measured, and the comparison with a ground truth."""
        cascade = self.service.cascade(view.request.architecture)
        sure = in_words(view.prediction.gate_probability, calibration_error(cascade.gate_config))
        warning = render.warning_html(self.service.warnings(view.request))
        return {
            "said": render.verdict_html(view.slice_, view.prediction, sure) + warning,
            "facts": render.facts_html(view.slice_, view.prediction, cascade),
            "scores": self.scores(view),
        }

    def scores(self, view: View) -> str:
        """Dice, IoU and HD95 against the ground truth, if there is one."""
        return "" if view.truth is None else render.truth_html(view.prediction.mask, view.truth[0])

    def open(self, request: Request, values: Values) -> Updates:
        """Another slice, with the layers that it offers; `trouble` where it cannot be examined."""
        try:
            shown = self.show({**values, "current": request})
        except Exception as error:
            shown = self.failed(error)
        return {**shown, **AWAY, "current": request, "layer": layers(bool(request.truth), values["layer"])}

    def upload(self, values: Values) -> Updates:
        """A visitor's own slice. The drop zone is free for the next; no example is shown any more."""
        opened = self.open(slice_request(values["upload"], values["architecture"]), values)
        if opened["trouble"]:
            opened["current"] = None
        emptied = {"upload": None, "truth": None, "gallery": gr.Gallery(selected_index=None), "caption": ""}
        return {**opened, **emptied, "example": None}

    def pick(self, values: Values) -> Updates:
        """An example, with its own ground truth; `picked` counts from 0."""
        example = self.examples[values["picked"]]
        mask = str(example.mask) if example.mask else None
        opened = self.open(slice_request(str(example.image), values["architecture"], mask), values)
        caption = f'<p class="hint">{escape(example.caption)}</p>'
        return {**opened, "truth": None, "caption": caption, "example": example.name}

    def switch(self, values: Values) -> Updates:
        """Another architecture, by its own thresholds."""
        own = self.service.thresholds(values["architecture"], "slice")
        moved = {"threshold": own.mask, "gate": own.gate}
        try:
            return {**self.show({**values, **moved}), **moved}
        except Exception as error:
            return {**self.failed(error), **moved}

    def compare(self, values: Values) -> Updates:
        """Every architecture on the same slice, by its own thresholds."""
        if (request := self.request(values)) is None:
            return {}
        try:
            results = self.service.compare(request)
        except Exception as error:
            raise refusal(*render.explain(error)) from None
        rows, pictures = [], []
        for name, result in results.items():
            cascade, (slice_,), (prediction,) = (
                self.service.cascade(name),
                result.series.slices(),
                result.predictions,
            )
            picture = shrink(overlay(flair_picture(slice_, prediction.head), prediction.mask))
            pictures.append((picture, f"{render.model(cascade)}: {prediction.area:,} px"))
            rows.append((cascade, prediction))
        columns = min(4, max(2, len(pictures)))
        return {
            "side_by_side": gr.update(value=pictures, visible=True, columns=columns),
            "comparison": render.comparison_html(rows),
        }

    def defaults(self, architecture: str | None) -> Values:
        """What a link that says nothing of it leaves as it is: control → value."""
        own, start = self.service.thresholds(architecture, "slice"), Display()
        shown = {name: getattr(start, name) for name in ("opacity", "layer", "channel")}
        return {"threshold": own.mask, "gate": own.gate, **shown}

    def link(self, values: Values) -> Updates:
        """The query of a link that restores what is shown; an upload is never in it."""
        usual = self.defaults(values["architecture"])
        moved = {name: None if values[name] == value else values[name] for name, value in usual.items()}
        state = UrlState(
            example=values["example"],
            architecture=values["architecture"],
            slider=values["before_after"],
            **moved,
        )
        return {"query": write_link(state)}

    def restore(self, values: Values) -> Updates:
        """The page as its link wishes it, with the defaults for the rest."""
        names = [example.name for example in self.examples]
        wish = read_link(dict(values["visitor"].query_params), names)
        known = wish.architecture in self.service.cascades
        architecture = wish.architecture if known else self.service.preferred
        wanted: Updates = {"architecture": architecture, "before_after": wish.slider}
        for name, usual in self.defaults(architecture).items():
            wished = getattr(wish, name)
            wanted[name] = usual if wished is None else wished
        if wish.example is None:
            return {**wanted, "caption": "", "current": None, "example": None, "trouble": None}
        number = names.index(wish.example)
        opened = self.pick({**wanted, "picked": number})
        layer = layers(bool(opened["current"].truth), wanted["layer"], choose=True)
        return {**wanted, **opened, "layer": layer, "gallery": gr.Gallery(selected_index=number)}


def build_slice_tab(
    service: Service, examples: list[Example], choices: list[tuple[str, str]], reasons: dict[str, str]
) -> Callable[[gr.Blocks], None]:
    """Lay the tab out and connect it.

    Returns:
        what connects the page's load, once the page around it stands.
    """
    handlers = SliceHandlers(service, examples)
    tab = Tab(handlers.failed)
    # Of this visitor: what is looked at, which example that is, the last error, and the query of a link.
    tab |= {name: gr.State(None) for name in ("current", "example", "trouble")}
    tab["query"] = gr.Textbox(visible=False)
    with gr.Row(elem_id="columns"):
        with gr.Column(scale=2, min_width=280, elem_id="controls"):
            _lay_out_choice(tab, examples, choices, service.preferred)
            with gr.Accordion("About the architectures", open=False):
                gr.HTML(render.architectures_html(service.cascades, reasons))
            gr.HTML(render.unavailable(reasons), visible=bool(reasons))
        with gr.Column(scale=5, min_width=280, elem_id="result"):
            tab["said"] = gr.HTML(render.empty_html(bool(service.cascades)))
            with gr.Column(visible=False, elem_id="body") as tab["body"]:
                _lay_out_pictures(tab)
                look_controls(tab, service.thresholds(service.preferred, "slice"))
                tab["before_after"] = gr.Checkbox(
                    label="Before and after under one slider", container=False, elem_id="before-after"
                )
                tab["scores"] = gr.HTML(elem_id="scores")
                tab["facts"] = gr.HTML(elem_id="facts")
                _lay_out_extras(tab)
    _connect(tab, handlers)

    def connect_load(page: gr.Blocks) -> None:
        tab.on(page.load, handlers.restore, show_progress="hidden", **MODEL)
        # A picture that is pasted anywhere is uploaded; Gradio's drop zone takes only drops and clicks.
        page.load(None, js=script("paste_to_upload"))

    return connect_load


def _lay_out_choice(
    tab: Tab, examples: list[Example], choices: list[tuple[str, str]], preferred: str | None
) -> None:
    """Examples, as thumbnails of what the reading makes of them; uploads; architecture."""
    gr.HTML("<h2>Pick an example</h2>", visible=bool(examples))
    tab["gallery"] = gr.Gallery(
        [(flair_picture(read_slice(example.image)), example.title) for example in examples],
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
    tab["caption"] = gr.HTML(elem_id="caption")
    gr.HTML("<h2>or upload a slice</h2>")
    tab["upload"] = gr.File(show_label=False, height=88, elem_id="upload")
    gr.HTML(render.html("privacy"))
    tab["architecture"] = gr.Radio(
        choices, value=preferred, label="Architecture", visible=bool(choices), elem_id="architecture"
    )
    tab["truth"] = truth_box("", TRUTH_HINT)


def _lay_out_pictures(tab: Tab) -> None:
    shown: dict[str, Any] = {"format": "png", "interactive": False, "buttons": ["fullscreen", "download"]}
    with gr.Row(elem_id="pictures") as tab["pictures"]:
        tab["picture"] = gr.Image(label="Outlined", elem_id="outlined", **shown)
        tab["plain"] = gr.Image(label="As read", elem_id="plain", **shown)
    shown["buttons"] = ["fullscreen"]
    tab["both"] = gr.ImageSlider(label="Before and after", visible=False, elem_id="both", **shown)
    tab["legend"] = gr.HTML(elem_id="legend")


def _lay_out_extras(tab: Tab) -> None:
    """Buttons under the result, and what they bring."""
    with gr.Row(elem_id="actions"):
        tab["compare"] = gr.Button("Compare all architectures", size="sm", elem_id="compare")
        tab["pack"] = gr.Button("Download everything", size="sm", elem_id="pack")
        tab["link"] = gr.Button("Copy link", size="sm", elem_id="copy-link")
    # Clicked by a script once its file is there; a button that is not on the page could not be.
    tab["save"] = gr.DownloadButton("Ready", elem_id="download-ready", visible="hidden")
    tab["address"] = gr.Textbox(
        label="Link to this view (copied)",
        visible=False,
        interactive=False,
        buttons=["copy"],
        elem_id="address",
    )
    tab["comparison"] = gr.HTML(elem_id="comparison")
    tab["side_by_side"] = gr.Gallery(
        visible=False,
        show_label=False,
        format="png",
        interactive=False,
        object_fit="contain",
        elem_id="side-by-side",
        buttons=["fullscreen"],
    )


def _connect(tab: Tab, handlers: SliceHandlers) -> None:
    run: dict[str, Any] = {"show_progress_on": [tab["said"]], "trigger_mode": "always_last", **MODEL}
    told = {"api_visibility": "private"}
    for opened in (
        tab.on(tab["upload"].upload, handlers.upload, ("upload", *INPUTS), **run),
        tab.on(tab["gallery"].select, handlers.pick, INPUTS, picked="index", **run),
        tab.on(tab["architecture"].input, handlers.switch, INPUTS, **run),
    ):
        opened.then(None, js=scroll_to("result")).then(tell, tab["trouble"], **told)
    judged = [tab["truth"].upload, tab["truth"].clear]
    tab.on(judged, handlers.truth, ("truth", *INPUTS), **run).then(tell, tab["trouble"], **told)
    # A layer chosen while another is being drawn must not be dropped: the buttons would name it all the same.
    latest = {"show_progress": "hidden", "trigger_mode": "always_last", **MODEL}
    tab.on(tab["layer"].input, handlers.redraw, INPUTS, **latest)
    tab.on([tab[name].input for name in ("channel", "before_after")], handlers.redraw, INPUTS, **DRAW)
    tab.on([tab[name].input for name in ("threshold", "gate", "opacity")], handlers.adjust, INPUTS, **DRAW)
    tab.on(tab["compare"].click, handlers.compare, INPUTS, show_progress_on=[tab["comparison"]], **MODEL)
    tab.on(tab["pack"].click, handlers.archive, INPUTS, show_progress_on=[tab["pack"]], **MODEL).success(
        None, js=save_file("download-ready")
    )
    tab.on(tab["link"].click, handlers.link, ("example", *INPUTS), **DRAW).then(
        None, tab["query"], tab["address"], js=script("copy_link")
    ).then(lambda: gr.Textbox(visible=True), None, tab["address"], **DRAW)
