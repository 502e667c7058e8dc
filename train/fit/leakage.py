"""Leakage: a run's teacher and start must not have been trained on its validation or test patients."""

import hashlib
from pathlib import Path

from torch import nn

from lgg.errors import DataError
from lgg.models import GATE
from lgg.weights import load_model
from train.data.splits import Split


def digest(ids: list[str]) -> str:
    """A hash of a split's ids in any order, by which the slice split's thousands of slices are recognised."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def load_teacher(folder: Path, ids: list[str]) -> nn.Module:
    """A segmenter to learn from.

    Raises:
        DataError: it is a gate, or was trained on others than `ids`: what it has seen of validation and test
            patients would leak into its student.
        WeightsError: it cannot be loaded.
    """
    model, config = load_model(folder)
    if config.architecture == GATE:
        raise DataError("A gate outlines nothing: give a segmenter's folder as --teacher.")
    seen = config.split.get("train")
    within = isinstance(seen, list) and set(seen) <= set(ids)
    if not within and config.split.get("learned_from") != digest(ids):
        raise DataError(
            f"The teacher '{folder.name}' was not trained on this run's training split alone: what it has "
            "seen of the others would leak. Train it on the same split first."
        )
    return model


def load_start(folder: Path, architecture: str, splits: dict[Split, list[str]]) -> nn.Module:
    """The weights that a run begins with.

    Raises:
        DataError: they are another network's, or were trained or chosen on whom this run is judged on.
        WeightsError: they cannot be loaded.
    """
    model, config = load_model(folder)
    if config.architecture != architecture:
        raise DataError(
            f"The weights to start from are {config.architecture}'s: {architecture} cannot take them."
        )
    if config.split.get("learned_from") == digest(splits["train"]):
        return model
    learned, chosen = (config.split.get(split) for split in ("train", "validation"))
    if not isinstance(learned, list) or not isinstance(chosen, list):
        raise DataError("The weights to start from do not say on which patients they were trained.")
    judged: list[tuple[list[str], Split]] = [(learned, "validation"), (learned, "test"), (chosen, "test")]
    leaked = {name for names, split in judged for name in names if _holds(splits[split], name)}
    if leaked:
        raise DataError(
            f"The weights to start from were trained or chosen on {min(leaked)}, on whom this run is judged: "
            "its figures would flatter. Start from others, or from none."
        )
    return model


def _holds(ids: list[str], patient: str) -> bool:
    """Whether a patient, or a slice of it, is among the ids."""
    return any(patient in (id_, id_.rpartition("_")[0]) for id_ in ids)
