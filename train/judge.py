"""Two networks side by side on whole volumes, at the slices' own resolution.

What validation says after an epoch is at the training resolution, where a coarse outline is compared with a
coarse truth: figures of two resolutions are not on one scale.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lgg import metrics
from lgg.cascade import Cascade
from lgg.models import GATE, build
from lgg.weights import ModelConfig
from train.index import Volume
from train.score import Mode, examine


def judge(
    architecture: str,
    size: int,
    weights: dict[str, Tensor],
    volumes: Sequence[Volume],
    modes: Sequence[Mode] = ("volume",),
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """What a segmenter's weights are worth without a gate, at threshold 0.5.

    Args:
        architecture, size: of the network and its input.
        weights: its state dict.

    Returns:
        Mode → Dice of each volume, and mode → mean Dice of the slices with tumour.
    """
    network = build(architecture)
    network.load_state_dict(weights)
    network = network.to(memory_format=torch.channels_last)
    # A gate belongs to a cascade; nobody listens to this one.
    gate = (build(GATE), ModelConfig(GATE, 32))
    cascade = Cascade(gate, (network, ModelConfig(architecture, size)))
    volume: dict[str, list[float]] = {}
    tumour: dict[str, float] = {}
    for mode in modes:
        dices: list[float] = []
        slices: list[float] = []
        for one in volumes:
            mask = examine(cascade, one, mode).probability >= 0.5
            dices.append(round(metrics.dice(mask, one.masks), 6))
            slices.extend(metrics.slice_dices(mask[one.tumour], one.masks[one.tumour]))
        volume[mode], tumour[mode] = dices, round(float(np.mean(slices)), 6)
    return volume, tumour


def better(state: dict[str, Any], kept: dict[str, Any], volumes: Callable[[], Sequence[Volume]]) -> bool:
    """Whether a stage's best epoch is the best so far, given both stages' final checkpoints.

    Judged by different measures, the later one counts; of segmenters at different resolutions, the one that
    is better at the slices' own.

    Args:
        kept: of the best stage before; empty where there is none.
        volumes: reads the validation side, where that is needed.
    """
    if not kept or state["recipe"]["best_by"] != kept["recipe"]["best_by"]:
        return True
    best_by = state["recipe"]["best_by"]
    same_scale = state["recipe"]["size"] == kept["recipe"]["size"]
    if same_scale or best_by not in ("dice", "slice_tumour"):
        return bool(state["best_score"] >= kept["best_score"])
    read = volumes()
    return _native(state, read) >= _native(kept, read)


def _native(state: dict[str, Any], volumes: Sequence[Volume]) -> float:
    """The measure that chose the epoch, at the slices' own resolution."""
    dices, tumour = judge(state["architecture"], state["recipe"]["size"], state["best"], volumes)
    return float(np.mean(dices["volume"])) if state["recipe"]["best_by"] == "dice" else tumour["volume"]
