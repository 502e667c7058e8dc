"""The predictor: slices in, gate probabilities and tumour masks out, numpy on both sides."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from lgg.engine import BATCH, Engine, best_device, choose_engine, make_engine
from lgg.errors import SliceError, WeightsError
from lgg.models import GATE, SEGMENTERS
from lgg.postprocess import Gating, confirmed, decide, gate_floor
from lgg.preprocess import Prepared, StatisticsMode, prepare, undo
from lgg.types import Prediction, RawOutput, Series, SeriesResult, Slice
from lgg.weights import ModelConfig, defer_model, load_model
from lgg.weights.hub import Source, find_address, obtain

if TYPE_CHECKING:
    import torch

    from lgg.engine import Network

DEFAULT_ARCHITECTURE = "unet-lite0"
#: Runs both networks on some slices, as `Cascade.raw` does.
RunBatch = Callable[[Prepared, float], RawOutput]


class Cascade:
    """A gate and a segmenter with their weights on one device. Safe to share between threads.

    >>> cascade = Cascade.from_pretrained(architecture="unet-mini")
    >>> prediction = cascade.predict(read_slice("slice.tif"))
    """

    def __init__(
        self,
        gate: tuple["Network", ModelConfig],
        segmenter: tuple["Network", ModelConfig],
        device: "torch.device | str | None" = None,
        source: Source | None = None,
        engine: str | None = None,
        gate_engine: Engine | None = None,
    ) -> None:
        """Two networks with their configs; the device is chosen here, not at import.

        Args:
            engine: what runs them, as for `lgg.engine.choose_engine`.
            gate_engine: what runs the gate where several cascades share it.
        """
        #: Where the weights came from; None for networks that were handed over.
        self.source = source
        self.device = best_device() if device is None else str(device)
        self.gate_config, self.config = gate[1], segmenter[1]
        self.gate_engine = gate_engine or make_engine(*gate, self.device, engine)
        self.engine = make_engine(*segmenter, self.device, engine)
        #: All come with the segmenter: they were chosen for this gate before this segmenter.
        self.thresholds = self.config.thresholds
        self.series_thresholds = self.config.series_thresholds or self.thresholds

    @classmethod
    def from_pretrained(
        cls,
        weights: Path | str | None = None,
        architecture: str = DEFAULT_ARCHITECTURE,
        device: "torch.device | str | None" = None,
        *,
        engine: str | None = None,
        revision: str | None = None,
    ) -> "Cascade":
        """Load gate and segmenter.

        Args:
            weights: a folder of weights, or `user/name` on the Hub; by default `$LGG_WEIGHTS`, else the
                weights in this repository.
            architecture: which segmenter.
            device: where to run; by default the best there is.
            engine: `torch` or `openvino`; by default `$LGG_ENGINE`, else OpenVINO on CPUs that have it.
            revision: commit, tag or branch of a repository on the Hub; by default the pinned commit.

        Raises:
            WeightsError: `architecture` is no segmenter, or weights are missing, damaged, foreign or cannot
                be downloaded.
        """
        if architecture not in SEGMENTERS:
            raise WeightsError(f"'{architecture}' is no segmenter; choose one of {', '.join(SEGMENTERS)}.")
        source = obtain(find_address(weights, revision), (GATE, architecture))
        device = best_device() if device is None else str(device)
        # OpenVINO needs the network itself only where its graph is not in the cache.
        read = defer_model if choose_engine(device, engine) == "openvino" else load_model
        models: list[tuple[Network, ModelConfig]] = []
        for name in (GATE, architecture):
            model, config = read(source.folder / name)
            if config.architecture != name:
                raise WeightsError(f"The folder '{name}' holds weights for {config.architecture}.")
            models.append((model, config))
        cascade = cls(models[0], models[1], device, source, engine)
        # What is wrong with weights is said here, not at the first prediction.
        for network in (cascade.gate_engine, cascade.engine):
            network.load()
        return cascade

    @overload
    def predict(self, x: Slice, gating: Gating = "hard", always_segment: bool = False) -> Prediction: ...

    @overload
    def predict(
        self, x: Series | NDArray[np.float32], gating: Gating = "hard", always_segment: bool = False
    ) -> SeriesResult: ...

    def predict(
        self, x: Slice | Series | NDArray[np.float32], gating: Gating = "hard", always_segment: bool = False
    ) -> Prediction | SeriesResult:
        """Examine a lone slice, or the slices of one patient.

        A slice is examined by its own statistics and the thresholds of lone slices. A series, by the volume's
        statistics and thresholds of its own, without components that no neighbouring slice confirms.

        Args:
            x: a slice, a series, or the (N, H, W, 3) float32 pixels of one patient's slices in their order.
            gating: what the gate may veto, see `lgg.postprocess`.
            always_segment: run the segmenter even if the gate vetoes, so that `probability` is there; the
                mask is empty all the same.

        Raises:
            SliceError: the series has no slice.
        """
        if isinstance(x, Slice):
            (batch,) = self.predict_batches(Series.from_slice(x), gating, always_segment, "slice")
            return batch[0]
        series = x if isinstance(x, Series) else Series.from_pixels(x)
        batches = self.predict_batches(series, gating, always_segment)
        return SeriesResult(
            series, tuple(confirmed([prediction for batch in batches for prediction in batch]))
        )

    def predict_batches(
        self,
        series: Series,
        gating: Gating = "hard",
        always_segment: bool = False,
        statistics: StatisticsMode = "volume",
        *,
        size: int = BATCH,
        run: RunBatch | None = None,
    ) -> Iterator[list[Prediction]]:
        """As `predict` of a series, batch after batch, so that progress can be shown, or the rest be left.

        The statistics are measured once, over the whole volume, before the first batch. What neighbouring
        slices confirm is known once all are there: `lgg.postprocess.confirmed`.

        Args:
            statistics: `slice` for a series of one that is a lone slice, see `predict`.
            size: slices of a batch.
            run: what runs a batch, `raw` of this cascade unless another process has to.

        Raises:
            SliceError: there are no slices; at the first batch.
        """
        if not len(series):
            raise SliceError("The series is empty. Upload at least one slice.")
        clock = time.perf_counter()
        prepared = prepare(series.pixels, statistics)
        thresholds = self.thresholds if statistics == "slice" else self.series_thresholds
        milliseconds = 1000 * (time.perf_counter() - clock) / len(series)
        floor = 0.0 if always_segment else gate_floor(thresholds, gating)
        for start in range(0, len(series), size):
            output = (run or self.raw)(prepared[start : start + size], floor)
            output.milliseconds["preprocess"] += milliseconds * len(output.gate)
            share = {stage: value / len(output.gate) for stage, value in output.milliseconds.items()}
            yield [
                Prediction(
                    gate_probability=float(gate),
                    passed=float(gate) >= gate_floor(thresholds, gating),
                    probability=probability,
                    mask=decide(float(gate), probability, thresholds, gating),
                    head=head,
                    thresholds=thresholds,
                    milliseconds=share,
                    spacing=series.spacing,
                )
                for gate, probability, head in zip(output.gate, output.probability, output.heads, strict=True)
            ]

    def raw(self, prepared: Prepared, floor: float = 0.0) -> RawOutput:
        """Run the networks on slices, maybe a part of a larger volume.

        Args:
            prepared: the slices, with their own statistics or their volume's.
            floor: the segmenter is skipped where the gate's probability is below it.
        """
        clock = time.perf_counter()
        gate_input = prepared.network_input(self.gate_config.input_size)
        ready = time.perf_counter()
        gate = expit(self.gate_engine(gate_input)[:, 0] / self.gate_config.temperature)
        gated = time.perf_counter()
        segmented = gate >= floor
        slices, height, width, _ = prepared.pixels.shape
        probability = np.zeros((slices, height, width), np.float32)
        loaded = gated
        if segmented.any():
            self.engine.load()
            loaded = time.perf_counter()  # reading is not the network's time
            size = self.config.input_size
            inputs = prepared[segmented].network_input(size)
            probability[segmented] = undo(expit(self.engine(inputs)[:, 0]), height, width)
        seconds = {
            "preprocess": ready - clock,
            "gate": gated - ready,
            "segment": time.perf_counter() - loaded,
        }
        milliseconds = {stage: 1000 * value for stage, value in seconds.items()}
        return RawOutput(gate, probability, segmented, prepared.heads, milliseconds)
