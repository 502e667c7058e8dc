"""Trainings that did not ship, kept with their figures, so that nobody tries them blindly again."""

from dataclasses import dataclass
from pathlib import Path

from lgg.errors import DataError
from lgg.models import TITLES
from lgg.weights import REPOSITORY_WEIGHTS
from train.checkpoint import CHECKPOINT, load_checkpoint, read_log
from train.export import read_training, validation_measure
from train.records import load_records, save_records
from train.tables import header, line

TRIALS = REPOSITORY_WEIGHTS / "trials.json"
COLUMNS = ("", "what was tried", "epochs", "pixels", "minutes", "best", "the weights that ship")


@dataclass(frozen=True)
class Trial:
    """A run that was judged on the validation side and left.

    Attributes:
        run: its name.
        architecture: a name of `lgg.models.BUILDERS`.
        what: what was tried, in words.
        epochs, sizes: of each stage, as far as it went.
        minutes: that training took.
        best: on the validation side, by the measure that chooses epochs.
    """

    run: str
    architecture: str
    what: str
    epochs: list[int]
    sizes: list[int]
    minutes: float
    best: float


def read_trial(home: Path, what: str) -> Trial:
    """What a run has reached so far, finished or not.

    Args:
        home: the run's folder, with a folder a stage.
        what: what was tried, in words.

    Raises:
        DataError: it has no finished epoch, or its checkpoint cannot be read.
    """
    begun = [one for one in home.glob("stage*") if (one / CHECKPOINT).exists()]
    stages = sorted(begun, key=lambda folder: int(folder.name.removeprefix("stage")))
    logs = [(load_checkpoint(folder, {}), read_log(folder)) for folder in stages]
    if not logs:
        raise DataError(f"The run '{home.name}' has no finished epoch. Its folder is looked for in LGG_RUNS.")
    architecture = str(logs[0][0]["architecture"])
    return Trial(
        run=home.name,
        architecture=architecture,
        what=what,
        epochs=[len(log) for _, log in logs],
        sizes=[state["recipe"]["size"] for state, _ in logs],
        minutes=round(sum(row["seconds"] for _, log in logs for row in log) / 60, 1),
        best=max(row[validation_measure(architecture)] for _, log in logs for row in log),
    )


def load_trials(path: Path = TRIALS) -> list[Trial]:
    """What was tried so far.

    Raises:
        DataError: the file is not one of ours.
    """
    return load_records(path, Trial, "trials")


def save_trial(trial: Trial, path: Path = TRIALS) -> None:
    """Take a trial in, in place of the run of the same name before."""
    save_records(path, [*(one for one in load_trials(path) if one.run != trial.run), trial])


def trial_table(trials: list[Trial], weights: Path) -> str:
    """A line a trial, beside what the weights in a folder reach by the same measure; empty without trials."""
    if not trials:
        return ""
    order = list(TITLES)
    lines = [header(COLUMNS)]
    for one in sorted(trials, key=lambda trial: order.index(trial.architecture)):
        measure = validation_measure(one.architecture)
        shipped = max((row[measure] for row in read_training(weights / one.architecture)), default=None)
        lines.append(
            line(
                [
                    TITLES[one.architecture],
                    one.what,
                    " + ".join(map(str, one.epochs)),
                    " + ".join(map(str, one.sizes)),
                    f"{one.minutes:.0f}",
                    f"{one.best:.3f}",
                    "" if shipped is None else f"{shipped:.3f}",
                ]
            )
        )
    return "\n".join(lines)
