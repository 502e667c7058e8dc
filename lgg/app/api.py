"""The page's API: named endpoints for programs, with components of their own so that the page's stay free.

Language models are shown the endpoints' docstrings, of each argument its first line (`gradio.mcp`).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lgg.app.controls import View, architecture_choice, refusing
from lgg.app.render import detail, headline, milliseconds
from lgg.app.series_tab import SeriesHandlers
from lgg.app.service import Request, Service, slice_request
from lgg.cascade import Cascade
from lgg.errors import SeriesError, SliceError
from lgg.explain import agreement
from lgg.export import write_zip
from lgg.export.statistics import statistics
from lgg.postprocess import Gating
from lgg.types import Prediction, SeriesResult


class Api:
    """What programs may ask of the service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def segment(
        self,
        file: str | None,
        architecture: str,
        mask_threshold: float | None = None,
        gate_threshold: float | None = None,
        gate_mode: Gating = "hard",
    ) -> tuple[dict[str, Any], Image.Image, NDArray[np.uint8]]:
        """Outline low-grade glioma in one axial brain MRI slice. Research only, not a medical device.

        Args:
            file: The slice, a TIFF, PNG, JPEG or single-frame DICOM file.
            architecture: The network that outlines.
            mask_threshold: From this probability on a pixel is outlined, 0 to 1; by default the weights' own.
            gate_threshold: Below this probability a slice stays empty, 0 to 1; by default the weights' own.
            gate_mode: hard; soft, where sure outlines stay on unsure slices; none, to outline on any slice.

        Returns:
            What was found, the FLAIR with the outline, and the outline as a mask of 0 and 255.
        """
        with refusing():
            request = _lone(file, architecture)
            result = self._decided(request, mask_threshold, gate_threshold, gate_mode)
            mask = result.predictions[0].mask.astype(np.uint8) * 255
            return self._report(request, result, gate_mode), View(request, result).picture(), mask

    def compare(self, file: str | None) -> dict[str, Any]:
        """Ask every network about one axial brain MRI slice. Research only, not a medical device.

        Args:
            file: The slice, a TIFF, PNG, JPEG or single-frame DICOM file.

        Returns:
            What each network found, and the mean Dice between their outlines.
        """
        with refusing():
            results = self.service.compare(_lone(file, None))
            masks = [result.predictions[0].mask for result in results.values()]
            reports = {name: self._report(_lone(file, name), result) for name, result in results.items()}
            return {"agreement": agreement(masks), "architectures": reports}

    def segment_series(
        self,
        files: list[str] | None,
        architecture: str,
        sequences: dict[str, str] | None = None,
        mask_threshold: float | None = None,
        gate_threshold: float | None = None,
        gate_mode: Gating = "hard",
    ) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
        """Outline low-grade glioma in one patient's brain MRI. Research only, not a medical device.

        Args:
            files: Slices as files, an archive of them, a DICOM series, or NIfTI volumes.
            architecture: The network that outlines.
            sequences: Volume (NIfTI file name or DICOM series UID) to its sequence: pre, flair or post.
            mask_threshold: From this probability on a pixel is outlined, 0 to 1; by default the weights' own.
            gate_threshold: Below this probability a slice stays empty, 0 to 1; by default the weights' own.
            gate_mode: hard; soft, where sure outlines stay on unsure slices; none, to outline on any slice.

        Returns:
            What was found, a zip archive of masks, pictures and tables, and statistics in ml and mm.
        """
        with refusing(), TemporaryDirectory() as folder:
            if not files:
                raise SeriesError("No file was sent. Send the slices of one patient.")
            request = Request(tuple(files), architecture, tuple((sequences or {}).items()))
            result = self._decided(request, mask_threshold, gate_threshold, gate_mode)
            path = Path(folder) / SeriesHandlers.archive_name
            provenance = self.service.provenance(request, result, gate_mode)
            write_zip(path, result, provenance)
            # Gradio copies the file before it asks for the next value.
            yield self._report(request, result, gate_mode), str(path), statistics(result, provenance)

    def _decided(
        self, request: Request, mask: float | None, gate: float | None, gating: Gating
    ) -> SeriesResult:
        """The result by these thresholds; None: by the weights' own."""
        own = self.service.result(request).thresholds
        mask, gate = (own.mask if mask is None else mask), (own.gate if gate is None else gate)
        return self.service.decided(request, mask, gate, gating)

    def _report(self, request: Request, result: SeriesResult, gating: Gating = "hard") -> dict[str, Any]:
        cascade = self.service.cascade(request.architecture)
        warnings = self.service.warnings(request)
        return {**report(result, cascade, request.lone, warnings), "gate_mode": gating}


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
    source, (_, height, width, _), first = cascade.source, result.series.pixels.shape, result.predictions[0]
    of_slice = {
        **_gate_and_area(first),
        "head_percent": first.head_percent,
        "milliseconds": first.milliseconds,
    }
    return {
        "verdict": headline(result),
        "detail": detail(result, lone).replace("\u00a0", " "),
        "gate_threshold": result.thresholds.gate,
        "mask_threshold": result.thresholds.mask,
        "source": result.series.source,
        "height": height,
        "width": width,
        "flair_only": result.series.flair_only,
        "architecture": cascade.config.architecture,
        "weights": source.name if source else None,
        "weights_revision": source.revision if source else None,
        "weights_date": cascade.config.date,
        "parameters": cascade.config.parameters,
        "device": cascade.device.partition(":")[0],
        "engine": cascade.engine.name,
        "precision": cascade.engine.precision,
        "notice": "Research only, not a medical device.",
        **(of_slice if lone else _measured_series(result)),
        "warnings": list(warnings),
    }


def _measured_series(result: SeriesResult) -> dict[str, Any]:
    series = result.series
    return {
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

    def decision() -> list[Any]:
        """What decides beside the networks."""
        thresholds = [gr.Number(label=f"{name} threshold", minimum=0, maximum=1) for name in ("Mask", "Gate")]
        return [*thresholds, gr.Radio(list(get_args(Gating)), value="hard", label="Gate mode")]

    with gr.Row(visible=False):
        given = [gr.File(label="Slice"), architecture_choice(service, "api-"), *decision()]
        pictures = [gr.Image(label=name, format="png") for name in ("Overlay", "Mask")]
        offer(api.segment, given, [gr.JSON(label="Report"), *pictures], "model")
        offer(api.compare, [gr.File(label="Slice")], [gr.JSON(label="Reports")], "model")
        files = gr.File(label="Files", file_count="multiple")
        given = [files, architecture_choice(service, "api-"), gr.JSON(label="Sequences"), *decision()]
        made = [gr.JSON(label="Report"), gr.File(label="Archive"), gr.JSON(label="Statistics")]
        offer(api.segment_series, given, made, "series")
