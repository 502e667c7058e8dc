"""Thresholds, chosen on validation patients only.

Everything maximises the same figure: half slice-tumour Dice, half the share of empty slices kept empty; the
gate alone has its own version of it, half recall on tumour slices, half recall on empty ones. Both kinds of
statistics take part, as the page sees lone slices and series alike. Where several thresholds are equally
good, the middle one is taken: it stands furthest from where things get worse.

A series has thresholds of its own: there, neighbouring slices clear false alarms away
(`lgg.postprocess.remove_isolated`), and a gate that lets more pass finds more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lgg import metrics
from lgg.cascade import Cascade
from lgg.postprocess import confidence, keeps_outline, outline, remove_isolated
from lgg.types import RawOutput, Thresholds
from lgg.weights import ModelConfig
from train.data.kaggle_3m import Volume
from train.evaluation.patient_metrics import predict_volume

T = TypeVar("T")
GATE_GRID = np.round(np.arange(0.02, 0.99, 0.01), 2)
MASK_GRID = np.round(np.arange(0.1, 0.95, 0.05), 2)
#: Smallest components, in pixels of a 256×256 slice, as shares of it. 128 is enough, whatever validation
#: says: 3 % of the training patients' slices with tumour hold less, and 7 % less than 256.
SMALLEST_GRID = tuple(pixels / 256**2 for pixels in (0, 8, 16, 32, 64, 128))
LOW_GRID = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
HIGH_GRID = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
KEEP_GRID = np.round(np.arange(0.5, 1.0, 0.05), 2)
#: Coarser than a lone slice's: each step looks at whole volumes.
SERIES_GATE_GRID = np.round(np.arange(0.05, 0.96, 0.05), 2)


def best(candidates: Iterable[T], values: Sequence[float]) -> T:
    """The middle one of the candidates whose value is the highest."""
    winners = np.flatnonzero(np.asarray(values) >= max(values) - 1e-9)
    return list(candidates)[int(winners[len(winners) // 2])]


@torch.inference_mode()
def gate_logits(
    gate: nn.Module, config: ModelConfig, volumes: Sequence[Volume]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A gate's logits on the CPU, by both kinds of statistics, and whether each slice holds tumour."""
    gate = gate.eval()
    logits, tumour = [], []
    for volume in volumes:
        for mode in ("slice", "volume"):
            inputs = volume.prepare(mode).network_input(config.input_size)
            logits.append(gate(torch.from_numpy(inputs))[:, 0].double().numpy())
            tumour.append(volume.tumour)
    return np.concatenate(logits), np.concatenate(tumour)


def gate_temperature(logits: NDArray[np.float64], tumour: NDArray[np.bool_]) -> float:
    """The temperature that makes the gate's probabilities most likely (Guo et al., 2017), 0.1 to 10.

    One number fitted by the cross-entropy: it moves no slice past another, so AUROC stays what it was.
    """
    from scipy.optimize import minimize_scalar  # slow to import, and every command would wait

    sign = np.where(tumour, 1, -1)

    def cross_entropy(exponent: float) -> float:
        return float(np.logaddexp(0, -sign * logits / np.exp(exponent)).mean())

    fitted = minimize_scalar(cross_entropy, bounds=(np.log(0.1), np.log(10)), method="bounded")
    return round(float(np.exp(fitted.x)), 3)


def gate_threshold(probability: NDArray[np.float64], tumour: NDArray[np.bool_]) -> float:
    """Where the gate alone tells slices with and without tumour apart best."""
    says = probability[:, None] >= GATE_GRID
    return float(best(GATE_GRID, list((says[tumour].mean(0) + (~says)[~tumour].mean(0)) / 2)))


def segmenter_thresholds(cascade: Cascade, volumes: Sequence[Volume]) -> tuple[Thresholds, Thresholds]:
    """Those of a lone slice, and those of a series."""
    alone = [predict_volume(cascade, volume, "slice") for volume in volumes]
    series = [predict_volume(cascade, volume, "volume") for volume in volumes]
    truths = [volume.masks for volume in volumes]
    chosen = search([*alone, *series], [*truths, *truths], cascade.thresholds)
    return chosen, search(series, truths, chosen, series=True)


def search(
    answers: Sequence[RawOutput], masks: Sequence[NDArray[np.bool_]], own: Thresholds, series: bool = False
) -> Thresholds:
    """Mask, smallest component and hard gate together; then the soft gate's three under that mask.

    Args:
        answers: the networks' for each volume.
        masks: ground truth of each.
        own: what is to be replaced.
        series: of whole volumes, with what no neighbouring slice confirms left out.
    """
    volumes = [_Outlined(raw, truth, series) for raw, truth in zip(answers, masks, strict=True)]
    holds = np.concatenate([volume.holds for volume in volumes])

    def worth(stays: Iterable[NDArray[np.bool_]]) -> float:
        worths = [volume.worths(kept) for volume, kept in zip(volumes, stays, strict=True)]
        return objective(np.concatenate(worths), holds)

    candidates, values = [], []
    for mask, smallest in product(MASK_GRID, SMALLEST_GRID):
        under = replace(own, mask=float(mask), smallest=float(smallest))
        for volume in volumes:
            volume.outline(under)
        for threshold in SERIES_GATE_GRID if series else GATE_GRID:
            candidates.append(replace(under, gate=float(threshold)))
            values.append(
                worth(keeps_outline(volume.gate, 0.0, candidates[-1], "hard") for volume in volumes)
            )
    chosen = best(candidates, values)

    for volume in volumes:
        volume.outline(chosen)
    unsure = [(volume.gate, volume.sure()) for volume in volumes]
    candidates, values = [], []
    for low, high, keep in product(LOW_GRID, HIGH_GRID, KEEP_GRID):
        candidates.append(replace(chosen, low=float(low), high=float(high), keep=float(keep)))
        values.append(worth(keeps_outline(gate, sure, candidates[-1], "soft") for gate, sure in unsure))
    return best(candidates, values)


class _Outlined:
    """A volume's slices, outlined once and then looked at under many a gate."""

    def __init__(self, raw: RawOutput, truth: NDArray[np.bool_], series: bool) -> None:
        """`series`: what no neighbouring slice confirms is left out."""
        self.gate = raw.gate.astype(float)  # as a lone decision compares it
        self.holds, self._series = truth.any((1, 2)), series
        self._probability, self._truth = raw.probability, truth
        self._lost = self._worths(np.zeros_like(truth))

    def outline(self, under: Thresholds) -> None:
        """Decide every slice as if no gate vetoed it."""
        self._masks = np.stack([outline(probability, under) for probability in self._probability])
        self._seen: dict[bytes, NDArray[np.float64]] = {}
        if not self._series:
            self._kept = self._worths(self._masks)

    def sure(self) -> NDArray[np.float64]:
        """Mean probability inside each slice's outline."""
        pairs = zip(self._probability, self._masks, strict=True)
        return np.array([confidence(probability, mask) for probability, mask in pairs])

    def worths(self, stays: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Each slice's worth where the gate lets only those keep their outlines that are to stay."""
        if not self._series:
            return np.where(stays, self._kept, self._lost)
        key = stays.tobytes()  # most gates let the same slices pass
        if key not in self._seen:
            self._seen[key] = self._worths(remove_isolated(self._masks & stays[:, None, None]))
        return self._seen[key]

    def _worths(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.array([slice_worth(mask, truth) for mask, truth in zip(masks, self._truth, strict=True)])


def slice_worth(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice; an empty slice is worth 1 if it stays empty, else 0."""
    return metrics.dice(mask, truth) if truth.any() else float(not mask.any())


def objective(worths: NDArray[np.float64], holds: NDArray[np.bool_]) -> float:
    """(Slice-tumour Dice + share of empty slices kept empty) / 2."""
    return float(np.mean([worths[side].mean() for side in (holds, ~holds) if side.any()]))
