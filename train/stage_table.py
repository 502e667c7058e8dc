"""The table of stages: what each part of the training of the weights in a folder was worth by validation."""

from pathlib import Path
from typing import Any

from lgg.models import GATE, TITLES
from lgg.weights import available, load_config
from train.export import read_training, validation_measure
from train.tables import header, line

COLUMNS = ("", "stage", "epochs", "pixels", "turned by up to", "minutes", "best before", "best by its end")


def stage_table(weights: Path) -> str:
    """A line a stage of each network; empty where no network has a log of its training.

    The measure is the one that chose the epoch: the gate's AUROC, else the mean Dice of the volumes, at the
    resolution of the stage. What was best at another resolution is on another scale.
    """
    lines = [header(COLUMNS)]
    for name in available(weights):
        rows, config = read_training(weights / name), load_config(weights / name)
        recipes = _recipes(config.training, config.recipe)
        best, scale = 0.0, None
        for number, stage in enumerate(dict.fromkeys(row["stage"] for row in rows)):
            own = [row for row in rows if row["stage"] == stage]
            reached = max(row[validation_measure(name)] for row in own)
            recipe = recipes[number] if number < len(recipes) else None
            size = recipe["size"] if recipe else None
            best, scale = best if size == scale or name == GATE else 0.0, size
            lines.append(
                line(
                    [
                        TITLES[name],
                        str(stage),
                        str(len(own)),
                        str(size or ""),
                        f"{recipe['augmentation']['rotate']:g}°" if recipe else "",
                        f"{sum(row['seconds'] for row in own) / 60:.0f}",
                        f"{best:.3f}" if best else "",
                        f"{max(best, reached):.3f}",
                    ]
                )
            )
            best = max(best, reached)
    return "\n".join(lines) if len(lines) > 1 else ""


def _recipes(training: dict[str, Any], own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The recipes of all stages, those of the weights that it began with first."""
    start = training.get("start")
    return [*(_recipes(start, start["stages"]) if start else []), *own]
