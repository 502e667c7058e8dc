"""The Gradio page: layout and events, the only package that imports gradio. `app.py` opens it.

What the page says stands in `lgg.app.render`, what it draws in `lgg.visualize`, what it knows in
`lgg.app.service`.
"""

from pathlib import Path

import gradio as gr

from lgg.app import render
from lgg.app.api import offer_api
from lgg.app.gallery import all_examples
from lgg.app.models import LoadedModels, load_models
from lgg.app.series_tab import build_series_tab
from lgg.app.service import Service
from lgg.app.slice_tab import build_slice_tab

CSS = sorted(Path(__file__).resolve().parent.glob("static/*.css"))


def theme() -> gr.themes.Base:
    """Slate and teal in the system's own fonts: nothing is fetched."""
    own = gr.themes.Base(primary_hue="teal", neutral_hue="slate", radius_size="sm", font=["sans-serif"])
    own.font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
    # Gradio's own choices, slate 400 for small print and teal 500 for what can be pressed, are too faint to
    # read on white, or for white words on them.
    return own.set(
        body_background_fill="*neutral_50",
        body_text_color_subdued="*neutral_500",
        color_accent="*primary_700",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_border_color="*primary_700",
        button_primary_border_color_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_border_color_dark="*primary_700",
        button_primary_border_color_hover_dark="*primary_800",
        button_primary_text_color="white",
        slider_color_dark="*primary_500",
        checkbox_background_color_selected_dark="*primary_500",
        checkbox_border_color_selected_dark="*primary_500",
    )


#: Every 10 minutes, uploads older than 50 are deleted: they are gone within the hour.
DELETE_CACHE = (600, 3000)
#: Far above any slice of a scanner; between this and `lgg.io.MAX_BYTES` lie films and attacks.
MAX_UPLOAD = "64mb"


def open_page() -> None:
    """Load the models and serve the page; Gradio's own environment variables say where."""
    build_page(load_models()).launch(
        theme=theme(),
        css_paths=CSS,
        show_error=False,
        max_file_size=MAX_UPLOAD,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
    )


def build_page(models: LoadedModels) -> gr.Blocks:
    """The whole page."""
    service = Service(models.cascades)
    with gr.Blocks(title=render.TITLE, analytics_enabled=False, delete_cache=DELETE_CACHE) as page:
        gr.HTML(render.html("header", title=render.TITLE))
        if models.warning:
            gr.HTML(render.html("banner", models=models))
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("One slice"):
                build_slice_tab(service, all_examples(), models, page)
            with gr.Tab("Whole series"):
                build_series_tab(service)
            with gr.Tab("About"):
                gr.HTML(render.about_html(models))
        gr.HTML(render.html("footer", models=models))
        offer_api(service)
    return page
