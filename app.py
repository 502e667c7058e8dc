"""The Gradio page: layout and events. What it says stands in `lgg.report`, what it knows in `lgg.cascade`."""

import logging
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

try:  # On Spaces only, and before anything touches CUDA.
    import spaces
except ImportError:
    spaces = None

import gradio as gr
import numpy as np
from PIL import Image

from lgg import provenance, report
from lgg.cascade import DEFAULT_ARCHITECTURE, Cascade, Prediction
from lgg.errors import DataError, SliceError, WeightsError
from lgg.gallery import Example, load_examples
from lgg.models import TITLES
from lgg.picture import Rgb, enlarge, flair_picture, overlay
from lgg.plausible import implausible
from lgg.reading import read_slice
from lgg.shelf import open_shelf
from lgg.slice import Slice

CSS = Path(__file__).resolve().parent / "page.css"
#: Far above any slice of a scanner; between this and `lgg.reading.MAX_BYTES` lie films and attacks.
MAX_UPLOAD = "64mb"
#: Every 10 minutes, uploads older than 50 are deleted: they are gone within the hour.
DELETE_CACHE = (600, 3000)
#: Longest side of a picture that is sent to a browser.
SHOWN_SIDE = 1536
#: What the result's two pictures share.
PICTURE: dict[str, Any] = {"format": "png", "interactive": False, "buttons": ["fullscreen", "download"]}
#: On a phone the result may lie outside the screen when a slice is picked.
SCROLL_TO_RESULT = """() => {
    const result = document.getElementById("result"), top = result.getBoundingClientRect().top;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (top < 0 || top > innerHeight / 2) result.scrollIntoView({behavior: calm ? "auto" : "smooth"});
}"""
on_gpu: Callable[..., Any] = spaces.GPU(duration=20) if spaces else lambda function: function


class Desk:
    """Where slices are examined. It holds the models, and nothing of any visitor."""

    def __init__(self, cascades: dict[str, Cascade]) -> None:
        self.cascades = cascades
        self._predict = on_gpu(self._run)

    def examine(self, path: str, architecture: str | None) -> tuple[Slice, Prediction, Cascade]:
        """Read a file and run a cascade on it.

        Raises:
            SliceError, WeightsError: the file, or the architecture, cannot be used.
        """
        if not Path(path).is_file():
            raise SliceError("Uploads are deleted after a while, and this one is gone. Upload it once more.")
        one = read_slice(path)
        if architecture not in self.cascades:
            raise WeightsError("There are no weights to run. Train or download them, then restart.")
        return one, self._predict(one, architecture), self.cascades[architecture]

    def _run(self, one: Slice, architecture: str) -> Prediction:
        # By name: ZeroGPU sends arguments to another process, and the cascade is there already.
        return self.cascades[architecture].predict(one)

    def show(self, path: str, architecture: str | None) -> tuple[Any, ...]:
        """Values for the page's result: verdict, pictures' row, outlined, FLAIR, facts, and an error or None.

        A failure clears the last result. It is returned, not raised, so that its words can stay on the page.
        """
        try:
            one, prediction, cascade = self.examine(path, architecture)
        except Exception as error:
            trouble = report.explain(error)
            return report.error_html(*trouble), gr.Row(visible=False), None, None, "", trouble
        picture = flair_picture(one, prediction.head)
        label = f"Outlined by {report.model(cascade)}" if prediction.area else "Nothing outlined"
        return (
            report.verdict_html(one, prediction) + report.warning_html(implausible(one, prediction.head)),
            gr.Row(visible=True),
            gr.Image(shown(overlay(picture, prediction.mask)), label=label, alt_text=f"FLAIR. {label}."),
            shown(enlarge(picture)),
            report.facts_html(one, prediction, cascade),
            None,
        )

    def segment(self, file: str | None, architecture: str) -> tuple[dict[str, Any], Rgb]:
        """Gate and outline one axial brain MRI slice, a TIFF, PNG, JPEG or single-frame DICOM file.

        Returns what was found, and the FLAIR with the outline. Research only, not a medical device.
        """
        try:
            if file is None:
                raise SliceError("No file was sent. Send one slice as TIFF, PNG, JPEG or DICOM.")
            one, prediction, cascade = self.examine(file, architecture)
            picture = shown(overlay(flair_picture(one, prediction.head), prediction.mask))
            return report.as_json(one, prediction, cascade), picture
        except Exception as error:
            raise refusal(*report.explain(error)) from None


def refusal(title: str, message: str) -> gr.Error:
    """Gradio renders messages as HTML, and these hold the names of uploaded files."""
    return gr.Error(escape(message, quote=False), title=title, duration=5, print_exception=False)


def tell(trouble: tuple[str, str] | None) -> None:
    """Announce an error, in a step without outputs: Gradio would mark them as failed."""
    if trouble is not None:
        raise refusal(*trouble)


def shown(picture: Rgb) -> Rgb:
    """A picture small enough to send."""
    image = Image.fromarray(picture)
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return np.asarray(image)


def examples_or_none() -> list[Example]:
    """The shipped examples; a damaged folder costs the gallery, not the page."""
    try:
        return load_examples()
    except DataError as error:
        logging.getLogger("lgg.page").error("No examples: %s", error)
        return []


def build_page(
    cascades: dict[str, Cascade], reasons: dict[str, str], banner: str = "", origin: str = ""
) -> gr.Blocks:
    """The whole page; `banner` and `origin` are HTML about its weights, see `lgg.provenance`."""
    desk, examples = Desk(cascades), examples_or_none()
    choices = [(TITLES[name], name) for name in cascades]
    preferred = DEFAULT_ARCHITECTURE if DEFAULT_ARCHITECTURE in cascades else next(iter(cascades), None)

    with gr.Blocks(title=report.TITLE, analytics_enabled=False, delete_cache=DELETE_CACHE) as page:
        # Of this visitor: the path of the slice (uploads live in Gradio's cache only), and the last error.
        current, trouble = gr.State(None), gr.State(None)
        gr.HTML(report.HEADER)
        gr.HTML(banner, visible=bool(banner))
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=2, min_width=280, elem_id="controls"):
                gr.HTML("<h2>Pick an example</h2>", visible=bool(examples))
                gallery = example_gallery(examples)
                caption = gr.HTML(elem_id="caption")
                gr.HTML("<h2>or upload a slice</h2>")
                upload = gr.File(show_label=False, height=88, elem_id="upload")
                gr.HTML(report.PRIVACY)
                architecture = gr.Radio(
                    choices,
                    value=preferred,
                    label="Architecture",
                    visible=bool(cascades),
                    elem_id="architecture",
                )
                gr.HTML(report.unavailable(reasons), visible=bool(reasons))
            with gr.Column(scale=5, min_width=280, elem_id="result"):
                said = gr.HTML(report.empty_html(bool(cascades)))
                with gr.Row(visible=False, elem_id="pictures") as pictures:
                    outlined = gr.Image(label="Outlined", elem_id="outlined", **PICTURE)
                    flair = gr.Image(label="FLAIR as read", alt_text="FLAIR", elem_id="flair", **PICTURE)
                facts = gr.HTML(elem_id="facts")
        gr.HTML(origin, visible=bool(origin))
        gr.HTML(report.FOOTER)

        def on_upload(path: str, name: str | None) -> tuple[Any, ...]:
            # The drop zone is emptied for the next file; no example is what is shown any more.
            *values, failed = desk.show(path, name)
            return *values, failed, None if failed else path, None, gr.Gallery(selected_index=None), ""

        def on_example(name: str | None, event: gr.SelectData) -> tuple[Any, ...]:
            example = examples[event.index]
            words = f'<p class="hint">{escape(example.caption)}</p>'
            return *desk.show(str(example.image), name), str(example.image), words

        def on_switch(path: str | None, name: str) -> tuple[Any, ...]:
            return desk.show(path, name) if path else (gr.skip(),) * len(result)

        result = [said, pictures, outlined, flair, facts, trouble]
        run: dict[str, Any] = {
            "concurrency_id": "model",
            "api_visibility": "private",
            "show_progress_on": [said],
            "trigger_mode": "always_last",
        }
        ran = [
            upload.upload(
                on_upload, [upload, architecture], [*result, current, upload, gallery, caption], **run
            ),
            gallery.select(on_example, [architecture], [*result, current, caption], **run),
            architecture.input(on_switch, [current, architecture], result, **run),
        ]
        for event in ran:
            event.then(None, js=SCROLL_TO_RESULT).then(tell, trouble, api_visibility="private")

        with gr.Row(visible=False):  # The API's own components, so that the page's stay free to change.
            gr.Button().click(
                desk.segment,
                [gr.File(label="Slice"), gr.Radio(choices, value=preferred, label="Architecture")],
                [gr.JSON(label="Report"), gr.Image(label="Overlay", format="png")],
                api_name="segment",
                concurrency_id="model",
            )
    return page


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


def theme() -> gr.themes.Base:
    """Slate and teal in the system's own fonts: nothing is fetched."""
    own = gr.themes.Base(primary_hue="teal", neutral_hue="slate", radius_size="sm", font=["sans-serif"])
    own.font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
    # Slate 400, Gradio's choice for small print, is too faint on white.
    return own.set(body_background_fill="*neutral_50", body_text_color_subdued="*neutral_500")


def main() -> None:
    """Load the models and serve the page; Gradio's own environment variables say where."""
    shelf = open_shelf()
    banner, origin = provenance.banner_html(shelf), provenance.origin_html(shelf)
    build_page(shelf.cascades, shelf.reasons, banner, origin).launch(
        theme=theme(),
        css_paths=CSS,
        show_error=False,
        max_file_size=MAX_UPLOAD,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
    )


if __name__ == "__main__":
    main()
