"""Weights that a run takes over: its teacher's, and those it begins with.

Neither may have seen what is to judge the run, or its figures would flatter.
"""

import hashlib
from pathlib import Path
from typing import Any

from torch import nn

from lgg.errors import DataError
from lgg.models import GATE
from lgg.weights import load_config, load_model
from train.data.splits import Side
from train.fit.checkpoint import read_training


def digest(keys: list[str]) -> str:
    """A hash of a side's keys, in any order: by it the slice split's thousands of slices are known again."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def load_teacher(folder: Path, keys: list[str]) -> nn.Module:
    """A segmenter to learn from.

    Raises:
        DataError: it is a gate, or was trained on others than `keys`: what it knows of the validation and
            test sides would leak into its pupil.
        WeightsError: it cannot be loaded.
    """
    model, config = load_model(folder)
    if config.architecture == GATE:
        raise DataError("A gate outlines nothing: give a segmenter's folder as --teacher.")
    seen = config.split.get("train")
    within = isinstance(seen, list) and set(seen) <= set(keys)
    if not within and config.split.get("learned_from") != digest(keys):
        raise DataError(
            f"The teacher '{folder.name}' was not trained on this run's training side alone: what it has "
            "seen of the others would leak. Train it on the same split first."
        )
    return model


def load_start(folder: Path, architecture: str, sides: dict[Side, list[str]]) -> nn.Module:
    """The weights that a run begins with.

    Raises:
        DataError: they are another network's, or were trained or chosen on what is to judge this one.
        WeightsError: they cannot be loaded.
    """
    model, config = load_model(folder)
    if config.architecture != architecture:
        raise DataError(
            f"The weights to start from are {config.architecture}'s: {architecture} cannot take them."
        )
    if config.split.get("learned_from") == digest(sides["train"]):
        return model
    learned, chosen = (config.split.get(side) for side in ("train", "validation"))
    if not isinstance(learned, list) or not isinstance(chosen, list):
        raise DataError("The weights to start from do not say on which patients they were trained.")
    judged: list[tuple[list[str], Side]] = [(learned, "validation"), (learned, "test"), (chosen, "test")]
    leaked = {name for names, side in judged for name in names if _holds(sides[side], name)}
    if leaked:
        raise DataError(
            f"The weights to start from were trained or chosen on {min(leaked)}, which is to judge this run: "
            "its figures would flatter. Start from others, or from none."
        )
    return model


def earlier_epochs(folder: Path, split: dict[str, Any]) -> list[dict[str, Any]]:
    """The logged epochs that weights have behind them; none where they were judged on another split."""
    return read_training(folder) if load_config(folder).split == split else []


def _holds(keys: list[str], patient: str) -> bool:
    """Whether a patient, or a slice of it, is among the keys."""
    return any(key == patient or key.rpartition("_")[0] == patient for key in keys)
