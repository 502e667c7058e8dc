"""From a finished run to a model's folder: weights, config, thresholds, card; and on to other formats.

`python -m train.export --format onnx` writes the models of a folder of weights for other runtimes.
"""

import json
import sys
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from lgg.cascade import Cascade
from lgg.errors import LggError, WeightsError
from lgg.files import write_text
from lgg.models import GATE, TITLES, build
from lgg.weights import (
    REPOSITORY_WEIGHTS,
    ModelConfig,
    Thresholds,
    available,
    load_model,
    save_config,
    save_model,
)
from train.accelerator import hardware, make_accelerator
from train.card import write_card
from train.export_onnx import export_onnx
from train.index import Volume
from train.recipe import Recipe
from train.thresholds import gate_logits, gate_temperature, gate_threshold, segmenter_thresholds

DATA = "LGG MRI segmentation (kaggle_3m), TCGA; CC BY-NC-SA 4.0 as far as is known"
#: A line an epoch of the training that made the weights beside it.
LOG_FILE = "training.jsonl"


def export(
    state: dict[str, Any],
    stages: list[Recipe],
    split: dict[str, Any],
    training: dict[str, Any],
    logs: list[dict[str, Any]],
    folder: Path,
) -> ModelConfig:
    """Write the best epoch's weights and what is known of them into `folder`/<architecture>.

    Args:
        state: the last stage's final checkpoint.
        stages: the recipes of all stages.
        split: protocol and the patients (or number of slices) of each side.
        training: name of the recipe, start of the encoder, minutes of all stages, teacher if any.
        logs: the epochs of all stages, kept beside the weights as `training.jsonl`.
    """
    architecture = state["architecture"]
    model = build(architecture)
    model.load_state_dict(state["best"])
    config = ModelConfig(
        architecture=architecture,
        input_size=stages[-1].size,
        thresholds=Thresholds(),
        data=DATA,
        split=split,
        recipe=[asdict(one) for one in stages],
        training=training
        | {
            "epochs": [one.epochs for one in stages],
            "best_epoch": state["best_epoch"],
            "processes": make_accelerator().num_processes,
            "hardware": hardware(),
            "torch": torch.__version__,
        },
        date=date.today().isoformat(),
    )
    config = save_model(folder / architecture, model, config)
    text = "".join(json.dumps(row) + "\n" for row in logs)
    write_text(folder / architecture / LOG_FILE, text)
    write_card(folder / architecture, config)
    return config


def read_training(folder: Path) -> list[dict[str, Any]]:
    """The logged epochs of the training that made a model's weights; none where there is no log."""
    path = folder / LOG_FILE
    return [json.loads(row) for row in path.read_text().splitlines()] if path.exists() else []


def validation_measure(architecture: str) -> str:
    """What a logged epoch calls the measure that networks are compared by: the gate's AUROC, else Dice."""
    return "val_auroc" if architecture == GATE else "val_dice"


def choose_thresholds(folder: Path, architecture: str, gates: Path, volumes: list[Volume]) -> Thresholds:
    """Choose a model's thresholds on validation volumes and write them into its config and card.

    Returns those of a lone slice.

    Args:
        folder: the folder of weights that holds the model.
        gates: the folder of weights whose gate stands before a segmenter.
    """
    model, config = load_model(folder / architecture)
    if architecture == GATE:
        logits, tumour = gate_logits(model, config, volumes)
        temperature = gate_temperature(logits, tumour)
        threshold = gate_threshold(1 / (1 + np.exp(-logits / temperature)), tumour)
        chosen = replace(config.thresholds, gate=threshold)
        config = replace(config, thresholds=chosen, temperature=temperature)
    else:
        cascade = Cascade(load_model(gates / GATE), (model, config))
        chosen, series = segmenter_thresholds(cascade, volumes)
        config = replace(config, thresholds=chosen, series_thresholds=series)
    save_config(folder / architecture, config)
    write_card(folder / architecture, config)
    return chosen


def gate_folder(*folders: Path) -> Path:
    """The first folder of weights that holds a gate.

    Raises:
        WeightsError: none does.
    """
    for folder in folders:
        if (folder / GATE).is_dir():
            return folder
    raise WeightsError(
        f"No {TITLES[GATE]} found: train it first, its veto is part of a segmenter's thresholds."
    )


def convert(
    format: Literal["onnx"],
    models: tuple[str, ...] = (),
    weights: Path = REPOSITORY_WEIGHTS,
    out: Path = Path("onnx"),
) -> None:
    """Write models in another format and check that they still say the same.

    Args:
        format: onnx: float32, any batch, logits out.
        models: Which models; by default all in the folder of weights.
        weights: Folder of weights.
        out: Folder for one file a model, as OUT/<model>.onnx.
    """
    for name in models or available(weights):
        path = out / f"{name}.{format}"
        difference = export_onnx(weights / name, path)
        size = path.stat().st_size / 1e6
        print(f"{path}: {size:.1f} MB, logits within {difference:.1e} of torch's under ONNX Runtime")


def main() -> None:
    """Run the command; our own errors end it with their message, not a traceback."""
    try:
        tyro.cli(convert, prog="python -m train.export", description=__doc__)
    except LggError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
