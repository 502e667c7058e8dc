"""Under a slice's result: compare all architectures, download everything, copy a link."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from lgg.page import scripts
from lgg.page.lines import DRAW, MODEL
from lgg.page.slice_handlers import Handlers
from lgg.page.slice_parts import Controls


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
