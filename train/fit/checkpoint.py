"""What is kept of a run: its last checkpoint, the log of its epochs, their curves, a tracker's copy of them.

`$LGG_RUNS` (by default `~/lgg-runs`) holds a folder a run. Every write is atomic, so a run that dies at any
moment, of whatever, resumes from its last checkpoint.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from lgg.errors import DataError, DiskError
from lgg.files import write_atomically, write_text
from train.hardware import make_accelerator

#: Called with each epoch's row of figures, for a tracker.
Watch = Callable[[dict[str, Any]], None]
#: Of trackio, which shows runs beside each other.
PROJECT = "lgg"
CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"
#: The same in a model's folder of weights, with the stage of each epoch.
LOG_FILE = "training.jsonl"
#: What a checkpoint keeps only as hashes.
HASHES = ("data", "teacher")
WORDS = {"data": "data set"}


def runs_folder() -> Path:
    """Where runs live."""
    return Path(os.environ.get("LGG_RUNS", "~/lgg-runs")).expanduser()


def save_checkpoint(run: Path, state: dict[str, Any]) -> None:
    """Replace the run's checkpoint: tensors and plain values only, so that loading needs no pickled code.

    Raises:
        DataError: it cannot be written (a full disk, say); the one before is untouched.
    """
    # To memory first: torch's own file writer hides a full disk behind a RuntimeError without its reason.
    buffer = BytesIO()
    torch.save(state, buffer)

    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())

    with explain_full_disk(run):
        write_atomically(run / CHECKPOINT, write)


@contextmanager
def explain_full_disk(run: Path) -> Iterator[None]:
    """Turn a full disk into an error that names this run, what is kept and how to go on."""
    try:
        yield
    except DiskError as error:
        kept = "The last checkpoint is kept" if (run / CHECKPOINT).exists() else "There is no checkpoint yet"
        raise DataError(
            f"{run.parent.name}/{run.name}: {error} {kept}. "
            "Make room, or move the run and set LGG_RUNS to its new place, then go on with --resume."
        ) from error


def _named(run: Path) -> str:
    """The checkpoint's name for messages, `<name of the run>/<stage>/checkpoint.pt`."""
    return f"{run.parent.name}/{run.name}/{CHECKPOINT}"


def load_checkpoint(run: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """The run's last checkpoint.

    Args:
        expected: what must be as it was: `architecture`, `recipe`, `data`, `teacher`.

    Raises:
        DataError: there is none, it cannot be read, or something expected is another.
    """
    path = run / CHECKPOINT
    if not path.exists():
        raise DataError(f"There is no {_named(run)}: start the run without --resume.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        raise DataError(
            f"{_named(run)} cannot be read: it is damaged, or of another program. Start again with --restart."
        ) from error
    for what, value in expected.items():
        if state.get(what) != value:
            told = "" if what in HASHES else f": {', '.join(_differences(state.get(what), value))}"
            raise DataError(
                f"{_named(run)} was begun with another {WORDS.get(what, what)}{told}. "
                "Resume with what it began with, or choose another --name."
            )
    return state


def _differences(before: object, now: object, name: str = "") -> Iterator[str]:
    """`lr was 0.001, is 0.5` for each value of a recipe that changed, those of its augmentation too."""
    if isinstance(before, dict) and isinstance(now, dict):
        for inner, value in now.items():
            yield from _differences(before.get(inner), value, inner)
    elif before != now:
        yield f"{name} was {before}, is {now}".strip()


def refuse_to_overwrite(run: Path) -> None:
    """Keep a run from being lost to a second one of its name.

    Raises:
        DataError: the run has a checkpoint.
    """
    if (run / CHECKPOINT).exists():
        raise DataError(
            f"The run '{run.parent.name}' has been started before ({run.name}). Go on with --resume, "
            "give this one another name with --name, or throw the old one away with --restart."
        )


def append_log(run: Path, row: dict[str, Any]) -> None:
    """One JSON line an epoch in `log.jsonl`; a line of the same epoch from before a resume is replaced.

    Raises:
        DataError: it cannot be written.
    """
    rows = [old for old in read_log(run / LOG) if old["epoch"] < row["epoch"]]
    text = "".join(json.dumps(row) + "\n" for row in [*rows, row])
    with explain_full_disk(run):
        write_text(run / LOG, text)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The epochs logged so far, of a run or of a model's training; none where there is no such file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def draw_curves(run: Path) -> None:
    """Write `curves.png` from `log.jsonl`: losses on the left, validation measures on the right.

    Raises:
        DataError: it cannot be written.
    """
    # Imported here: matplotlib is slow to load, and only this function draws.
    from matplotlib.figure import Figure

    rows = read_log(run / LOG)
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    losses, measures = figure.subplots(1, 2)
    for name, label in (("train_loss", "training"), ("val_loss", "validation")):
        losses.plot(epochs, [row[name] for row in rows], marker=".", label=label)
    for name in sorted(rows[0]):
        if name.startswith("val_") and name != "val_loss":
            measures.plot(epochs, [row[name] for row in rows], marker=".", label=name.removeprefix("val_"))
    losses.set(title=run.name, xlabel="epoch", ylabel="loss")
    measures.set(title="validation patients, training resolution", xlabel="epoch", ylim=(None, 1))
    for axes in (losses, measures):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    with explain_full_disk(run):
        write_atomically(run / "curves.png", lambda path: figure.savefig(path, format="png", dpi=110))


@contextmanager
def tracking(name: str, config: dict[str, Any], wanted: bool) -> Iterator[Watch | None]:
    """A callback for each epoch's figures, or None where tracking is not wanted or another process does it.

    Everything stays on this machine, unless trackio's own environment variables say otherwise.

    Args:
        name: of the run; a resumed one goes on under it.
        config: what the run's page shows beside its curves.

    Raises:
        DataError: trackio is not installed.
    """
    if not wanted or not make_accelerator().is_main_process:
        yield None
        return
    try:
        import trackio
    except ImportError:
        raise DataError("--track needs trackio: `pip install trackio`, or leave --track out.") from None
    trackio.init(project=PROJECT, name=name, config=config, resume="allow", embed=False, auto_log_cpu=False)
    try:
        yield lambda row: trackio.log(row)
    finally:
        trackio.finish()
