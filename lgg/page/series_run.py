"""Reads and examines whole series for the page, batch after batch, and remembers what was found."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lgg.cascade import BATCH, Cascade
from lgg.errors import SeriesError
from lgg.page.extra import EXTRA, Map, extra_map
from lgg.page.lookup import cascade_of, check_still_there
from lgg.page.memory import Memory
from lgg.page.zero import on_gpu
from lgg.prediction import Maps, Prediction, confirmed
from lgg.preprocess import Statistics, measure
from lgg.series import Series, read_series, read_truth
from lgg.view import Layer
from lgg.volume import SeriesResult
from lgg.weights import Thresholds

#: On a GPU that has to be asked for, a call costs more than the slices in it.
GPU_BATCH = 64
#: Bytes of series that are kept: six of 100 slices.
SERIES_BUDGET = 512 * 2**20
#: What a visitor may call a volume in an assignment.
ROLES = ("pre", "flair", "post")


@dataclass(frozen=True)
class Order:
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
        self._series, self._found = Memory(SERIES_BUDGET), Memory()
        self._batch, self._explain = on_gpu(self._run), on_gpu(self._look_inside)

    def series(self, order: Order) -> Series:
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

    def examine(self, order: Order) -> Iterator[Progress]:
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

    def result(self, order: Order) -> SeriesResult:
        """What was found, from memory, or else examined once more.

        Raises:
            WeightsError, SliceError: as for `examine`.
        """
        for progress in self.examine(order):
            if progress.result is not None:
                return progress.result
        raise AssertionError("the last progress holds the result")

    def decided(self, order: Order, thresholds: Callable[[Thresholds], Thresholds]) -> SeriesResult:
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
            lambda: result.decided(wanted).predictions,
            lambda made: sum(one.mask.nbytes for one in made),
        )
        return replace(result, predictions=predictions)

    def extra(self, order: Order, number: int, layer: Layer) -> Map | None:
        """The map that a layer needs beside the prediction of a slice, counted from 1; None for none.

        (H, W) float32, by the volume's statistics as everything else.

        Raises:
            WeightsError, SliceError: as for `examine`.
        """
        if layer not in EXTRA:
            return None

        def make() -> Map:
            part = slice(number - 1, number)
            found: Map = self._explain(
                self.cascade(order).config.architecture,
                self.series(order).pixels[part],
                layer,
                self._statistics(order)[part],
            )
            return found

        return self._found.recall((layer, number, order), make, lambda one: one.nbytes)

    def truth(self, order: Order) -> NDArray[np.bool_] | None:
        """The ground truth that was uploaded for the series, (N, H, W) bool; None for none.

        Raises:
            SliceError: it cannot be read, or is not of the series' size.
        """
        if not order.truth:
            return None

        def read() -> NDArray[np.bool_]:
            check_still_there(order.truth)
            return read_truth(order.truth, self.series(order))

        key = ("truth", order.truth, order.paths, order.assignment)
        return self._found.recall(key, read, lambda made: made.nbytes)

    def cascade(self, order: Order) -> Cascade:
        """The cascade of an architecture.

        Raises:
            WeightsError: there is none.
        """
        return cascade_of(self.cascades, order.architecture)

    def _statistics(self, order: Order) -> list[Statistics]:
        key = ("statistics", order.paths, order.assignment)
        return self._found.recall(key, lambda: measure(self.series(order).pixels, "volume")[1], len)

    def _batches(self, cascade: Cascade, series: Series, order: Order) -> Iterator[list[Prediction]]:
        # Always, as for one slice: then the gate's threshold can move without running a network again.
        return cascade.predict_batches(
            series.slices(),
            always_segment=True,
            size=BATCH if cascade.device.type == "cpu" else GPU_BATCH,
            run=partial(self._batch, order.architecture),
        )

    def _run(
        self,
        architecture: str,
        pixels: NDArray[np.float32],
        heads: NDArray[np.bool_],
        found: Sequence[Statistics],
        floor: float,
    ) -> Maps:
        # By name: ZeroGPU sends arguments to another process, and the cascade is there already.
        return self.cascades[architecture].batch(pixels, heads, found, floor)

    def _look_inside(
        self, architecture: str, pixels: NDArray[np.float32], layer: Layer, found: Sequence[Statistics]
    ) -> Map:
        return extra_map(self.cascades[architecture], pixels, layer, found)


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
