"""The tab for one slice: its events."""

from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import gradio as gr

from lgg import report
from lgg.gallery import Example
from lgg.link import read_link
from lgg.page import scripts
from lgg.page.desk import Desk
from lgg.page.lines import DRAW, MODEL
from lgg.page.messages import tell
from lgg.page.slice_extras import connect_extras, extras_row
from lgg.page.slice_handlers import Handlers, Values, caption
from lgg.page.slice_parts import Choice, Controls, Result, choice_column, result_column
from lgg.page.slice_show import Current
from lgg.scorecard import architectures_html


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
