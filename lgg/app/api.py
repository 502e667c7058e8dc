"""The page's API: named endpoints for programs, with components of their own so that the page's stay free."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from lgg.app.controls import View, refusing
from lgg.app.render import detail, headline, milliseconds
from lgg.app.series_tab import SeriesHandlers
from lgg.app.service import Request, Service, slice_request
from lgg.cascade import Cascade
from lgg.errors import SeriesError, SliceError
from lgg.explain import agreement
from lgg.types import Prediction, SeriesResult
from lgg.visualize import Rgb


class Api:
    """What programs may ask of the service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def segment(self, file: str | None, architecture: str) -> tuple[dict[str, Any], Rgb]:
        """Gate and outline one axial brain MRI slice, a TIFF, PNG, JPEG or single-frame DICOM file.

        Returns what was found, and the FLAIR with the outline. Research only, not a medical device.
        """
        with refusing():
            request = _lone(file, architecture)
            result = self.service.result(request)
            return self._report(request, result), View(request, result).picture()

    def compare(self, file: str | None) -> dict[str, Any]:
        """Ask every architecture about one axial brain MRI slice.

        Returns what each found, and the mean Dice between their outlines. Research only, not a medical
        device.
        """
        with refusing():
            results = self.service.compare(_lone(file, None))
            masks = [result.predictions[0].mask for result in results.values()]
            reports = {name: self._report(_lone(file, name), result) for name, result in results.items()}
            return {"agreement": agreement(masks) if len(masks) > 1 else None, "architectures": reports}

    def segment_series(
        self, files: list[str] | None, architecture: str, sequences: dict[str, str] | None
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """Gate and outline one patient's axial slices: files, an archive, a DICOM series or NIfTI volumes.

        For several volumes, `sequences` may say which is which: a NIfTI file's name, or a DICOM series'
        unique identifier, and `pre`, `flair` or `post`. Returns what was found, and a zip archive of masks,
        overlays, probabilities and tables. Research only, not a medical device.
        """
        with refusing(), TemporaryDirectory() as folder:
            if not files:
                raise SeriesError("No file was sent. Send the slices of one patient.")
            request = Request(tuple(files), architecture, tuple((sequences or {}).items()))
            result = self.service.result(request)
            path = Path(folder) / SeriesHandlers.archive_name
            self.service.write_archive(path, request, result)
            # Gradio copies the file before it asks for the next value.
            yield self._report(request, result), str(path)

    def _report(self, request: Request, result: SeriesResult) -> dict[str, Any]:
        cascade = self.service.cascade(request.architecture)
        return report(result, cascade, request.lone, self.service.warnings(request))


def _lone(file: str | None, architecture: str | None) -> Request:
    if file is None:
        raise SliceError("No file was sent. Send one slice as TIFF, PNG, JPEG or DICOM.")
    return slice_request(file, architecture)


def report(
    result: SeriesResult, cascade: Cascade, lone: bool, warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """The result as plain values; what is in mm, mm² or ml is None where no distances are known.

    Args:
        lone: whether it is that of a slice by itself.
        warnings: why the networks were not made for the upload.
    """
    source, (_, height, width, _) = cascade.source, result.series.pixels.shape
    return {
        "verdict": headline(result),
        "detail": detail(result, lone).replace("\u00a0", " "),
        "gate_threshold": result.thresholds.gate,
        "source": result.series.source,
        "height": height,
        "width": width,
        "flair_only": result.series.flair_only,
        "architecture": cascade.config.architecture,
        "weights": source.name if source else None,
        "weights_revision": source.revision if source else None,
        "weights_date": cascade.config.date,
        "parameters": cascade.config.parameters,
        "device": cascade.device.type,
        "engine": cascade.engine.name,
        "precision": cascade.engine.precision,
        "notice": "Research only, not a medical device.",
        **(_measured_slice(result.predictions[0]) if lone else _measured_series(result)),
        "warnings": list(warnings),
    }


def _measured_slice(prediction: Prediction) -> dict[str, Any]:
    return {
        **_gate_and_area(prediction),
        "head_percent": prediction.head_percent,
        "milliseconds": prediction.milliseconds,
    }


def _measured_series(result: SeriesResult) -> dict[str, Any]:
    series = result.series
    return {
        "mask_threshold": result.thresholds.mask,
        "slices": len(result),
        "slices_with_tumour": list(result.with_tumour),
        "largest_slice": result.most_telling if result.voxels else None,
        "voxels": result.voxels,
        "volume_ml": result.volume_ml,
        "per_slice": [
            {"slice": number, **_gate_and_area(prediction)}
            for number, prediction in enumerate(result.predictions, start=1)
        ],
        "milliseconds": milliseconds(result),
        "spacing_mm": None if series.spacing is None else list(series.spacing),
        "slice_distance_mm": series.slice_distance,
        "notes": list(series.notes),
    }


def _gate_and_area(prediction: Prediction) -> dict[str, Any]:
    return {
        "gate_probability": prediction.gate_probability,
        "gate_passed": prediction.passed,
        "area_pixels": prediction.area,
        "area_mm2": prediction.area_mm2,
    }


def offer_api(service: Service) -> None:
    """Add the endpoints to the page around."""
    api = Api(service)

    def offer(endpoint: Callable[..., Any], inputs: list[Any], outputs: list[Any], queue: str) -> None:
        gr.Button().click(endpoint, inputs, outputs, api_name=endpoint.__name__, concurrency_id=queue)

    def architecture() -> gr.Radio:
        return gr.Radio(service.choices, value=service.preferred, label="Architecture")

    with gr.Row(visible=False):
        picture = gr.Image(label="Overlay", format="png")
        offer(
            api.segment, [gr.File(label="Slice"), architecture()], [gr.JSON(label="Report"), picture], "model"
        )
        offer(api.compare, [gr.File(label="Slice")], [gr.JSON(label="Reports")], "model")
        files = gr.File(label="Files", file_count="multiple")
        given = [files, architecture(), gr.JSON(label="Sequences")]
        made = [gr.JSON(label="Report"), gr.File(label="Archive")]
        offer(api.segment_series, given, made, "series")
