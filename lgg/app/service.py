"""Runs the cascades on uploads, a lone slice being a series of one, and remembers what they said."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lgg.app.cache import Cache
from lgg.app.viewer import unpacked_mask
from lgg.cascade import BATCH, DEFAULT_ARCHITECTURE, Cascade
from lgg.errors import SeriesError, SliceError, WeightsError
from lgg.explain import flip_spread, grad_cam
from lgg.export import Provenance, provenance_of
from lgg.input_check import series_warnings
from lgg.io import AmbiguousSeriesError, read_mask, read_series, read_series_mask
from lgg.io.archive import MAX_FILES
from lgg.io.sequences import CHANNELS
from lgg.io.study import Contents, Recognised, look_through, read_study, recognise
from lgg.postprocess import Gating, confirmed, corrected, redecide
from lgg.preprocess import Prepared, StatisticsMode, prepare
from lgg.types import SEQUENCES, Prediction, RawOutput, Series, SeriesResult, Thresholds
from lgg.visualize import Layer

try:  # On Spaces only, and before anything touches CUDA.
    import spaces
except ImportError:
    spaces = None

#: Seconds that a call may take on ZeroGPU.
DURATION = 20
on_gpu: Callable[..., Any] = spaces.GPU(duration=DURATION) if spaces else lambda function: function
#: On a GPU that has to be asked for, a call costs more than the slices in it.
GPU_BATCH = 64
#: Bytes of uploads that are kept: six series of 100 slices.
UPLOADS_BUDGET = 512 * 2**20

Map = NDArray[np.float32]
#: Layers that run a network once more.
EXTRA: tuple[Layer, ...] = ("why", "unsure")
#: What a visitor may call a volume in an assignment.
ROLES = tuple(CHANNELS)


@dataclass(frozen=True)
class Correction:
    """A mask that a visitor drew by hand. It is small, so that it can be kept for each visitor.

    Attributes:
        packed: the masks of all slices, by `lgg.app.viewer.packed_mask`.
        mask, gate: the thresholds that had made the masks which were corrected.
    """

    packed: str
    mask: float
    gate: float


@dataclass(frozen=True)
class Request:
    """What a visitor wants examined. It holds little more than names: it is kept for each visitor.

    Attributes:
        paths: of the uploads, in Gradio's cache.
        architecture: of the segmenter.
        assignment: (candidate's key, `pre`, `flair` or `post`); empty where reading may guess.
        statistics: `slice` for a lone slice, by its own statistics and thresholds; `volume` for a series.
        truth: paths of a ground truth.
        correction: what the visitor drew in place of the masks. Like `truth` it is no part of what is
            examined, and so of what results are known by.
    """

    paths: tuple[str, ...]
    architecture: str | None
    assignment: tuple[tuple[str, str], ...] = ()
    statistics: StatisticsMode = "volume"
    truth: tuple[str, ...] = field(default=(), compare=False)
    correction: Correction | None = field(default=None, compare=False)

    @property
    def lone(self) -> bool:
        """Whether it is a slice by itself, not a series of one."""
        return self.statistics == "slice"

    @property
    def upload(self) -> tuple[Any, ...]:
        """What the upload is known by, whatever examines it."""
        return self.paths, self.assignment, self.statistics

    @property
    def study(self) -> str:
        """What names the upload without telling where it lies."""
        return hashlib.sha256(repr(self.upload).encode()).hexdigest()[:16]


def slice_request(path: str, architecture: str | None, truth: str | None = None) -> Request:
    """The request for a lone slice, with a ground truth or without."""
    return Request((path,), architecture, statistics="slice", truth=(truth,) if truth else ())


@dataclass(frozen=True)
class Progress:
    """How far an examination is; `result` is there at its end, and only then.

    Attributes:
        done, slices: examined, and in all; 0 in all while the series is being read.
        seconds: that the examined ones took.
    """

    done: int = 0
    slices: int = 0
    seconds: float = 0.0
    result: SeriesResult | None = None


class Service:
    """Reads, examines, decides and explains for both tabs and the API.

    It holds the models and, for a while, uploads and results; no names of visitors.
    """

    def __init__(self, cascades: dict[str, Cascade]) -> None:
        self.cascades = cascades
        # Apart, because a series takes ten times the room and can be read again within a second or two.
        self.uploads, self.results = Cache(UPLOADS_BUDGET), Cache()
        self._raw, self._explain = on_gpu(self._run_batch), on_gpu(self._look_inside)

    @property
    def preferred(self) -> str | None:
        """The architecture to begin with: the default where it has weights, else any that has."""
        default = DEFAULT_ARCHITECTURE
        return default if default in self.cascades else next(iter(self.cascades), None)

    def cascade(self, architecture: str | None) -> Cascade:
        """The cascade of an architecture.

        Raises:
            WeightsError: there is none.
        """
        cascade = self.cascades.get(architecture or "")
        if cascade is None:
            raise WeightsError("There are no weights to run. Train or download them, then restart.")
        return cascade

    def thresholds(self, architecture: str | None, statistics: StatisticsMode) -> Thresholds:
        """Those that came with the weights, for a lone slice or a series; the defaults without weights."""
        cascade = self.cascades.get(architecture or "")
        if cascade is None:
            return Thresholds()
        return cascade.thresholds if statistics == "slice" else cascade.series_thresholds

    def series(self, request: Request) -> Series:
        """What was uploaded; a lone slice as a series of one that bears the upload's name.

        Raises:
            AmbiguousSeriesError: nobody knows which volume is which sequence.
            SliceError: whatever else is wrong with the uploads.
        """

        def read() -> Series:
            if not request.paths:
                raise SeriesError("There is nothing to examine yet. Upload a series.")
            check_uploads(request.paths)
            if request.lone:
                return read_lone_slice(request.paths)
            try:
                return read_study(self._contents(request.paths), assignment=dict(request.assignment))
            except AmbiguousSeriesError as error:  # in words without the command line's options
                raise AmbiguousSeriesError(error.candidates, error.chosen) from None

        return self.uploads.recall(request.upload, read, lambda series: series.pixels.nbytes)

    def recognise(self, paths: Sequence[str]) -> Recognised:
        """What the volumes of an upload seem to be, by their headers alone.

        Raises:
            SliceError: as for `series`.
        """
        check_uploads(paths)
        return recognise(self._contents(tuple(paths)))

    def _contents(self, paths: tuple[str, ...]) -> Contents:
        # Remembered, so that archives are unpacked once: to recognise what is in them, and to read it.
        return self.uploads.recall(
            ("contents", paths), lambda: look_through(paths), lambda contents: contents.nbytes
        )

    def examine(self, request: Request) -> Iterator[Progress]:
        """Read and examine, telling how far it is; the last progress holds the result.

        Raises:
            WeightsError: there are no weights for the architecture.
            SliceError: as for `series`.
        """
        yield Progress()
        cascade = self.cascade(request.architecture)
        series = self.series(request)
        predictions: tuple[Prediction, ...] | None = self.results.get(request)
        if predictions is None:
            done: list[Prediction] = []
            yield Progress(0, len(series))
            began = 0.0
            # The segmenter always runs: then the gate's threshold can move without running a network again.
            for batch in cascade.predict_batches(
                series,
                always_segment=True,
                statistics=request.statistics,
                size=BATCH if cascade.device == "cpu" else GPU_BATCH,
                run=partial(self._raw, request.architecture),
            ):
                # Measuring the volume comes before the first batch and is not a slice's share of time.
                took = sum(sum(prediction.milliseconds.values()) for prediction in batch) / 1000
                began = began or time.monotonic() - took
                done += batch
                yield Progress(len(done), len(series), time.monotonic() - began)
            predictions = tuple(confirmed(done))
            arrays = ((made.mask, made.head, made.probability) for made in predictions)
            self.results.put(request, predictions, sum(array.nbytes for made in arrays for array in made))
        yield Progress(len(series), len(series), 0.0, SeriesResult(series, predictions))

    def result(self, request: Request) -> SeriesResult:
        """What the cascade says by its own thresholds; the segmenter always ran.

        Raises:
            WeightsError, SliceError: as for `examine`.
        """
        *_, last = self.examine(request)
        if last.result is None:
            raise AssertionError("the last progress holds the result")
        return last.result

    def decided(self, request: Request, mask: float, gate: float, gating: Gating = "hard") -> SeriesResult:
        """The result by other thresholds of mask and gate, and what the gate may veto; no network runs.

        Where the visitor corrected the masks, these, whatever the thresholds are.

        Remembered, because a visitor who moved a threshold goes on to look at slice after slice.

        Raises:
            WeightsError, SliceError: as for `examine`.
        """
        if (drawn := request.correction) is not None:
            result = self.decided(replace(request, correction=None), drawn.mask, drawn.gate, gating)
            return corrected(result, unpacked_mask(drawn.packed, result.series.pixels.shape[:3]))
        result = self.result(request)
        thresholds = replace(result.thresholds, mask=mask, gate=gate)
        if thresholds == result.thresholds and gating == "hard":
            return result
        # Without the series, which is remembered elsewhere; all but masks is shared with the first result.
        predictions = self.results.recall(
            (thresholds, gating, request),
            lambda: redecide(result, thresholds, gating).predictions,
            lambda made: sum(prediction.mask.nbytes for prediction in made),
        )
        return replace(result, predictions=predictions)

    def compare(self, request: Request) -> dict[str, SeriesResult]:
        """Architecture → what it says of the same upload, for every one that has weights."""
        return {name: self.result(replace(request, architecture=name)) for name in self.cascades}

    def warnings(self, request: Request) -> tuple[str, ...]:
        """Why the networks were not made for the upload, a sentence each."""

        def check() -> tuple[str, ...]:
            result = self.result(request)
            return series_warnings(result.series.slices(), [answer.head for answer in result.predictions])

        return self.results.recall(("warnings", request), check, len)

    def extra(self, request: Request, number: int, layer: Layer) -> Map | None:
        """The map that a layer needs beside the prediction of a slice, counted from 1; None for none.

        (H, W) float32, by the same statistics as everything else.

        Raises:
            WeightsError, SliceError: as for `examine`.
        """
        if layer not in EXTRA:
            return None

        def make() -> Map:
            prepared = self._prepared(request)[number - 1 : number]
            made: Map = self._explain(self.cascade(request.architecture).config.architecture, prepared, layer)
            return made

        return self.results.recall((layer, number, request), make, lambda made: made.nbytes)

    def truth(self, request: Request) -> NDArray[np.bool_] | None:
        """The ground truth that was uploaded beside, (N, H, W) bool; None for none.

        Raises:
            SliceError: it cannot be read, or is not of the upload's size.
        """
        if not request.truth:
            return None

        def read() -> NDArray[np.bool_]:
            check_uploads(request.truth)
            series = self.series(request)
            if request.lone:
                return read_lone_mask(request.truth[0], series)
            return read_series_mask(request.truth, series)

        key = ("truth", request.truth, request.upload)
        return self.results.recall(key, read, lambda made: made.nbytes)

    def provenance(self, request: Request, result: SeriesResult, gating: Gating = "hard") -> Provenance:
        """By what a result was made, with the thresholds that decided it."""
        made_by = provenance_of(self.cascade(request.architecture), gating, request.statistics)
        return replace(made_by, thresholds=result.thresholds)

    def _prepared(self, request: Request) -> Prepared:
        pixels = self.series(request).pixels

        def measure() -> tuple[NDArray[Any], ...]:  # the pixels are remembered already
            made = prepare(pixels, request.statistics)
            return made.heads, made.mean, made.std

        key = ("prepared", request.upload)
        return Prepared(pixels, *self.results.recall(key, measure, lambda made: made[0].nbytes))

    # By name: ZeroGPU sends arguments to another process, and the cascades are there already.
    def _run_batch(self, architecture: str, prepared: Prepared, floor: float) -> RawOutput:
        return self.cascades[architecture].raw(prepared, floor)

    def _look_inside(self, architecture: str, prepared: Prepared, layer: Layer) -> Map:
        cascade = self.cascades[architecture]
        return grad_cam(cascade, prepared)[0] if layer == "why" else flip_spread(cascade, prepared)[0]


def check_uploads(paths: Sequence[str]) -> None:
    """Refuse uploads that are too many, or were deleted meanwhile.

    Raises:
        SliceError: there are over `MAX_FILES` of them, or at least one is gone.
    """
    if len(paths) > MAX_FILES:
        raise SliceError(f"There are {len(paths)} files, and at most {MAX_FILES} can be read. Upload fewer.")
    if not all(Path(path).is_file() for path in paths):
        raise SliceError("Uploads are deleted after a while, and this one is gone. Upload it once more.")


def read_lone_slice(uploads: Sequence[Any]) -> Series:
    """One slice as a series of one: whatever `read_series` reads, if it holds no more than that.

    Raises:
        SliceError: it cannot be read, or it holds more than one slice.
    """
    advice = "Open it under “Whole series”"
    try:
        series = read_series(uploads)
    except AmbiguousSeriesError:
        raise SliceError(f"This file holds several volumes. {advice}.") from None
    if len(series) > 1:
        raise SliceError(f"{series.source} holds {len(series)} slices. {advice}, or upload one of them.")
    return replace(series, names=(series.source,))  # within a series it would be called `page 1`


def read_lone_mask(path: str, series: Series) -> NDArray[np.bool_]:
    """A ground truth of a lone slice, (1, H, W) bool, from a mask that was drawn on the file as it lies.

    Raises:
        SliceError: the file is no mask, or not of the slice's size.
    """
    mask, grid = read_mask(path)[None], series.grid
    if mask.shape != grid.shape:
        (height, width), (rows, columns) = grid.shape[1:], mask.shape[1:]
        raise SliceError(
            f"The mask is {columns} × {rows} pixels and the slice {width} × {height}. Upload the mask "
            "that was drawn on this slice."
        )
    turned: NDArray[np.bool_] = grid.to_axial(mask)
    return turned


def assigned(chosen: Sequence[str | None]) -> tuple[tuple[str, str], ...]:
    """The assignment that a visitor chose.

    Args:
        chosen: keys of the candidates for `ROLES`, in that order; empty for a missing sequence, None for one
            that is still to be chosen.

    Raises:
        SeriesError: FLAIR is missing, another is still to be chosen, or one volume is chosen twice.
    """
    pairs = [(key, role) for key, role in zip(chosen, ROLES, strict=True) if key]
    if "flair" not in [role for _, role in pairs]:
        raise SeriesError("Choose the volume that is FLAIR. The T1 sequences may be missing, FLAIR may not.")
    if None in chosen:
        sequence = SEQUENCES[list(chosen).index(None)]
        raise SeriesError(f"Several volumes may be the {sequence}. Choose one of them, or none.")
    if len(dict(pairs)) < len(pairs):
        raise SeriesError("One volume is chosen for two sequences. Choose another for each, or none.")
    return tuple(pairs)
