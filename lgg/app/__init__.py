"""The Gradio page: layout and events, the only package that imports gradio. `app.py` opens it.

What the page says stands in `lgg.app.render`, what it draws in `lgg.visualize`, what it knows in
`lgg.app.service`.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder

from lgg.app import render
from lgg.app.api import offer_api
from lgg.app.models import LoadedModels, load_models
from lgg.app.series_tab import build_series_tab
from lgg.app.service import Service
from lgg.app.slice_tab import build_slice_tab
from lgg.app.viewer import NIIVUE_FOLDER
from lgg.examples import all_examples

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
    with own_folder():
        build_page(load_models()).launch(
            theme=theme(),
            css_paths=CSS,
            show_error=False,
            max_file_size=MAX_UPLOAD,
            footer_links=["api", "settings"],
            run_history=False,
            enable_monitoring=False,
        )


@contextmanager
def own_folder() -> Iterator[None]:
    """Keep uploads and temporary files in a folder of this run alone, which is deleted at its end.

    After a kill Gradio no longer knows which uploads were its own: it would never delete them, and serve them
    to whoever knows their address. The next run to start deletes the folders of those that are gone.
    """
    root = Path(get_upload_folder())
    root.mkdir(parents=True, exist_ok=True)
    for folder in root.glob("page-*") if sys.platform != "win32" else ():
        with suppress(OSError), _locked(folder):  # if it cannot be locked, its run goes on
            shutil.rmtree(folder)
    with tempfile.TemporaryDirectory(prefix="page-", dir=root, ignore_cleanup_errors=True) as name:
        own = Path(name)
        (own / "work").mkdir()
        with _locked(own):
            os.environ["GRADIO_TEMP_DIR"], tempfile.tempdir = str(own / "uploads"), str(own / "work")
            try:
                yield
            finally:
                os.environ["GRADIO_TEMP_DIR"], tempfile.tempdir = str(root), None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder as long as this process lives; OSError if another one does. Windows has no such locks."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def build_page(models: LoadedModels) -> gr.Blocks:
    """The whole page."""
    service = Service(models.cascades)
    gr.set_static_paths([NIIVUE_FOLDER])
    with gr.Blocks(title=render.TITLE, analytics_enabled=False, delete_cache=DELETE_CACHE) as page:
        gr.HTML(render.html("header", title=render.TITLE))
        if os.environ.get("SPACE_ID"):  # a copy belongs to whoever made it, and is private at first
            gr.DuplicateButton("Sensitive data? Duplicate this Space")
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
