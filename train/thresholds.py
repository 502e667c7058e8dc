"""Thresholds, chosen on validation patients only.

Everything maximises the same figure: half slice-tumour Dice, half the share of empty slices kept empty; the
gate alone has its own version of it, half recall on tumour slices, half recall on empty ones. Both kinds of
statistics take part, as the page sees lone slices and series alike. Where several thresholds are equally
good, the middle one is taken: it stands furthest from where things get worse.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
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
LOW_GRID = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
HIGH_GRID = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
KEEP_GRID = np.round(np.arange(0.5, 1.0, 0.05), 2)


def best(candidates: Iterable[T], values: Sequence[float]) -> T:
    """The middle one of the candidates whose value is the highest."""
    winners = np.flatnonzero(np.asarray(values) >= max(values) - 1e-9)
    return list(candidates)[int(winners[len(winners) // 2])]


@torch.inference_mode()
def gate_threshold(gate: nn.Module, config: ModelConfig, volumes: Sequence[Volume]) -> float:
    """The hard gate's threshold for a gate on the CPU."""
    gate = gate.eval()
    probability, tumour = [], []
    for volume in volumes:
        for mode in ("slice", "volume"):
            inputs = network_input(volume.pixels, measure(volume.pixels, mode)[1], config.input_size)
            probability.append(gate(inputs)[:, 0].float().sigmoid().numpy())
            tumour.append(volume.tumour)
    p, holds = np.concatenate(probability), np.concatenate(tumour)
    return float(best(GATE_GRID, [((p >= t)[holds].mean() + (p < t)[~holds].mean()) / 2 for t in GATE_GRID]))


@dataclass(frozen=True)
class _Answer:
    """One validation slice: what the networks say of it, and the truth."""

    gate: float
    probability: NDArray[np.float32]
    truth: NDArray[np.bool_]


def segmenter_thresholds(cascade: Cascade, volumes: Sequence[Volume]) -> Thresholds:
    """The mask's threshold under the hard gate, then the soft gate's three under that mask."""
    answers = []
    for volume in volumes:
        for mode in ("slice", "volume"):
            maps = examine(cascade, volume, mode)
            parts = zip(maps.gate, maps.probability, volume.masks, strict=True)
            answers += [_Answer(float(gate), probability, truth) for gate, probability, truth in parts]
    hard = [replace(cascade.thresholds, mask=float(one)) for one in MASK_GRID]
    chosen = best(hard, [_objective(_outcomes(answers, one)) for one in hard])
    return _soft(answers, chosen)


def _outcomes(answers: Sequence[_Answer], thresholds: Thresholds) -> list[tuple[bool, float]]:
    """Of each slice: whether it holds tumour, and Dice; an empty one scores 1 if it stays empty, else 0."""
    outcomes = []
    for one in answers:
        mask = decide(one.gate, one.probability, thresholds, "hard")
        holds = bool(one.truth.any())
        outcomes.append((holds, metrics.dice(mask, one.truth) if holds else float(not mask.any())))
    return outcomes


def _objective(outcomes: Sequence[tuple[bool, float]]) -> float:
    """(Slice-tumour Dice + share of empty slices kept empty) / 2."""
    holds = np.array([one for one, _ in outcomes])
    values = np.array([value for _, value in outcomes])
    return float(np.mean([values[side].mean() for side in (holds, ~holds) if side.any()]))


def _soft(answers: Sequence[_Answer], thresholds: Thresholds) -> Thresholds:
    """Search low, high and keep. A slice either keeps its mask or loses it, so both are scored only once."""
    kept = _outcomes(answers, replace(thresholds, gate=0.0))
    lost = _outcomes(answers, replace(thresholds, gate=2.0))
    gate = np.array([one.gate for one in answers])
    sure = np.array([_mean_inside(one.probability, thresholds.mask) for one in answers])
    holds = np.array([one for one, _ in kept])
    with_mask, without = (np.array([value for _, value in side]) for side in (kept, lost))
    candidates = [
        replace(thresholds, low=float(low), high=float(high), keep=float(keep))
        for low, high, keep in product(LOW_GRID, HIGH_GRID, KEEP_GRID)
    ]
    values = []
    for one in candidates:
        stays = (gate >= one.high) | ((gate >= one.low) & (sure >= one.keep))
        scores = np.where(stays, with_mask, without)
        values.append(np.mean([scores[side].mean() for side in (holds, ~holds) if side.any()]))
    return best(candidates, values)


def _mean_inside(probability: NDArray[np.float32], threshold: float) -> float:
    inside = probability[probability >= threshold]
    return float(inside.mean()) if inside.size else 0.0
