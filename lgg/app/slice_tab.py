"""The components of the tab for one slice."""

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from lgg.app import controls as scripts
from lgg.app import render as report
from lgg.app.controls import (
    DRAW,
    MODEL,
    LookControls,
    Parts,
    Settings,
    Trouble,
    layers,
    look_controls,
    refusal,
    tell,
    truth_box,
)
from lgg.app.gallery import Example
from lgg.app.render import architectures_html, comparison_html, truth_html
from lgg.app.service import Desk, Examined, own_thresholds
from lgg.app.url_state import UrlState, read_link, write_link
from lgg.explain import calibration_error, in_words
from lgg.export import write_zip
from lgg.export.provenance import provenance_of
from lgg.io import read_slice
from lgg.postprocess import redecide
from lgg.types import SEQUENCES, Prediction, SeriesResult
from lgg.visualize import Display, base, describe, draw, flair_picture, legend, overlay, shrink

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
    """Their values are the arguments of `lgg.app.slice_tab.Wanted`, in this order."""

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
    gr.HTML(report.html("privacy"))
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


#: How many values `show` returns before the error: those of `lgg.app.slice_tab.Result`.
NOTHING: tuple[Any, ...] = (gr.skip(),) * 9


@dataclass(frozen=True)
class Current:
    """What one visitor looks at: paths in Gradio's cache of uploads, or of the shipped examples."""

    path: str | None = None
    truth: str | None = None
    example: str | None = None


@dataclass(frozen=True)
class Wanted(Settings):
    """The values of the controls, in the order of `lgg.app.slice_tab.Controls`."""

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
    prediction = redecide(examined.prediction, wanted.thresholds(examined.prediction.thresholds))
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
        truth_html(prediction.mask, truth) if truth is not None else "",
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


Values = tuple[Any, ...]
PACK_NAME = "glioma-slice.zip"


@dataclass(frozen=True)
class Handlers:
    """What the handlers know."""

    desk: Desk
    examples: list[Example]

    def pick(self, current: Current, *wanted: Any) -> Values:
        """A new slice: values of `Result`, trouble, the layers on offer."""
        *values, trouble = show(self.desk, current, Wanted(*wanted))
        return *values, trouble, layers(current.truth is not None, Wanted(*wanted).layer)

    def upload(self, path: str, *wanted: Any) -> Values:
        """A visitor's own slice: what `pick` returns, it as the current slice, and the boxes emptied.

        The drop zone is ready for the next file; no example is what is shown any more.
        """
        here = Current(path)
        *said, trouble, offered = self.pick(here, *wanted)
        kept = Current() if trouble else here
        return *said, trouble, offered, kept, None, None, gr.Gallery(selected_index=None), ""

    def example(self, event: gr.SelectData, *wanted: Any) -> Values:
        """An example: what `pick` returns, it as the current slice, no truth of one's own, its caption."""
        here = self.current(self.examples[event.index])
        return *self.pick(here, *wanted), here, None, caption(self.examples[event.index])

    def truth(self, path: str | None, here: Current, *wanted: Any) -> Values:
        """A ground truth, or None to have none: what `pick` returns, the slice with it, and its box."""
        mine = replace(here, truth=path)
        if here.path is None:
            return *self.pick(mine, *wanted), mine, gr.skip()
        try:
            self.desk.truth(path, self.desk.examine(here.path, Wanted(*wanted).architecture))
        except Exception as error:  # the slice stays; only the mask is refused
            trouble = report.explain(error)
            *said, _ = self.redraw(here, *wanted)  # the last of `Result` is where scores would stand
            return *said, report.error_html(*trouble), trouble, gr.skip(), here, None
        return *self.pick(mine, *wanted), mine, gr.skip()

    def switch(self, architecture: str, here: Current, *wanted: Any) -> Values:
        """Another architecture, by its own thresholds: values of `Result`, trouble, the two thresholds."""
        mask, gate = self.own_thresholds(architecture)
        chosen = replace(Wanted(*wanted), architecture=architecture, threshold=mask, gate=gate)
        return *show(self.desk, here, chosen), mask, gate

    def redraw(self, current: Current, *wanted: Any) -> Values:
        """The same slice, shown otherwise: values of `Result`."""
        return show(self.desk, current, Wanted(*wanted))[:-1]

    def adjust(self, current: Current, *wanted: Any) -> Values:
        """As `redraw`, where the sequence stays."""
        return show(self.desk, current, Wanted(*wanted), same_base=True)[:-1]

    def own_thresholds(self, architecture: str | None) -> tuple[float, float]:
        """Of the mask and of the gate, as they came with the weights."""
        return own_thresholds(self.desk.cascades, architecture)

    def side_by_side(self, current: Current) -> tuple[Any, Any]:
        """Every architecture on the same slice, by its own thresholds."""
        if current.path is None:
            return gr.skip(), gr.skip()
        try:
            found = self.desk.compare(current.path)
        except Exception as error:
            raise refusal(*report.explain(error)) from None
        pictures = []
        for one in found:
            picture = overlay(flair_picture(one.one, one.prediction.head), one.prediction.mask)
            pictures.append((shrink(picture), f"{report.model(one.cascade)}: {one.prediction.area:,} px"))
        table = comparison_html([(one.cascade, one.prediction) for one in found])
        return gr.update(value=pictures, visible=True, columns=min(4, max(2, len(pictures)))), table

    def pack(self, current: Current, *wanted: Any) -> Iterator[Any]:
        """Everything that was found, in one archive that Gradio hands out and deletes within the hour."""
        if current.path is None:
            raise refusal("Nothing to download", "Pick an example or upload a slice first.")
        chosen = Wanted(*wanted)
        with TemporaryDirectory() as folder:
            try:
                examined = self.desk.examine(current.path, chosen.architecture)
                thresholds = chosen.thresholds(examined.prediction.thresholds)
                method = replace(provenance_of(examined.cascade, statistics="slice"), thresholds=thresholds)
                path = Path(folder) / PACK_NAME
                decided = redecide(examined.prediction, thresholds)
                write_zip(path, SeriesResult(examined.series, (decided,)), method)
            except Exception as error:
                raise refusal(*report.explain(error)) from None
            yield gr.DownloadButton(value=str(path))  # Gradio copies it before the folder goes

    def link(self, current: Current, *wanted: Any) -> str:
        """The query of a link that restores what is shown; an upload is never in it."""
        chosen = Wanted(*wanted)
        mask, gate = self.own_thresholds(chosen.architecture)
        start = Display()
        return write_link(
            UrlState(
                example=current.example,
                architecture=chosen.architecture,
                threshold=None if chosen.threshold == mask else chosen.threshold,
                gate=None if chosen.gate == gate else chosen.gate,
                opacity=None if chosen.opacity == start.opacity else chosen.opacity,
                layer=None if chosen.layer == start.layer else chosen.layer,
                channel=None if chosen.channel == start.channel else chosen.channel,
                slider=chosen.slider,
            )
        )

    def wanted(self, wish: UrlState, preferred: str | None) -> Wanted:
        """The controls as a link wishes them, with the defaults for the rest."""
        architecture = wish.architecture if wish.architecture in self.desk.cascades else preferred
        mask, gate = self.own_thresholds(architecture)
        start = Display()
        return Wanted(
            wish.layer or start.layer,
            start.channel if wish.channel is None else wish.channel,
            mask if wish.threshold is None else wish.threshold,
            gate if wish.gate is None else wish.gate,
            start.opacity if wish.opacity is None else wish.opacity,
            architecture,
            wish.slider,
        )

    def current(self, example: Example) -> Current:
        """An example with its own ground truth."""
        return Current(str(example.image), str(example.mask) if example.mask else None, example.name)


def caption(example: Example) -> str:
    """What an example is, under the gallery."""
    return f'<p class="hint">{escape(example.caption)}</p>'


@dataclass(frozen=True)
class Extras:
    """Buttons under the result, and what they bring."""

    compare: gr.Button
    pack: gr.Button
    link: gr.Button
    ready: gr.DownloadButton
    address: gr.Textbox
    table: gr.HTML
    gallery: gr.Gallery


def extras_row() -> Extras:
    """Lay them out in the surrounding column."""
    with gr.Row(elem_id="actions"):
        compare = gr.Button("Compare all architectures", size="sm", elem_id="compare")
        pack = gr.Button("Download everything", size="sm", elem_id="pack")
        link = gr.Button("Copy link", size="sm", elem_id="copy-link")
    # Clicked by a script once its file is there; a button that is not on the page could not be.
    ready = gr.DownloadButton("Ready", elem_id="download-ready", visible="hidden")
    address = gr.Textbox(
        label="Link to this view (copied)",
        visible=False,
        interactive=False,
        buttons=["copy"],
        elem_id="address",
    )
    table = gr.HTML(elem_id="comparison")
    gallery = gr.Gallery(
        visible=False,
        show_label=False,
        format="png",
        interactive=False,
        object_fit="contain",
        elem_id="side-by-side",
        buttons=["fullscreen"],
    )
    return Extras(compare, pack, link, ready, address, table, gallery)


def connect_extras(
    handlers: Handlers, controls: Controls, current: gr.State, extras: Extras, news: list[Any]
) -> None:
    """Tie the buttons to their handlers; `news` are the events after which what they brought is put away."""
    wanted = [current, *controls.all()]
    extras.compare.click(
        handlers.side_by_side,
        current,
        [extras.gallery, extras.table],
        show_progress_on=[extras.table],
        **MODEL,
    )
    extras.pack.click(handlers.pack, wanted, extras.ready, show_progress_on=[extras.pack], **MODEL).success(
        None, js=scripts.CLICK_DOWNLOAD
    )
    query = gr.Textbox(visible=False)
    extras.link.click(handlers.link, wanted, query, **DRAW).then(
        None, query, extras.address, js=scripts.COPY_LINK
    ).then(lambda: gr.Textbox(visible=True), None, extras.address, **DRAW)
    # What was said of another slice would mislead beside this one.
    gr.on(
        news,
        lambda: (gr.Gallery(None, visible=False), "", gr.Textbox(visible=False)),
        None,
        [extras.gallery, extras.table, extras.address],
        **DRAW,
    )


def build_slice_tab(
    desk: Desk, examples: list[Example], choices: list[tuple[str, str]], reasons: dict[str, str]
) -> Callable[[gr.Blocks], None]:
    """Lay the tab out and connect it.

    Returns:
        what connects the page's load, once the page around it stands.
    """
    handlers = Handlers(desk, examples)
    preferred = desk.preferred
    # Of this visitor: what is looked at (uploads live in Gradio's cache only), and the last error.
    current, trouble = gr.State(Current()), gr.State(None)
    with gr.Row(elem_id="columns"):
        with gr.Column(scale=2, min_width=280, elem_id="controls"):
            choice = choice_column(examples, choices, preferred)
            with gr.Accordion("About the architectures", open=False):
                gr.HTML(architectures_html(desk.cascades, reasons))
            gr.HTML(report.unavailable(reasons), visible=bool(reasons))
        with gr.Column(scale=5, min_width=280, elem_id="result"):
            result, controls = result_column(
                bool(desk.cascades), choice.architecture, handlers.own_thresholds(preferred)
            )
            with result.body:
                extras = extras_row()
    _connect(handlers, choice, controls, result, current, trouble)
    connect_extras(handlers, controls, current, extras, [choice.gallery.select, choice.upload.upload])

    def restore(request: gr.Request) -> Values:
        wish = read_link(dict(request.query_params), [one.name for one in examples])
        wanted = handlers.wanted(wish, preferred)
        values = list(astuple(wanted))
        number = next((n for n, one in enumerate(examples) if one.name == wish.example), None)
        if number is None:
            return *values, gr.skip(), "", Current(), *((gr.skip(),) * len(result.all())), None
        here = handlers.current(examples[number])
        *shown_values, failure, values[0] = handlers.pick(here, *values)
        picked = (gr.Gallery(selected_index=number), caption(examples[number]), here)
        return *values, *picked, *shown_values, failure

    def connect_load(page: gr.Blocks) -> None:
        outputs = [*controls.all(), choice.gallery, choice.caption, current, *result.all(), trouble]
        page.load(restore, None, outputs, show_progress="hidden", **MODEL)
        page.load(None, js=scripts.PASTE_TO_UPLOAD)

    return connect_load


def _connect(
    handlers: Handlers,
    choice: Choice,
    controls: Controls,
    result: Result,
    current: gr.State,
    trouble: gr.State,
) -> None:
    wanted, outputs = controls.all(), result.all()
    run = {"show_progress_on": [result.said], "trigger_mode": "always_last", **MODEL}
    ran = [
        choice.upload.upload(
            handlers.upload,
            [choice.upload, *wanted],
            [
                *outputs,
                trouble,
                controls.layer,
                current,
                choice.upload,
                choice.truth,
                choice.gallery,
                choice.caption,
            ],
            **run,
        ),
        choice.gallery.select(
            handlers.example,
            wanted,
            [*outputs, trouble, controls.layer, current, choice.truth, choice.caption],
            **run,
        ),
        controls.architecture.input(
            handlers.switch,
            [controls.architecture, current, *wanted],
            [*outputs, trouble, controls.threshold, controls.gate],
            **run,
        ),
    ]
    for event in ran:
        event.then(None, js=scripts.scroll_to("result")).then(tell, trouble, api_visibility="private")
    gr.on(
        [choice.truth.upload, choice.truth.clear],
        handlers.truth,
        [choice.truth, current, *wanted],
        [*outputs, trouble, controls.layer, current, choice.truth],
        **run,
    ).then(tell, trouble, api_visibility="private")
    drawn = [current, *wanted]
    # A layer chosen while another is being drawn must not be dropped: the buttons would name it all the same.
    latest = {"show_progress": "hidden", "trigger_mode": "always_last", **MODEL}
    controls.layer.input(handlers.redraw, drawn, outputs, **latest)
    bases: list[Any] = [controls.channel, controls.slider]
    gr.on([one.input for one in bases], handlers.redraw, drawn, outputs, **DRAW)
    live: list[Any] = [controls.threshold, controls.gate, controls.opacity]
    gr.on([one.input for one in live], handlers.adjust, drawn, outputs, **DRAW)
