"""The page's API: named endpoints for programs, with components of their own so that the page's stay free."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from lgg.app import render
from lgg.app.controls import refusal
from lgg.app.series_tab import SeriesHandlers
from lgg.app.service import Request, Service, slice_request
from lgg.errors import SeriesError, SliceError
from lgg.explain import agreement
from lgg.visualize import Rgb, flair_picture, overlay, shrink


class Api:
    """What programs may ask of the service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def segment(self, file: str | None, architecture: str) -> tuple[dict[str, Any], Rgb]:
        """Gate and outline one axial brain MRI slice, a TIFF, PNG, JPEG or single-frame DICOM file.

        Returns what was found, and the FLAIR with the outline. Research only, not a medical device.
        """
        try:
            result = self.service.result(_slice(file, architecture))
            (slice_,), (prediction,) = result.series.slices(), result.predictions
            picture = overlay(flair_picture(slice_, prediction.head), prediction.mask)
            return render.as_json(result, self.service.cascade(architecture)), shrink(picture)
        except Exception as error:
            raise refusal(*render.explain(error)) from None

    def compare(self, file: str | None) -> dict[str, Any]:
        """Ask every architecture about one axial brain MRI slice.

        Returns what each found, and the mean Dice between their outlines. Research only, not a medical
        device.
        """
        try:
            results = self.service.compare(_slice(file, None))
            masks = [result.predictions[0].mask for result in results.values()]
            return {
                "agreement": agreement(masks) if len(masks) > 1 else None,
                "architectures": {
                    name: render.as_json(result, self.service.cascade(name))
                    for name, result in results.items()
                },
            }
        except Exception as error:
            raise refusal(*render.explain(error)) from None

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
            request = Request(tuple(files), architecture, tuple((sequences or {}).items()))
            result = self.service.result(request)
            with TemporaryDirectory() as folder:
                path = Path(folder) / SeriesHandlers.archive_name
                self.service.write_archive(path, request, result)
                # Gradio copies the file before it asks for the next value.
                yield render.series_as_json(result, self.service.cascade(architecture)), str(path)
        except Exception as error:
            raise refusal(*render.explain(error)) from None


def _slice(file: str | None, architecture: str | None) -> Request:
    if file is None:
        raise SliceError("No file was sent. Send one slice as TIFF, PNG, JPEG or DICOM.")
    return slice_request(file, architecture)


def offer_api(service: Service, choices: list[tuple[str, str]]) -> None:
    """Add the endpoints to the page around."""
    api = Api(service)

    def architecture() -> gr.Radio:
        return gr.Radio(choices, value=service.preferred, label="Architecture")

    with gr.Row(visible=False):
        gr.Button().click(
            api.segment,
            [gr.File(label="Slice"), architecture()],
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
            [gr.File(label="Files", file_count="multiple"), architecture(), gr.JSON(label="Sequences")],
            [gr.JSON(label="Report"), gr.File(label="Archive")],
            api_name="segment_series",
            concurrency_id="series",
        )
