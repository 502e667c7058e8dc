"""The predictor: slices in, gate probabilities and tumour masks out, numpy on both sides."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lgg.errors import SliceError, WeightsError
from lgg.models import GATE, SEGMENTERS
from lgg.postprocess import Gating, confirmed, decide, gate_floor
from lgg.preprocess import PadGeometry, Statistics, StatisticsMode, head_and_stats, network_input, undo
from lgg.types import Prediction, RawOutput, Slice, Thresholds
from lgg.weights import DeferredModel, ModelConfig, load_model
from lgg.weights.hub import Source, find_address, obtain

DEFAULT_ARCHITECTURE = "unet-lite0"
#: Slices that go through a network at once.
BATCH = 8
#: Runs both networks on some slices, as `Cascade.batch` does: pixels, heads, statistics, floor → answers.
RunBatch = Callable[[NDArray[np.float32], NDArray[np.bool_], Sequence[Statistics], float], RawOutput]


class Cascade:
    """A gate and a segmenter with their weights on one device. Safe to share between threads.

    >>> cascade = Cascade.from_pretrained(architecture="unet-mini")
    >>> prediction = cascade.predict(read_slice("slice.tif"))
    """

    def __init__(
        self,
        gate: tuple[nn.Module, ModelConfig],
        segmenter: tuple[nn.Module, ModelConfig],
        device: torch.device | str | None = None,
        source: Source | None = None,
    ) -> None:
        """Two networks in evaluation mode with their configs; the device is chosen here, not at import."""
        #: Where the weights came from; None for networks that were handed over.
        self.source = source
        self.device = torch.device(device) if device is not None else best_device()
        self.gate_config, self.config = gate[1], segmenter[1]
        self._gate, self._segmenter = gate[0].to(self.device).eval(), segmenter[0].to(self.device).eval()
        #: All come with the segmenter: they were chosen for this gate before this segmenter.
        self.thresholds = self.config.thresholds
        self.series_thresholds = self.config.series_thresholds or self.thresholds

    @property
    def gate(self) -> nn.Module:
        """The gate's network, in evaluation mode, for those who look inside it."""
        return self._gate

    @classmethod
    def from_pretrained(
        cls,
        weights: Path | str | None = None,
        architecture: str = DEFAULT_ARCHITECTURE,
        device: torch.device | str | None = None,
        *,
        revision: str | None = None,
    ) -> "Cascade":
        """Load gate and segmenter.

        Args:
            weights: a folder of weights, or `user/name` on the Hub; by default `$LGG_WEIGHTS`, else the
                weights in this repository.
            architecture: which segmenter.
            device: where to run; by default the best there is.
            revision: commit, tag or branch of a repository on the Hub; by default the pinned commit.

        Raises:
            WeightsError: `architecture` is no segmenter, or weights are missing, damaged, foreign or cannot
                be downloaded.
        """
        if architecture not in SEGMENTERS:
            raise WeightsError(f"'{architecture}' is no segmenter; choose one of {', '.join(SEGMENTERS)}.")
        source = obtain(find_address(weights, revision), (GATE, architecture))
        models = []
        for name in (GATE, architecture):
            model, config = load_model(source.folder / name)
            if config.architecture != name:
                raise WeightsError(f"The folder '{name}' holds weights for {config.architecture}.")
            models.append((model, config))
        return cls(models[0], models[1], device, source)

    def predict(self, one: Slice, gating: Gating = "hard", always_segment: bool = False) -> Prediction:
        """Examine a lone slice, by its own statistics.

        Args:
            one: the slice.
            gating: what the gate may veto, see `lgg.postprocess`.
            always_segment: run the segmenter even if the gate vetoes, so that `probability` is there; the
                mask is empty all the same.
        """
        floor = 0.0 if always_segment else gate_floor(self.thresholds, gating)
        maps = self.maps(one.pixels[None], "slice", floor)
        return self._predictions(maps, [one], self.thresholds, gating)[0]

    def predict_series(
        self, slices: Sequence[Slice], gating: Gating = "hard", always_segment: bool = False
    ) -> list[Prediction]:
        """Examine the slices of one patient, in their order, by the volume's statistics.

        Their own thresholds decide, and components that no neighbouring slice confirms are left out.

        Raises:
            SliceError: there are none, or their sizes differ.
        """
        batches = self.predict_batches(slices, gating, always_segment)
        return confirmed([prediction for batch in batches for prediction in batch])

    def predict_batches(
        self,
        slices: Sequence[Slice],
        gating: Gating = "hard",
        always_segment: bool = False,
        *,
        size: int = BATCH,
        run: RunBatch | None = None,
    ) -> Iterator[list[Prediction]]:
        """As `predict_series`, batch after batch, so that progress can be shown, or the rest be left.

        The statistics are measured once, over the whole volume, before the first batch. What neighbouring
        slices confirm is known once all are there: `lgg.types.confirmed`.

        Args:
            size: slices of a batch.
            run: what runs a batch, `batch` of this cascade unless another process has to.

        Raises:
            SliceError: there are no slices, or their sizes differ; at the first batch.
        """
        if not slices:
            raise SliceError("The series is empty. Upload at least one slice.")
        if len({one.size for one in slices}) > 1:
            raise SliceError("The slices differ in size, so they are not one series. Upload them one by one.")
        clock = time.perf_counter()
        pixels = np.stack([one.pixels for one in slices])
        heads, found = head_and_stats(pixels, "volume")
        measured = 1000 * (time.perf_counter() - clock) / len(slices)
        floor = 0.0 if always_segment else gate_floor(self.series_thresholds, gating)
        for start in range(0, len(slices), size):
            part = slice(start, start + size)
            maps = (run or self.batch)(pixels[part], heads[part], found[part], floor)
            maps.milliseconds["preprocess"] += measured * len(maps.gate)
            yield self._predictions(maps, slices[part], self.series_thresholds, gating)

    def maps(self, pixels: NDArray[np.float32], mode: StatisticsMode, floor: float = 0.0) -> RawOutput:
        """Run the networks.

        Args:
            pixels: (N, H, W, 3) float32.
            mode: statistics of each slice, or of the volume.
            floor: the segmenter is skipped where the gate's probability is below it.
        """
        clock = time.perf_counter()
        heads, found = head_and_stats(pixels, mode)
        measured = 1000 * (time.perf_counter() - clock)
        maps = self.batch(pixels, heads, found, floor)
        maps.milliseconds["preprocess"] += measured
        return maps

    def batch(
        self,
        pixels: NDArray[np.float32],
        heads: NDArray[np.bool_],
        found: Sequence[Statistics],
        floor: float = 0.0,
    ) -> RawOutput:
        """Run the networks on slices that were measured before, maybe as part of a larger volume.

        Args:
            pixels: (N, H, W, 3) float32.
            heads, found: the N heads and statistics that `lgg.preprocess.head_and_stats` gave.
            floor: as for `maps`.
        """
        clock = time.perf_counter()
        gate_input = network_input(pixels, list(found), self.gate_config.input_size)
        prepared = time.perf_counter()
        gate = self._run(self._gate, gate_input, self.gate_config.temperature)[:, 0].numpy()
        gated = time.perf_counter()
        segmented = gate >= floor
        probability = np.zeros(pixels.shape[:3], np.float32)
        ready = gated
        if segmented.any():
            if isinstance(self._segmenter, DeferredModel):
                self._segmenter.read(self.device)
                ready = time.perf_counter()  # reading is not the network's time
            chosen = [one for one, wanted in zip(found, segmented, strict=True) if wanted]
            inputs = network_input(pixels[segmented], chosen, self.config.input_size)
            outputs = self._run(self._segmenter, inputs)[:, 0]
            placement = PadGeometry(pixels.shape[1], pixels.shape[2], self.config.input_size)
            probability[segmented] = undo(outputs, placement)
        stages = {
            "preprocess": prepared - clock,
            "gate": gated - prepared,
            "segment": time.perf_counter() - ready,
        }
        return RawOutput(gate, probability, segmented, heads, {name: 1000 * s for name, s in stages.items()})

    @torch.inference_mode()
    def _run(self, model: nn.Module, inputs: Tensor, temperature: float = 1.0) -> Tensor:
        """Probabilities on the CPU; the networks themselves return logits."""
        outputs = [
            (model(batch.to(self.device, memory_format=torch.channels_last)).float() / temperature)
            .sigmoid()
            .cpu()
            for batch in inputs.split(BATCH)
        ]
        return torch.cat(outputs)

    def _predictions(
        self, maps: RawOutput, slices: Sequence[Slice], thresholds: Thresholds, gating: Gating
    ) -> list[Prediction]:
        share = {name: value / len(slices) for name, value in maps.milliseconds.items()}
        return [
            Prediction(
                gate_probability=float(gate),
                passed=float(gate) >= gate_floor(thresholds, gating),
                probability=probability,
                mask=decide(float(gate), probability, thresholds, gating),
                head=head,
                thresholds=thresholds,
                milliseconds=share,
                spacing=one.spacing,
            )
            for gate, probability, head, one in zip(
                maps.gate, maps.probability, maps.heads, slices, strict=True
            )
        ]


def best_device() -> torch.device:
    """CUDA, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
