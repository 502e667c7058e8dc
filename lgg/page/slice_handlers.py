"""What the tab for one slice does: values in, values out."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from lgg import report
from lgg.gallery import Example
from lgg.link import Wish, write_link
from lgg.page.desk import Desk
from lgg.page.look import layers
from lgg.page.lookup import own_thresholds
from lgg.page.messages import refusal
from lgg.page.slice_show import Current, Wanted, show
from lgg.picture import flair_picture, overlay, shrink
from lgg.scorecard import comparison_html
from lgg.takeaway import method_of, write_pack
from lgg.view import Look

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
                method = replace(method_of(examined.cascade, statistics="slice"), thresholds=thresholds)
                path = Path(folder) / PACK_NAME
                write_pack(path, examined.series, [examined.prediction.decided(thresholds)], method)
            except Exception as error:
                raise refusal(*report.explain(error)) from None
            yield gr.DownloadButton(value=str(path))  # Gradio copies it before the folder goes

    def link(self, current: Current, *wanted: Any) -> str:
        """The query of a link that restores what is shown; an upload is never in it."""
        chosen = Wanted(*wanted)
        mask, gate = self.own_thresholds(chosen.architecture)
        start = Look()
        return write_link(
            Wish(
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

    def wanted(self, wish: Wish, preferred: str | None) -> Wanted:
        """The controls as a link wishes them, with the defaults for the rest."""
        architecture = wish.architecture if wish.architecture in self.desk.cascades else preferred
        mask, gate = self.own_thresholds(architecture)
        start = Look()
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
