"""Trainings that did not ship, kept with their figures, so that nobody tries them blindly again."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lgg.errors import DataError
from lgg.models import GATE, TITLES
from lgg.weights import REPOSITORY_WEIGHTS, load_model
from train.checkpoint import CHECKPOINT, load_checkpoint, read_log
from train.export import read_training, validation_measure
from train.index import Volume
from train.judge import judge
from train.records import load_records, save_records
from train.tables import header, line

TRIALS = REPOSITORY_WEIGHTS / "trials.json"
#: Marks figures at the slices' own resolution.
OWN = "\\*"
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
        best: on the validation side, by the measure that chooses epochs, at the last stage's resolution.
        own: mean Dice of the validation volumes at the slices' own resolution, of the run and of the weights
            that ship; empty where one scale serves both.
    """

    run: str
    architecture: str
    what: str
    epochs: list[int]
    sizes: list[int]
    minutes: float
    best: float
    own: list[float] = field(default_factory=list)


def read_trial(home: Path, what: str) -> Trial:
    """What a run has reached so far, finished or not.

    Args:
        home: the run's folder, with a folder a stage.
        what: what was tried, in words.

    Raises:
        DataError: it has no finished epoch, or its checkpoint cannot be read.
    """
    logs = [(load_checkpoint(folder, {}), read_log(folder)) for folder in _stages(home)]
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


def at_own_resolution(
    trial: Trial, home: Path, volumes: Sequence[Volume], weights: Path = REPOSITORY_WEIGHTS
) -> Trial:
    """The trial with its last stage and the weights that ship measured on one scale, see `train.judge`.

    Raises:
        DataError: it is of a gate, whose AUROC is on one scale at every resolution.
        WeightsError: no weights of its network are there to compare with.
    """
    if trial.architecture == GATE:
        raise DataError("A gate's AUROC is on one scale at every resolution: leave --data out.")
    state = load_checkpoint(_stages(home)[-1], {})
    shipped, config = load_model(weights / trial.architecture)
    both = ((state["recipe"]["size"], state["best"]), (config.input_size, shipped.state_dict()))
    dices = [judge(trial.architecture, size, values, volumes)[0]["volume"] for size, values in both]
    return replace(trial, own=[round(float(np.mean(one)), 5) for one in dices])


def _stages(home: Path) -> list[Path]:
    """The folders of a run's stages that have a finished epoch, in their order."""
    begun = [one for one in home.glob("stage*") if (one / CHECKPOINT).exists()]
    return sorted(begun, key=lambda folder: int(folder.name.removeprefix("stage")))


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
        figures: Sequence[float | None] = one.own or (one.best, shipped)
        mark = OWN if one.own else ""
        lines.append(
            line(
                [
                    TITLES[one.architecture],
                    one.what,
                    " + ".join(map(str, one.epochs)),
                    " + ".join(map(str, one.sizes)),
                    f"{one.minutes:.0f}",
                    *("" if figure is None else f"{figure:.3f}{mark}" for figure in figures),
                ]
            )
        )
    return "\n".join(lines)
