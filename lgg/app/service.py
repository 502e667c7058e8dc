"""What may be missing when a visitor asks for something: the weights, or an upload that was deleted."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lgg.app.cache import Cache
from lgg.cascade import BATCH, DEFAULT_ARCHITECTURE, Cascade
from lgg.errors import SeriesError, SliceError, WeightsError
from lgg.explain import flip_spread, grad_cam
from lgg.input_check import input_warnings
from lgg.io import AmbiguousSeriesError, read_mask, read_series, read_series_mask
from lgg.postprocess import confirmed, redecide
from lgg.preprocess import Prepared, prepare
from lgg.types import Prediction, RawOutput, Series, SeriesResult, Slice, Thresholds
from lgg.visualize import Layer


def cascade_of(cascades: Mapping[str, Cascade], architecture: str | None) -> Cascade:
    """The cascade of an architecture.

    Raises:
        WeightsError: there is none.
    """
    cascade = cascades.get(architecture or "")
    if cascade is None:
        raise WeightsError("There are no weights to run. Train or download them, then restart.")
    return cascade


def own_thresholds(
    cascades: Mapping[str, Cascade], architecture: str | None, series: bool = False
) -> tuple[float, float]:
    """Of the mask and of the gate, as they came with the weights; the defaults where there are none.

    Args:
        series: those for a series instead of a lone slice.
    """
    cascade = cascades.get(architecture or "")
    own = (cascade.series_thresholds if series else cascade.thresholds) if cascade else Thresholds()
    return own.mask, own.gate


def check_still_there(paths: Iterable[str]) -> None:
    """Refuse uploads that were deleted meanwhile.

    Raises:
        SliceError: at least one is gone.
    """
    if not all(Path(path).is_file() for path in paths):
        raise SliceError("Uploads are deleted after a while, and this one is gone. Upload it once more.")


class Stops:
    """Who has something running, and whether it is still wanted. What has ended is forgotten.

    Not Gradio's `cancels`: what was cancelled may still send an answer that it had ready, and in Gradio 6.31
    that sometimes came after, and so in place of, the answer of the button that cancelled it.
    """

    def __init__(self) -> None:
        self._running: dict[str, Event] = {}

    @contextmanager
    def running(self, visitor: str) -> Iterator[Callable[[], bool]]:
        """While the visitor's work runs: whether it is to stop."""
        event = self._running[visitor] = Event()
        try:
            yield event.is_set
        finally:
            if self._running.get(visitor) is event:
                del self._running[visitor]

    def ask(self, visitor: str) -> None:
        """Have the visitor's work stop at its next step; nothing where nothing runs."""
        if event := self._running.get(visitor):
            event.set()


Map = NDArray[np.float32]
#: Layers that run a network once more.
EXTRA: tuple[Layer, ...] = ("why", "unsure")


def extra_map(cascade: Cascade, prepared: Prepared, layer: Layer) -> Map:
    """The map of one slice for a layer of `EXTRA`, (H, W) float32."""
    if layer == "why":
        return grad_cam(cascade, prepared)[0]
    return flip_spread(cascade, prepared).std[0]


try:  # On Spaces only, and before anything touches CUDA.
    import spaces
except ImportError:
    spaces = None

#: Seconds that a call may take there.
DURATION = 20

on_gpu: Callable[..., Any] = spaces.GPU(duration=DURATION) if spaces else lambda function: function


@dataclass(frozen=True)
class Examined:
    """A slice and what a cascade says of it, by the cascade's own thresholds; the segmenter always ran.

    `series` is the same slice as it was read, with the way back to its source's own grid; `warnings` say why
    the networks were not made for it.
    """

    series: Series
    one: Slice
    prediction: Prediction
    cascade: Cascade
    warnings: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What it weighs in memory."""
        maps = (self.prediction.probability, self.prediction.mask, self.prediction.head)
        return self.series.pixels.nbytes + sum(one.nbytes for one in maps)


class Desk:
    """Runs cascades on files. It holds the models, and for a while what they said."""

    def __init__(self, cascades: dict[str, Cascade]) -> None:
        self.cascades = cascades
        self.memory = Cache()
        self._predict, self._explain = on_gpu(self._run), on_gpu(self._look_inside)

    @property
    def preferred(self) -> str | None:
        """The architecture to begin with: the default where it has weights, else any that has."""
        default = DEFAULT_ARCHITECTURE
        return default if default in self.cascades else next(iter(self.cascades), None)

    def examine(self, path: str, architecture: str | None) -> Examined:
        """Read a file and run a cascade on it, or remember what it said.

        Raises:
            SliceError, WeightsError: the file, or the architecture, cannot be used.
        """
        check_still_there([path])
        return self.memory.recall(
            ("slice", path, architecture), lambda: self._examine(path, architecture), lambda made: made.bytes
        )

    def extra(self, path: str, architecture: str, layer: Layer) -> Map | None:
        """The map that a layer needs beside the prediction, (H, W) float32; None where it needs none."""
        if layer not in EXTRA:
            return None
        found: Map = self.memory.recall(
            (layer, path, architecture),
            lambda: self._explain(
                prepare(self.examine(path, architecture).one.pixels[None], "slice"), architecture, layer
            ),
            lambda made: made.nbytes,
        )
        return found

    def truth(self, path: str | None, examined: Examined) -> NDArray[np.bool_] | None:
        """A ground truth of an examined slice, (H, W) bool; None for none.

        Raises:
            SliceError: the file is no mask, or not of the slice's size.
        """
        if path is None:
            return None
        check_still_there([path])
        read = self.memory.recall(("truth", path), lambda: read_mask(path), lambda made: made.nbytes)
        mask, grid = read[None], examined.series.grid
        if mask.shape != grid.shape:
            (height, width), (rows, columns) = grid.shape[1:], mask.shape[1:]
            raise SliceError(
                f"The mask is {columns} × {rows} pixels and the slice {width} × {height}. Upload the mask "
                "that was drawn on this slice."
            )
        turned: NDArray[np.bool_] = grid.to_axial(mask)[0]  # it was drawn on the file as it lies
        return turned

    def compare(self, path: str) -> list[Examined]:
        """What every architecture that has weights says of a slice."""
        return [self.examine(path, name) for name in self.cascades]

    def _examine(self, path: str, architecture: str | None) -> Examined:
        series = read_one([path])
        cascade = cascade_of(self.cascades, architecture)
        # By the upload's own name: within a series it would be called `page 1`.
        one = replace(series.slices()[0], source=series.source)
        prediction = self._predict(one, architecture)
        warnings = input_warnings(one, prediction.head)
        return Examined(series, one, prediction, cascade, warnings)

    def _run(self, one: Slice, architecture: str) -> Prediction:
        # By name: ZeroGPU sends arguments to another process, and the cascade is there already.
        return self.cascades[architecture].predict(one, always_segment=True)

    def _look_inside(self, prepared: Prepared, architecture: str, layer: Layer) -> Map:
        return extra_map(self.cascades[architecture], prepared, layer)


def read_one(uploads: Sequence[Any]) -> Series:
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
    return series


#: On a GPU that has to be asked for, a call costs more than the slices in it.
GPU_BATCH = 64
#: Bytes of series that are kept: six of 100 slices.
SERIES_BUDGET = 512 * 2**20
#: What a visitor may call a volume in an assignment.
ROLES = ("pre", "flair", "post")


@dataclass(frozen=True)
class Request:
    """What a visitor wants examined. It holds no more than names, so that it can be kept for each visitor.

    Attributes:
        paths: of the uploads.
        architecture: of the segmenter.
        assignment: (candidate's key, `pre`, `flair` or `post`); empty where reading may guess.
        truth: paths of a ground truth; no part of what is examined, and so of what orders are known by.
    """

    paths: tuple[str, ...]
    architecture: str
    assignment: tuple[tuple[str, str], ...] = ()
    truth: tuple[str, ...] = field(default=(), compare=False)


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


class SeriesDesk:
    """Where series are examined. It holds the models and, for a while, results; no names of visitors."""

    def __init__(self, cascades: dict[str, Cascade]) -> None:
        self.cascades = cascades
        # Apart, because a series takes ten times the room and can be read again within a second or two.
        self._series, self._found = Cache(SERIES_BUDGET), Cache()
        self._batch, self._explain = on_gpu(self._run), on_gpu(self._look_inside)

    def series(self, order: Request) -> Series:
        """The series that was uploaded.

        Raises:
            AmbiguousSeriesError: nobody knows which volume is which sequence.
            SliceError: whatever else is wrong with the uploads.
        """

        def read() -> Series:
            if not order.paths:
                raise SeriesError("There is nothing to examine yet. Upload a series.")
            check_still_there(order.paths)
            return read_series(order.paths, assignment=dict(order.assignment) or None)

        return self._series.recall((order.paths, order.assignment), read, lambda one: one.pixels.nbytes)

    def examine(self, order: Request) -> Iterator[Progress]:
        """Read and examine, telling how far it is; the last progress holds the result.

        Raises:
            WeightsError: there are no weights for the architecture.
            SliceError: as for `series`.
        """
        yield Progress()
        cascade = self.cascade(order)
        series = self.series(order)
        predictions: tuple[Prediction, ...] | None = self._found.get(order)
        if predictions is None:
            found: list[Prediction] = []
            yield Progress(0, len(series))
            began = 0.0
            for batch in self._batches(cascade, series, order):
                # Measuring the volume comes before the first batch and is not a slice's share of time.
                began = began or time.monotonic() - sum(map(_seconds, batch))
                found += batch
                yield Progress(len(found), len(series), time.monotonic() - began)
            predictions = tuple(confirmed(found))
            self._found.put(order, predictions, _weigh(predictions))
        yield Progress(len(series), len(series), 0.0, SeriesResult(series, predictions))

    def result(self, order: Request) -> SeriesResult:
        """What was found, from memory, or else examined once more.

        Raises:
            WeightsError, SliceError: as for `examine`.
        """
        for progress in self.examine(order):
            if progress.result is not None:
                return progress.result
        raise AssertionError("the last progress holds the result")

    def decided(self, order: Request, thresholds: Callable[[Thresholds], Thresholds]) -> SeriesResult:
        """The result by other thresholds; no network runs.

        Remembered, because a visitor who moved a threshold goes on to look at slice after slice.

        Args:
            thresholds: from the model's own to those wanted.

        Raises:
            WeightsError, SliceError: as for `examine`.
        """
        result = self.result(order)
        wanted = thresholds(result.thresholds)
        if wanted == result.thresholds:
            return result
        # Without the series, which is remembered elsewhere; all but masks is shared with the first result.
        predictions = self._found.recall(
            (wanted, order),
            lambda: redecide(result, wanted).predictions,
            lambda made: sum(one.mask.nbytes for one in made),
        )
        return replace(result, predictions=predictions)

    def extra(self, order: Request, number: int, layer: Layer) -> Map | None:
        """The map that a layer needs beside the prediction of a slice, counted from 1; None for none.

        (H, W) float32, by the volume's statistics as everything else.

        Raises:
            WeightsError, SliceError: as for `examine`.
        """
        if layer not in EXTRA:
            return None

        def make() -> Map:
            prepared = self._prepared(order)[number - 1 : number]
            found: Map = self._explain(prepared, self.cascade(order).config.architecture, layer)
            return found

        return self._found.recall((layer, number, order), make, lambda one: one.nbytes)

    def truth(self, order: Request) -> NDArray[np.bool_] | None:
        """The ground truth that was uploaded for the series, (N, H, W) bool; None for none.

        Raises:
            SliceError: it cannot be read, or is not of the series' size.
        """
        if not order.truth:
            return None

        def read() -> NDArray[np.bool_]:
            check_still_there(order.truth)
            return read_series_mask(order.truth, self.series(order))

        key = ("truth", order.truth, order.paths, order.assignment)
        return self._found.recall(key, read, lambda made: made.nbytes)

    def cascade(self, order: Request) -> Cascade:
        """The cascade of an architecture.

        Raises:
            WeightsError: there is none.
        """
        return cascade_of(self.cascades, order.architecture)

    def _prepared(self, order: Request) -> Prepared:
        key = ("prepared", order.paths, order.assignment)
        return self._found.recall(
            key, lambda: prepare(self.series(order).pixels, "volume"), lambda made: made.heads.nbytes
        )

    def _batches(self, cascade: Cascade, series: Series, order: Request) -> Iterator[list[Prediction]]:
        # Always, as for one slice: then the gate's threshold can move without running a network again.
        return cascade.predict_batches(
            series,
            always_segment=True,
            size=BATCH if cascade.device.type == "cpu" else GPU_BATCH,
            run=partial(self._batch, order.architecture),
        )

    def _run(self, architecture: str, prepared: Prepared, floor: float) -> RawOutput:
        # By name: ZeroGPU sends arguments to another process, and the cascade is there already.
        return self.cascades[architecture].raw(prepared, floor)

    def _look_inside(self, prepared: Prepared, architecture: str, layer: Layer) -> Map:
        return extra_map(self.cascades[architecture], prepared, layer)


def assigned(chosen: Sequence[str | None]) -> tuple[tuple[str, str], ...]:
    """The assignment that a visitor chose.

    Args:
        chosen: keys of the candidates for `ROLES`, in that order; None or empty for a missing sequence.

    Raises:
        SeriesError: FLAIR is missing, or one volume is chosen twice.
    """
    pairs = [(key, role) for key, role in zip(chosen, ROLES, strict=True) if key]
    if "flair" not in [role for _, role in pairs]:
        raise SeriesError("Choose the volume that is FLAIR. The T1 sequences may be missing, FLAIR may not.")
    if len(dict(pairs)) < len(pairs):
        raise SeriesError("One volume is chosen for two sequences. Choose another for each, or none.")
    return tuple(pairs)


def _seconds(one: Prediction) -> float:
    return sum(one.milliseconds.values()) / 1000


def _weigh(predictions: Sequence[Prediction]) -> int:
    """Bytes."""
    return sum(one.mask.nbytes + one.head.nbytes + one.probability.nbytes for one in predictions)
