"""The page's API: named endpoints for programs, with components of their own so that the page's stay free."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from lgg.app import render as report
from lgg.app import render as series_report
from lgg.app.controls import refusal
from lgg.app.series_tab import SeriesEvents
from lgg.app.service import Desk, Request, SeriesDesk
from lgg.errors import SeriesError, SliceError
from lgg.explain import agreement
from lgg.visualize import Rgb, flair_picture, overlay, shrink

NO_FILE = "No file was sent. Send one slice as TIFF, PNG, JPEG or DICOM."


class Api:
    """What programs may ask of a desk."""

    def __init__(self, desk: Desk, series_desk: SeriesDesk) -> None:
        self.desk, self.series_desk = desk, series_desk

    def segment(self, file: str | None, architecture: str) -> tuple[dict[str, Any], Rgb]:
        """Gate and outline one axial brain MRI slice, a TIFF, PNG, JPEG or single-frame DICOM file.

        Returns what was found, and the FLAIR with the outline. Research only, not a medical device.
        """
        try:
            if file is None:
                raise SliceError(NO_FILE)
            found = self.desk.examine(file, architecture)
            picture = overlay(flair_picture(found.one, found.prediction.head), found.prediction.mask)
            return report.as_json(found.one, found.prediction, found.cascade), shrink(picture)
        except Exception as error:
            raise refusal(*report.explain(error)) from None

    def compare(self, file: str | None) -> dict[str, Any]:
        """Ask every architecture about one axial brain MRI slice.

        Returns what each found, and the mean Dice between their outlines. Research only, not a medical
        device.
        """
        try:
            if file is None:
                raise SliceError(NO_FILE)
            found = self.desk.compare(file)
            masks = [one.prediction.mask for one in found]
            return {
                "agreement": agreement(masks) if len(masks) > 1 else None,
                "architectures": {
                    one.cascade.config.architecture: report.as_json(one.one, one.prediction, one.cascade)
                    for one in found
                },
            }
        except Exception as error:
            raise refusal(*report.explain(error)) from None

    def segment_series(
        self, files: list[str] | None, architecture: str, sequences: dict[str, str] | None
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """Gate and outline one patient's axial slices: files, an archive, a DICOM series or NIfTI volumes.

        For several volumes, `sequences` may say which is which: a NIfTI file's name, or a DICOM series'
        unique identifier, and `pre`, `flair` or `post`. Returns what was found, and a zip archive of masks,
        overlays, probabilities and tables. Research only, not a medical device.
        """
        try:
            if not files:
                raise SeriesError("No file was sent. Send the slices of one patient.")
            order = Request(tuple(files), architecture, tuple((sequences or {}).items()))
            result = self.series_desk.result(order)
            with TemporaryDirectory() as folder:
                path = SeriesEvents(self.series_desk).write(Path(folder), order, result)
                # Gradio copies the file before it asks for the next value.
                yield series_report.series_as_json(result, self.series_desk.cascade(order)), str(path)
        except Exception as error:
            raise refusal(*report.explain(error)) from None


def offer_api(desk: Desk, series_desk: SeriesDesk, choices: list[tuple[str, str]]) -> None:
    """Add the endpoints to the page around."""
    api = Api(desk, series_desk)
    with gr.Row(visible=False):
        gr.Button().click(
            api.segment,
            [gr.File(label="Slice"), gr.Radio(choices, value=desk.preferred, label="Architecture")],
            [gr.JSON(label="Report"), gr.Image(label="Overlay", format="png")],
            api_name="segment",
            concurrency_id="model",
        )
        gr.Button().click(
            api.compare,
            [gr.File(label="Slice")],
            [gr.JSON(label="Reports")],
            api_name="compare",
            concurrency_id="model",
        )
        gr.Button().click(
            api.segment_series,
            [
                gr.File(label="Files", file_count="multiple"),
                gr.Radio(choices, value=desk.preferred, label="Architecture"),
                gr.JSON(label="Sequences"),
            ],
            [gr.JSON(label="Report"), gr.File(label="Archive")],
            api_name="segment_series",
            concurrency_id="series",
        )
