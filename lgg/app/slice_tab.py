"""The tab for one slice: what only it does with a result, its layout, its events, and links to what is shown.

A link states what the controls show, `?example=two-lesions&arch=unet-mini&threshold=0.4`, never an upload.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urlencode

import gradio as gr

from lgg.app import controls, render
from lgg.app.controls import DRAW, MODEL, SHOWN_BY, Handlers, Tab, Updates, Values, View
from lgg.app.models import LoadedModels
from lgg.app.render import message_html, script
from lgg.app.service import ROLES, Request, Service, slice_request
from lgg.errors import SliceError
from lgg.examples import Example
from lgg.io import read_slice
from lgg.io.sequences import CHANNELS
from lgg.models import SEGMENTERS, TITLES
from lgg.types import SEQUENCES
from lgg.visualize import LAYERS, Display, flair_picture

TRUTH_HINT = "A mask of the same size, PNG or TIFF: whatever is not black is tumour."
WAITING = message_html("empty", "No slice yet", "Pick an example, or upload a slice of your own.")
NO_MODEL = message_html(
    "empty",
    "No model to run",
    "The gate or all segmenters lack weights: slices can be picked, not examined.",
)
#: The names of all that decides how a slice is shown.
INPUTS = ("current", *SHOWN_BY, "architecture", "before_after")
#: The names of what `SliceHandlers.picture` changes.
DRAWN = ("picture", "both", "legend")
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

    def picture(self, view: View, values: Values) -> Updates:
        """The slice with its layer, and both pictures where they lie under one slider."""
        over, slider = view.picture(), values["before_after"]
        outlined = "outlined" if view.prediction.area else "nothing outlined"
        label = f"{TITLES[view.request.architecture or '']}: {outlined}"
        return {
            # Not gr.Image(…): a component of its own would write each picture once more, as lossy WebP.
            "picture": gr.update(value=None if slider else over, label=label, alt_text=view.describe()),
            "both": gr.update(value=(view.plain(), over) if slider else None, visible=slider),
            "legend": view.legend_html(),
        }

    def pictures(self, view: View, values: Values) -> Updates:
        """The slice with its layer beside the one without, or both under one slider."""
        slider = values["before_after"]
        plain = gr.update(
            value=None if slider else view.plain(), alt_text=f"{SEQUENCES[view.display.channel]} alone."
        )
        return {**self.picture(view, values), "plain": plain, "pictures": gr.Row(visible=not slider)}

    def redraw_both(self, values: Values) -> Updates:
        """Another sequence, or another way to lay the pictures."""
        request = values["current"]
        return {} if request is None else self.pictures(self.view(request, values), values)

    def adjust(self, values: Values) -> Updates:
        """Words and picture by other thresholds."""
        return {**self.decide(values), **self.redraw(values)}

    def open(self, request: Request | None, values: Values) -> Updates:
        """Everything about a slice, if there is one; what cannot be read is not looked at any longer."""
        if request is None:
            return {"current": None}
        try:
            view = self.view(request, values)
            shown = {**self.words(view), **self.pictures(view, values), "body": gr.Column(visible=True)}
        except SliceError as error:
            return {**self.failed(error), "current": None}
        except Exception as error:
            shown = self.failed(error)
        return {**shown, "current": request}

    def upload(self, values: Values) -> Updates:
        """A visitor's own slice. The drop zone is free for the next; no example is shown any more."""
        opened = self.open(slice_request(values["upload"], values["architecture"]), values)
        emptied = {"upload": None, "truth": None, "gallery": gr.Gallery(selected_index=None), "caption": ""}
        return {
            **opened,
            **AWAY,
            **emptied,
            "example": None,
            "layer": controls.layers(False, values["layer"]),
        }

    def pick(self, values: Values) -> Updates:
        """An example, with its own ground truth; `picked` counts from 0."""
        example = self.examples[values["picked"]]
        mask = str(example.mask) if example.mask else None
        request = slice_request(str(example.image), values["architecture"], mask)
        return {
            **self.open(request, values),
            **AWAY,
            "truth": None,
            "caption": render.html("hint", text=example.caption),
            "example": example.name,
            "layer": controls.layers(bool(mask), values["layer"]),
        }

    def switch(self, values: Values) -> Updates:
        """Another architecture, by its own thresholds."""
        architecture, request = values["architecture"], values["current"]
        own = self.service.thresholds(architecture, "slice")
        moved = {"threshold": own.mask, "gate": own.gate}
        request = request and replace(request, architecture=architecture)
        return {**self.open(request, {**values, **moved}), **moved}

    def compare(self, values: Values) -> Updates:
        """Every architecture on the same slice, by its own thresholds."""
        request = values["current"]
        if request is None:
            return {}
        with controls.refusing():
            results = self.service.compare(request)
        pictures = [
            (View(request, result).picture(), f"{TITLES[name]}: {result.voxels:,} px")
            for name, result in results.items()
        ]
        columns = min(4, max(2, len(pictures)))
        return {
            "side_by_side": gr.update(value=pictures, visible=True, columns=columns),
            "comparison": render.comparison_html(results),
        }

    def defaults(self, architecture: str | None) -> Values:
        """What a link that says nothing of it leaves as it is: control → value."""
        own, start = self.service.thresholds(architecture, "slice"), Display()
        shown = {name: getattr(start, name) for name in ("opacity", "layer", "channel")}
        return {"threshold": own.mask, "gate": own.gate, "before_after": False, **shown}

    def link(self, values: Values) -> Updates:
        """The query of a link that restores what is shown; an upload is never in it."""
        usual = {"example": None, **self.defaults(values["architecture"])}
        names = ("architecture", *usual)
        stated = {name: values[name] for name in names if values[name] != usual.get(name)}
        return {"query": write_link(stated)}

    def restore(self, values: Values) -> Updates:
        """The page as its link states it, with the defaults for the rest."""
        names = [example.name for example in self.examples]
        stated = read_link(dict(values["visitor"].query_params), names)
        if stated.get("architecture") not in self.service.cascades:
            stated["architecture"] = self.service.preferred
        restored: Updates = {"example": None, **self.defaults(stated["architecture"]), **stated}
        if restored["example"] is None:
            return {**restored, "caption": "", "current": None}
        number = names.index(restored["example"])
        opened = self.pick({**restored, "picked": number})
        layer = controls.layers(self.examples[number].mask is not None, restored["layer"], choose=True)
        return {**restored, **opened, "layer": layer, "gallery": gr.Gallery(selected_index=number)}


def build_slice_tab(service: Service, examples: list[Example], models: LoadedModels, page: gr.Blocks) -> None:
    """Lay the tab out in the surrounding page and connect it."""
    handlers = SliceHandlers(service, examples)
    tab = Tab(handlers.failed)
    # Of this visitor: what is looked at, which example that is, and the query of a link.
    tab |= {"current": gr.State(None), "example": gr.State(None)}
    tab["query"] = gr.Textbox(visible=False)
    with gr.Row(elem_id="columns"):
        with gr.Column(scale=2, min_width=280, elem_id="controls"):
            _lay_out_choice(tab, examples, service)
            with gr.Accordion("About the architectures", open=False):
                gr.HTML(render.about_html(models, "architectures"))
            if models.reasons:
                gr.HTML(render.html("unavailable", reasons=models.reasons))
        with gr.Column(scale=5, min_width=280, elem_id="result"):
            tab["said"] = gr.HTML(WAITING if service.cascades else NO_MODEL)
            with gr.Column(visible=False, elem_id="body") as tab["body"]:
                _lay_out_pictures(tab)
                controls.layer_controls(tab)
                controls.sliders(tab, service.thresholds(service.preferred, "slice"))
                tab["before_after"] = gr.Checkbox(
                    label="Before and after under one slider", container=False, elem_id="before-after"
                )
                tab["scores"] = gr.HTML(elem_id="scores")
                tab["facts"] = gr.HTML(elem_id="facts")
                _lay_out_extras(tab)
    _connect(tab, handlers)
    tab.on(page.load, handlers.restore, show_progress="hidden", **MODEL)
    # A picture that is pasted anywhere is uploaded; Gradio's drop zone takes only drops and clicks.
    page.load(None, js=script("paste_to_upload"))


def _lay_out_choice(tab: Tab, examples: list[Example], service: Service) -> None:
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
    tab["architecture"] = controls.architecture_choice(service)
    tab["truth"] = controls.truth_box("", TRUTH_HINT)


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
    for opened in (
        tab.on(tab["upload"].upload, handlers.upload, ("upload", *INPUTS), **run),
        tab.on(tab["gallery"].select, handlers.pick, INPUTS, picked="index", **run),
        tab.on(tab["architecture"].input, handlers.switch, INPUTS, **run),
    ):
        opened.then(None, js=script("scroll_to", "result"))
    # A layer chosen while another is being drawn must not be dropped: the buttons would name it all the same.
    latest = {"show_progress": "hidden", "trigger_mode": "always_last", **MODEL}
    tab.on(tab["layer"].input, handlers.redraw, INPUTS, DRAWN, **latest)
    tab.on(tab["opacity"].input, handlers.redraw, INPUTS, DRAWN, **DRAW)
    both = [tab[name].input for name in ("channel", "before_after")]
    tab.on(both, handlers.redraw_both, INPUTS, (*DRAWN, "plain", "pictures"), **DRAW)
    deciding = [tab[name].input for name in ("threshold", "gate")]
    tab.on(deciding, handlers.adjust, INPUTS, (*DRAWN, "said", "facts", "scores"), **DRAW)
    tab.on(tab["compare"].click, handlers.compare, INPUTS, show_progress_on=[tab["comparison"]], **MODEL)
    controls.connect_extras(tab, handlers, INPUTS, MODEL)
    linked = tab.on(tab["link"].click, handlers.link, ("example", *INPUTS), **DRAW)
    copied = linked.then(None, tab["query"], tab["address"], js=script("copy_link"))
    copied.then(lambda: gr.Textbox(visible=True), None, tab["address"], **DRAW)


def _one_of(names: Sequence[str]) -> Callable[[str], str | None]:
    return lambda text: text if text in names else None


def _share(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None  # NaN is neither


#: Control → its name in a link, and from the link's text to its value, None for what is strange, and back.
PARAMETERS: dict[str, tuple[str, Callable[[str], Any], Callable[[Any], str]]] = {
    "example": ("example", lambda text: text or None, str),
    "architecture": ("arch", _one_of(SEGMENTERS), str),
    "threshold": ("threshold", _share, "{:.3g}".format),
    "gate": ("gate", _share, "{:.3g}".format),
    "opacity": ("opacity", _share, "{:.3g}".format),
    "layer": ("show", _one_of(LAYERS), str),
    "channel": ("sequence", CHANNELS.get, ROLES.__getitem__),
    "before_after": ("slider", {"0": False, "1": True}.get, lambda value: str(int(value))),
}


def read_link(query: Mapping[str, str], examples: Sequence[str]) -> dict[str, Any]:
    """What a link's query states; anything strange in it is left out, as links get cut and mistyped.

    Args:
        query: parameter → value.
        examples: names of the examples there are; a link may also count them, from 1.
    """
    example = query.get("example", "")
    if example.isascii() and example.isdigit() and 1 <= int(example[:6]) <= len(examples):
        example = examples[int(example) - 1]
    query = {**query, "example": example if example in examples else ""}
    state = {control: read(query.get(name, "")) for control, (name, read, _) in PARAMETERS.items()}
    return {control: value for control, value in state.items() if value is not None}


def write_link(state: Mapping[str, Any]) -> str:
    """The query that `read_link` reads back, `?` and all; "" where nothing is stated."""
    stated = {
        name: write(state[control]) for control, (name, _, write) in PARAMETERS.items() if control in state
    }
    return f"?{urlencode(stated)}" if stated else ""
