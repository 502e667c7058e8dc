"""The whole page: header, tabs, footer, API."""

import gradio as gr

from lgg import report
from lgg.about import about_html
from lgg.cascade import Cascade
from lgg.gallery import all_examples
from lgg.models import TITLES
from lgg.page.api import offer_api
from lgg.page.desk import Desk
from lgg.page.series_tab import series_tab
from lgg.page.slice_tab import build_slice_tab

#: Every 10 minutes, uploads older than 50 are deleted: they are gone within the hour.
DELETE_CACHE = (600, 3000)


def build_page(
    cascades: dict[str, Cascade], reasons: dict[str, str], banner: str = "", origin: str = ""
) -> gr.Blocks:
    """The whole page; `banner` and `origin` are HTML about its weights, see `lgg.provenance`."""
    desk, examples = Desk(cascades), all_examples()
    choices = [(TITLES[name], name) for name in cascades]
    with gr.Blocks(title=report.TITLE, analytics_enabled=False, delete_cache=DELETE_CACHE) as page:
        gr.HTML(report.HEADER)
        gr.HTML(banner, visible=bool(banner))
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("One slice"):
                connect_load = build_slice_tab(desk, examples, choices, reasons)
            with gr.Tab("Whole series"):
                series_desk = series_tab(desk, choices, desk.preferred)
            with gr.Tab("About"):
                gr.HTML(about_html(cascades, reasons))
        gr.HTML(origin, visible=bool(origin))
        gr.HTML(report.FOOTER)
        connect_load(page)
        offer_api(desk, series_desk, choices)
    return page
