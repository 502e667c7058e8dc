"""What the controls of the series' tab do: from a visitor's choices to new values for its components.

Handlers answer with component's name → value, and know nothing of the layout. A failure clears the last
result and says why where the result would stand.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from lgg import report, series_report
from lgg.chart import chart_html
from lgg.page.look import Settings, layers
from lgg.page.series_run import ROLES, Order, SeriesDesk, assigned
from lgg.picture import shrink
from lgg.scorecard import series_truth_html
from lgg.series import AmbiguousSeriesError, Candidate
from lgg.slice import FLAIR, POST, PRE
from lgg.surface import surface_glb
from lgg.takeaway import method_of, write_pack
from lgg.view import describe, draw, legend
from lgg.volume import SeriesResult

WAITING = """<section class="verdict empty"><h2>No series yet</h2>
<p>Upload a patient's slices, then choose Examine.</p></section>"""
CANCELLED = """<section class="verdict empty" role="status"><h2>Cancelled</h2>
<p>Nothing was kept. Choose Examine to begin again.</p></section>"""
#: What a visitor saves is never named after the upload.
SURFACE, ARCHIVE = "tumour.glb", "segmentation.zip"
#: Seconds between two answers that must both arrive.
PAUSE = 0.5
NONE = "(none: FLAIR stands in)"

Updates = dict[str, Any]


class SeriesEvents:
    """The handlers. They keep nothing of any visitor."""

    def __init__(self, desk: SeriesDesk) -> None:
        self.desk = desk

    def start(
        self,
        files: Sequence[str] | None,
        architecture: str,
        asked: bool,
        roles: Sequence[str | None],
        settings: Settings,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[Updates]:
        """Examine a series, telling after each batch how far it is.

        Args:
            files: the uploads.
            asked: whether the visitor was asked which volume is which sequence.
            roles: the volumes chosen for `ROLES`.
            stopped: whether the visitor wants no more of it; asked after each batch.
        """
        # Each answer is the whole state: of answers that follow each other within milliseconds, Gradio 6.31
        # loses some, but not the last.
        last: Updates = {}
        try:
            order = Order(tuple(files or ()), architecture, assigned(roles) if asked else ())
            for progress in self.desk.examine(order):
                if stopped():
                    yield STOPPED
                    return
                if progress.result is None:
                    now = series_report.progress_html(progress.done, progress.slices, progress.seconds)
                    yield {**CLEARED, **RUNNING, "said": now}
                else:
                    last = self._opened(order, progress.result, settings)
        except AmbiguousSeriesError as error:
            guesses = {one.guess: one.key for one in error.candidates if one.guess is not None}
            said = report.error_html("Which volume is which?", str(error))
            last = {**CLEARED, "said": said, **_asking(error.candidates, guesses)}
        except Exception as error:
            last = failed(error)
        yield {**last, **IDLE}

    def slice(self, number: float, order: Order, settings: Settings) -> Updates:
        """Another slice, or the same one shown in another way."""
        result = self._decided(order, settings)
        number = min(max(round(number), 1), len(result))
        return {**self._picture(result, number, order, settings), "slider": number}

    def threshold(self, number: float, order: Order, settings: Settings) -> Updates:
        """What other outlines in all slices amount to; the picture follows. No network runs."""
        return self._said(order, self._decided(order, settings), round(number))

    def truth(
        self, files: Sequence[str] | None, number: float, order: Order | None, settings: Settings
    ) -> Updates:
        """A ground truth for the series that is shown, or none any more; one that cannot be used is left."""
        if order is None:
            return {"truth": None}
        mine = replace(order, truth=tuple(files or ()))
        try:
            self.desk.truth(mine)
        except Exception as error:
            return {"scores": report.error_html(*report.explain(error)), "truth": None}
        return {
            **self.slice(number, mine, settings),
            "order": mine,
            "layer": layers(bool(mine.truth), settings.layer),
            "scores": self._scores(mine, self._decided(mine, settings)),
        }

    def surface(self, order: Order, settings: Settings) -> Iterator[Updates]:
        """The tumour in 3D."""
        result = self._decided(order, settings)
        data = surface_glb(result)
        if data is None:
            return
        unit = "pixels and slices as cubes" if result.series.voxel_mm3 is None else "true to scale"
        label = f"The outlined tumour in the head, {unit}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / SURFACE
            path.write_bytes(data)
            # Gradio copies the file when it takes this value, before it asks for the next.
            yield {"surface": gr.Model3D(str(path), visible=True, label=label)}
            # The last answer is sent twice, and a model that comes again while its viewer loads is never
            # drawn; so the last one is another, and late enough for the first not to be lost.
            time.sleep(PAUSE)
            yield {"turn": gr.skip()}

    def archive(self, order: Order, settings: Settings) -> Iterator[Updates]:
        """Everything that was found, as a ZIP archive."""
        with tempfile.TemporaryDirectory() as folder:
            path = self.write(Path(folder), order, self._decided(order, settings))
            size = path.stat().st_size / 1e6
            label = f"Save the archive ({size:.1f}\u00a0MB)"
            yield {"save": gr.DownloadButton(label, value=str(path), visible=True)}

    def write(self, folder: Path, order: Order, result: SeriesResult) -> Path:
        """Write the archive of a result into a folder."""
        method = replace(method_of(self.desk.cascade(order)), thresholds=result.thresholds)
        write_pack(folder / ARCHIVE, result.series, result.predictions, method)
        return folder / ARCHIVE

    def _decided(self, order: Order, settings: Settings) -> SeriesResult:
        return self.desk.decided(order, settings.thresholds)

    def _opened(self, order: Order, result: SeriesResult, settings: Settings) -> Updates:
        """A result that is shown for the first time, by the model's own thresholds."""
        series, number = result.series, result.most_telling
        own = result.thresholds
        settings = replace(settings, threshold=own.mask, gate=own.gate)
        if series.flair_only:
            settings = replace(settings, channel=FLAIR)
        more = len(series.candidates) > 1
        return {
            **self._said(order, result, number),
            **(_asking(series.candidates, series.chosen) if more else {}),
            "order": order,
            **self._picture(result, number, order, settings),
            "layer": layers(False, settings.layer),
            "truth": None,
            "slider": gr.Slider(maximum=max(len(result), 2), value=number, visible=len(result) > 1),
            "channel": gr.Radio(value=settings.channel, visible=not series.flair_only),
            "threshold": own.mask,
            "gate": own.gate,
        }

    def _said(self, order: Order, result: SeriesResult, number: int) -> Updates:
        """All words about a result; what was made of another outline is put away."""
        warning = report.warning_html(series_report.warnings(result))
        return {
            "said": series_report.verdict_html(result) + warning,
            "chart": chart_html(result, number),
            "facts": series_report.facts_html(result, self.desk.cascade(order)),
            "scores": self._scores(order, result),
            "turn": gr.Button(visible=result.voxels > 0),
            "surface": gr.Model3D(None, visible=False),
            "save": gr.DownloadButton(value=None, visible=False),
        }

    def _scores(self, order: Order, result: SeriesResult) -> str:
        truth = self.desk.truth(order)
        return "" if truth is None else series_truth_html(result, truth)

    def _picture(self, result: SeriesResult, number: int, order: Order, settings: Settings) -> Updates:
        one = result.series.slices()[number - 1]
        prediction = result.predictions[number - 1]
        truth, look = self.desk.truth(order), settings.look
        if look.layer == "errors" and truth is None:
            look = replace(look, layer="fill")
        extra = self.desk.extra(order, number, look.layer)
        known = None if truth is None else truth[number - 1]
        picture = shrink(draw(one, prediction, look, extra, known))
        words = f"Slice {number} of {len(result)}. {describe(look, prediction)}"
        # Not gr.Image(…): a component of its own would write the picture once more, as lossy WebP.
        return {
            "picture": gr.update(value=picture, alt_text=words),
            "legend": f'<p class="hint">{legend(look, truth is not None, result.series.oriented)}</p>',
        }


#: How the tab looks while a series is examined, while none is, and while there is no result.
RUNNING: Updates = {"start": gr.Button(interactive=False), "stop": gr.Button(visible=True)}
IDLE: Updates = {"start": gr.Button(interactive=True), "stop": gr.Button(visible=False)}
CLEARED: Updates = {
    "order": None,
    "picture": None,
    "chart": "",
    "facts": "",
    "scores": "",
    "surface": gr.Model3D(None, visible=False),
    "save": gr.DownloadButton(value=None, visible=False),
}
TURNING: Updates = {"surface": gr.Model3D(visible=True)}
#: Other files have other volumes.
OTHER_FILES: Updates = {"asked": False, "sequences": gr.Column(visible=False)}
STOPPED: Updates = {**CLEARED, **IDLE, "said": CANCELLED}


def failed(error: Exception) -> Updates:
    """A result that can no longer be shown, and why."""
    return {**CLEARED, "said": report.error_html(*report.explain(error))}


def _asking(candidates: Sequence[Candidate], chosen: Mapping[int, str]) -> Updates:
    """A choice of volume for each sequence; `chosen` stands there at first."""
    volumes = [(one.label, one.key) for one in candidates]
    fields: Updates = {}
    for role, channel in zip(ROLES, (PRE, FLAIR, POST), strict=True):
        choices = volumes if channel == FLAIR else [(NONE, ""), *volumes]
        value = chosen.get(channel)
        fields[role] = gr.Dropdown(choices, value=value if value or channel == FLAIR else "")
    return {"asked": True, "sequences": gr.Column(visible=True), **fields}
