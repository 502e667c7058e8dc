"""Thresholds, chosen on validation patients only.

Everything maximises the same figure: half slice-tumour Dice, half the share of empty slices kept empty; the
gate alone has its own version of it, half recall on tumour slices, half recall on empty ones. Both kinds of
statistics take part, as the page sees lone slices and series alike. Where several thresholds are equally
good, the middle one is taken: it stands furthest from where things get worse.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import nn

from lgg import metrics
from lgg.cascade import Cascade
from lgg.gating import decide
from lgg.preprocess import measure, network_input
from lgg.weights import ModelConfig, Thresholds
from train.index import Volume
from train.score import examine

T = TypeVar("T")
GATE_GRID = np.round(np.arange(0.02, 0.99, 0.01), 2)
MASK_GRID = np.round(np.arange(0.1, 0.95, 0.05), 2)
#: Smallest components, in pixels of a 256×256 slice, as shares of it. 128 is enough, whatever validation
#: says: 3 % of the training patients' slices with tumour hold less, and 7 % less than 256.
SMALLEST_GRID = tuple(pixels / 256**2 for pixels in (0, 8, 16, 32, 64, 128))
LOW_GRID = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
HIGH_GRID = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
KEEP_GRID = np.round(np.arange(0.5, 1.0, 0.05), 2)


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
            inputs = network_input(volume.pixels, measure(volume.pixels, mode)[1], config.input_size)
            logits.append(gate(inputs)[:, 0].double().numpy())
            tumour.append(volume.tumour)
    return np.concatenate(logits), np.concatenate(tumour)


def gate_temperature(logits: NDArray[np.float64], tumour: NDArray[np.bool_]) -> float:
    """The temperature that makes the gate's probabilities most likely (Guo et al., 2017), 0.1 to 10.

    One number fitted by the cross-entropy: it moves no slice past another, so AUROC stays what it was.
    """
    sign = np.where(tumour, 1, -1)

    def cross_entropy(exponent: float) -> float:
        return float(np.logaddexp(0, -sign * logits / np.exp(exponent)).mean())

    found = minimize_scalar(cross_entropy, bounds=(np.log(0.1), np.log(10)), method="bounded")
    return round(float(np.exp(found.x)), 3)


def gate_threshold(probability: NDArray[np.float64], tumour: NDArray[np.bool_]) -> float:
    """Where the gate alone tells slices with and without tumour apart best."""
    says = probability[:, None] >= GATE_GRID
    return float(best(GATE_GRID, list((says[tumour].mean(0) + (~says)[~tumour].mean(0)) / 2)))


def segmenter_thresholds(cascade: Cascade, volumes: Sequence[Volume]) -> Thresholds:
    """Mask, smallest component and hard gate together; then the soft gate's three under that mask."""
    gates, probabilities, truths = [], [], []
    for volume in volumes:
        for mode in ("slice", "volume"):
            maps = examine(cascade, volume, mode)
            gates.append(maps.gate)
            probabilities += list(maps.probability)
            truths += list(volume.masks)
    gate, holds = np.concatenate(gates), np.array([one.any() for one in truths])

    candidates, values = [], []
    lost = np.array([_worth(np.zeros_like(truth), truth) for truth in truths])
    for mask, smallest in product(MASK_GRID, SMALLEST_GRID):
        under = replace(cascade.thresholds, mask=float(mask), smallest=float(smallest))
        kept = _worths(probabilities, truths, under)
        for threshold in GATE_GRID:
            candidates.append(replace(under, gate=float(threshold)))
            values.append(_objective(np.where(gate >= threshold, kept, lost), holds))
    chosen = best(candidates, values)

    kept = _worths(probabilities, truths, chosen)
    sure = np.array([_mean_inside(one, chosen) for one in probabilities])
    candidates, values = [], []
    for low, high, keep in product(LOW_GRID, HIGH_GRID, KEEP_GRID):
        candidates.append(replace(chosen, low=float(low), high=float(high), keep=float(keep)))
        stays = (gate >= high) | ((gate >= low) & (sure >= keep))
        values.append(_objective(np.where(stays, kept, lost), holds))
    return best(candidates, values)


def _worths(
    probabilities: Sequence[NDArray[np.float32]], truths: Sequence[NDArray[np.bool_]], under: Thresholds
) -> NDArray[np.float64]:
    """Each slice's worth where no gate vetoes it."""
    pairs = zip(probabilities, truths, strict=True)
    return np.array([_worth(decide(1.0, one, under, "none"), truth) for one, truth in pairs])


def _worth(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice; an empty slice is worth 1 if it stays empty, else 0."""
    return metrics.dice(mask, truth) if truth.any() else float(not mask.any())


def _objective(worths: NDArray[np.float64], holds: NDArray[np.bool_]) -> float:
    """(Slice-tumour Dice + share of empty slices kept empty) / 2."""
    return float(np.mean([worths[side].mean() for side in (holds, ~holds) if side.any()]))


def _mean_inside(probability: NDArray[np.float32], under: Thresholds) -> float:
    inside = probability[decide(1.0, probability, under, "none")]
    return float(inside.mean()) if inside.size else 0.0
