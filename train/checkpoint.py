"""A run's folder outside the checkout: one checkpoint an epoch, the log of its epochs, its curves.

`$LGG_RUNS` (by default `~/lgg-runs`) holds a folder a run. Every write is atomic, so a run that dies at any
moment resumes from the last whole epoch.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lgg.errors import DataError
from lgg.files import write_atomically
from train.recipe import Recipe


def runs_folder() -> Path:
    """Where runs live."""
    return Path(os.environ.get("LGG_RUNS", "~/lgg-runs")).expanduser()


def save_checkpoint(run: Path, state: dict[str, Any]) -> None:
    """Replace the run's checkpoint: tensors and plain values only, so that loading needs no pickled code."""
    write_atomically(run / "checkpoint.pt", lambda path: torch.save(state, path))


def load_checkpoint(run: Path, architecture: str, recipe: Recipe) -> dict[str, Any]:
    """The run's last whole epoch.

    Raises:
        DataError: there is none, or it is of another network or recipe.
    """
    path = run / "checkpoint.pt"
    if not path.exists():
        raise DataError(f"No checkpoint in the run '{run.name}': start it without --resume.")
    state = torch.load(path, map_location="cpu", weights_only=True)
    expected = {"architecture": architecture, "recipe": asdict(recipe)}
    for what, value in expected.items():
        if state[what] != value:
            raise DataError(
                f"The checkpoint of the run '{run.name}' has another {what}. "
                "Resume with what it began with, or choose another --run."
            )
    return state


def append_log(run: Path, row: dict[str, Any]) -> None:
    """One JSON line an epoch in `log.jsonl`; a line of the same epoch from before a resume is replaced."""
    rows = [old for old in read_log(run) if old["epoch"] < row["epoch"]]
    text = "".join(json.dumps(one) + "\n" for one in [*rows, row])
    write_atomically(run / "log.jsonl", lambda path: path.write_text(text))


def read_log(run: Path) -> list[dict[str, Any]]:
    """The epochs logged so far."""
    path = run / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
