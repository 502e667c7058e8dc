"""From a finished run to a model's folder: weights, config, thresholds, card; and on to other formats.

`python -m train.pipeline --format onnx` writes the models of a folder of weights for other runtimes.
"""

import json
import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from lgg.cascade import Cascade
from lgg.errors import DataError, LggError, WeightsError
from lgg.files import write_text
from lgg.models import GATE, TITLES, build
from lgg.types import Thresholds
from lgg.weights import (
    REPOSITORY_WEIGHTS,
    ModelConfig,
    available,
    load_config,
    load_model,
    save_config,
    save_model,
)
from train.data.dataset import Memory, Slices, load_slices
from train.data.kaggle_3m import SliceFiles, Volume, load_volume, load_volumes
from train.data.splits import Protocol, Side, fixed, select
from train.evaluation.evaluate import PatientResult, evaluate_patients, rows_of
from train.evaluation.results import Results, collect
from train.evaluation.thresholds import gate_logits, gate_temperature, gate_threshold, segmenter_thresholds
from train.fit.checkpoint import (
    CHECKPOINT,
    LOG_FILE,
    read_log,
    refuse_to_overwrite,
    runs_folder,
)
from train.fit.leakage import digest, earlier_epochs, load_start, load_teacher
from train.fit.trainer import Watch, tracking, train
from train.fit.validate import better
from train.hardware import hardware, make_accelerator
from train.recipes import RECIPES, Overrides, Recipe, RecipeName

DATA = "LGG MRI segmentation (kaggle_3m), TCGA; CC BY-NC-SA 4.0 as far as is known"
#: A line an epoch of the training that made the weights beside it.


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
    from train.report.model_card import write_card

    write_card(folder / architecture, config)
    return config


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
    from train.report.model_card import write_card

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
        from train.publish.onnx import export_onnx

        difference = export_onnx(weights / name, path)
        size = path.stat().st_size / 1e6
        print(f"{path}: {size:.1f} MB, logits within {difference:.1e} of torch's under ONNX Runtime")


def main() -> None:
    """Run the command; our own errors end it with their message, not a traceback."""
    try:
        tyro.cli(convert, prog="python -m train.pipeline", description=__doc__)
    except LggError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()


log = logging.getLogger(__name__)
Patients = dict[str, list[SliceFiles]]


@dataclass(frozen=True)
class Job:
    """What to train, on whom, and where it goes.

    Attributes:
        architecture: a name of `lgg.models.BUILDERS`.
        recipe: name of its recipe, and `changes` to it.
        patients: the data set's index.
        sides: side → its keys, patients or slices.
        protocol: what the sides are.
        home: the run's folder; each stage has one of its own in it.
        out: folder of weights that gets the model; by default `weights` in the run's folder.
        teacher: folder of a segmenter's weights to learn from beside the masks; a gate takes hints from its
            encoder.
        stage_limit: only so many of the recipe's stages.
        start: folder of weights to begin with instead of fresh ones.
        skip: so many of the recipe's first stages are left out, as those that `start` has behind it.
    """

    architecture: str
    recipe: RecipeName
    changes: Overrides
    patients: Patients
    sides: dict[Side, list[str]]
    protocol: Protocol
    home: Path
    out: Path | None = None
    teacher: Path | None = None
    memory: Memory = "auto"
    stage_limit: int | None = None
    start: Path | None = None
    skip: int = 0

    @property
    def stages(self) -> list[Recipe]:
        """The recipe's stages, changed as asked."""
        named = RECIPES[self.recipe][self.architecture][self.skip : self.stage_limit]
        if self.protocol == "slice":
            # Of a patient two or three slices are on a side, often empty ones: no volume to choose by.
            named = tuple(
                replace(one, best_by="slice_tumour") if one.best_by == "dice" else one for one in named
            )
        return [self.changes.apply(one) for one in named]

    @property
    def shown(self) -> dict[str, Any]:
        """What a tracker shows beside the curves."""
        stages = [asdict(one) for one in self.stages]
        return {"architecture": self.architecture, "recipe": self.recipe, "stages": stages}

    @property
    def target(self) -> Path:
        """Folder of weights that gets the model."""
        return self.out or self.home / "weights"


def run_job(job: Job, resume: bool = False, restart: bool = False, watch: Watch | None = None) -> str:
    """Train, export, choose thresholds; what a run of the same name has done is never lost by accident.

    Args:
        resume: go on where the run stopped; stages that are done are not repeated.
        restart: throw the run's earlier stages away first.
        watch: gets each epoch's figures.

    Raises:
        DataError: as `train.fit.trainer.train`; a side has no patient; the run exists and neither `resume`
            nor `restart` is asked for; or the teacher or the weights to begin with have seen what is not this
            job's to learn from.
        WeightsError: a segmenter's gate is missing: its veto is part of the thresholds.

    Returns:
        A line that says what was made.
    """
    folders = [job.home / f"stage{number}" for number, _ in enumerate(job.stages, 1)]
    _check(job)
    teacher = None if job.teacher is None else load_teacher(job.teacher, job.sides["train"])
    start = None if job.start is None else load_start(job.start, job.architecture, job.sides).state_dict()
    # Last of all: what is refused must not have thrown anything away.
    for folder in folders:
        if restart and make_accelerator().is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
        elif not resume and not restart:
            refuse_to_overwrite(folder)
    kept: dict[str, Any] = {}
    stages: list[Recipe] = []
    began_from, minutes = "", 0.0
    for number, (recipe, folder) in enumerate(zip(job.stages, folders, strict=True), start=1):
        log.info("%s, %s, in the run '%s'", job.architecture, folder.name, job.home.name)
        slices = tuple(
            load_keys(job.patients, job.sides[side], recipe.size) for side in ("train", "validation")
        )
        state = train(
            job.architecture,
            recipe,
            (slices[0], slices[1]),
            folder,
            start=kept.get("best", start),
            resume=resume and (folder / CHECKPOINT).exists(),
            teacher=teacher,
            memory=job.memory,
            watch=watch,
        )
        began_from = began_from or state["initialised"]
        minutes += state["seconds"] / 60
        if better(state, kept, lambda: load_volumes(job.patients, job.sides["validation"])):
            kept, stages = state, job.stages[:number]
        else:
            log.info("%s was not better on the validation side: the stage before it is kept.", folder.name)
    if not make_accelerator().is_main_process:
        return ""
    logs = earlier_epochs(job.start, _split(job)) if job.start else []
    behind = max((row["stage"] for row in logs), default=0)
    logs += [
        row | {"stage": number} for number, one in enumerate(folders, behind + 1) for row in read_log(one)
    ]
    export(kept, stages, _split(job), _training(job, began_from, minutes), logs, job.target)
    return f"{job.architecture} in {job.target}: {choose(job)}"


def _check(job: Job) -> None:
    """Refuse now what would fail after hours of training."""
    sides: tuple[Side, ...] = ("train", "validation")
    empty = [side for side in sides if not job.sides[side]]
    if empty:
        raise DataError(
            f"No patient of the {' and the '.join(empty)} side is in the data. The split of kaggle_3m is "
            "fixed (train/data/splits.json): add some. Data of your own needs three patients or more."
        )
    if not job.stages:
        raise DataError(
            f"Nothing is left of the {job.recipe} recipe for {job.architecture}: leave fewer stages out."
        )
    if job.architecture != GATE:
        load_config(gate_folder(job.target, REPOSITORY_WEIGHTS) / GATE)


def _split(job: Job) -> dict[str, Any]:
    """For the config: which patients, or how many slices, stood on which side."""
    if job.protocol == "slice":  # thousands of slices: how many, and by what to know those learned from again
        counts = {str(side): len(keys) for side, keys in job.sides.items()}
        return {"protocol": job.protocol, **counts, "learned_from": digest(job.sides["train"])}
    return {"protocol": job.protocol} | {str(side): keys for side, keys in job.sides.items()}


def _training(job: Job, began_from: str, minutes: float) -> dict[str, Any]:
    """For the config: how the network began, how long it took, and who taught it."""
    # Results are listed by it, and a shorter or coarser run must not pass for the recipe's own.
    name = f"{job.recipe} ({job.changes})" if str(job.changes) else job.recipe
    told = {"recipe": name, "initialised": began_from, "minutes": round(minutes, 1)}
    if job.start is not None:
        begun = load_config(job.start)
        told["start"] = {"sha256": begun.sha256, "stages": begun.recipe} | begun.training
    return told if job.teacher is None else told | {"teacher": job.teacher.name}


def sides_of(patients: Patients, protocol: Protocol, limit: int | None = None) -> dict[Side, list[str]]:
    """The keys of each side, patients or slices; of patients only the first `limit`."""
    if protocol == "slice":
        keys = [one.key for slices in patients.values() for one in slices]
        return select(keys, "slice")
    sides = select(list(patients), "patient", tumour_volumes(patients))
    return {side: names[:limit] for side, names in sides.items()}


def tumour_volumes(patients: Patients) -> dict[str, int]:
    """Tumour pixels a patient, read only where the fixed split does not already decide."""
    known = {name for names in fixed()["patient"].values() for name in names}
    strangers = {name: slices for name, slices in patients.items() if name not in known}
    return {name: int(load_volume(slices).masks.sum()) for name, slices in strangers.items()}


def validated_on(config: ModelConfig, patients: Patients) -> list[str]:
    """The keys of a trained model's own validation side, patients or slices.

    Raises:
        DataError: none of them is in the data.
    """
    if config.split.get("protocol") == "slice":
        return sides_of(patients, "slice")["validation"]
    listed = config.split.get("validation")
    keys = listed if isinstance(listed, list) else sides_of(patients, "patient")["validation"]
    if found := [name for name in keys if name in patients]:
        return found
    raise DataError(
        f"No patient on whom {config.architecture} was validated is in the data: give the folder that it was "
        "trained from."
    )


def load_keys(patients: Patients, keys: list[str], size: int) -> Slices:
    """The slices of one side, by patients or by slices."""
    if set(keys) & set(patients):
        return load_slices({name: patients[name] for name in keys}, size)
    return load_slices(patients, size, keep=keys)


def choose(job: Job) -> str:
    """Choose a job's thresholds on its validation side, and say them."""
    gates = job.target if job.architecture == GATE else gate_folder(job.target, REPOSITORY_WEIGHTS)
    return choose_on(job.architecture, job.patients, job.sides["validation"], job.target, gates)


def choose_on(architecture: str, patients: Patients, keys: list[str], folder: Path, gates: Path) -> str:
    """Choose thresholds of the model in `folder` on the slices or patients of `keys`, and say them."""
    chosen = choose_thresholds(folder, architecture, gates, load_volumes(patients, keys))
    return ", ".join(f"{name} {value:g}" for name, value in asdict(chosen).items())


def default_home(architecture: str, protocol: Protocol, name: str = "") -> Path:
    """The folder of a run: by the name given, else by its network and protocol."""
    return runs_folder() / (name or (architecture if protocol == "patient" else f"{architecture}-{protocol}"))


TEACHER = "unet-lite0"
#: The gate comes as early as it can: its veto is part of every segmenter's thresholds.
ORDER = (TEACHER, GATE, "unet", "unet-mini", "unet-resnext50")


def train_everything(
    job: Job, models: Sequence[str] = (), resume: bool = False, restart: bool = False, track: bool = False
) -> None:
    """Train them, each in a folder of its own within the run's.

    Args:
        job: the pattern of the jobs: recipe, changes, data, the run's folder, and where the weights go.
        models: only these; by default all.
        resume, restart: as for `train.pipeline.run_job`.
        track: send each epoch's figures to trackio.

    Raises:
        DataError, WeightsError, Stopped: as `run_job`.
    """
    wanted = [name for name in ORDER if name in (models or ORDER)]
    target = job.target
    for name in wanted:
        # The published network had no teacher.
        taught = name != TEACHER and job.recipe != "reference" and (target / TEACHER).is_dir()
        teacher = target / TEACHER if taught else None
        one = replace(job, architecture=name, home=job.home / name, out=target, teacher=teacher)
        with tracking(f"{job.home.name}-{name}", one.shown, track) as watch:
            log.info("%s", run_job(one, resume, restart, watch))
        make_accelerator().wait_for_everyone()  # the next may learn from what the first process has written
    if {TEACHER, GATE} <= set(wanted) and make_accelerator().is_main_process:
        # Its thresholds were chosen before there was this gate.
        found = choose_on(TEACHER, job.patients, job.sides["validation"], target, target)
        log.info("%s behind the new gate: %s", TEACHER, found)


#: Written where a fold's network is trained and its thresholds are chosen.
DONE = "done.json"


def fold_sides(folds: list[list[str]], number: int) -> dict[Side, list[str]]:
    """Who learns, validates and tests in one fold."""
    test, validation = folds[number], folds[(number + 1) % len(folds)]
    away = {*test, *validation}
    return {
        "train": sorted(name for names in folds for name in names if name not in away),
        "validation": sorted(validation),
        "test": sorted(test),
    }


def train_fold(
    job: Job, models: tuple[str, ...], folds: list[list[str]], number: int, track: bool = False
) -> None:
    """Train a gate and segmenters of one fold, those that are not done.

    Args:
        job: the pattern of the fold's jobs: recipe, changes, data, and the run's folder.
        models: segmenters; the gate comes first by itself.
        track: send each epoch's figures to trackio.
    """
    home = job.home / f"fold{number}"
    for name in (GATE, *models):
        one = replace(
            job, architecture=name, sides=fold_sides(folds, number), home=home / name, out=home / "weights"
        )
        if _done(one):
            log.info("Fold %d, %s: done before.", number, name)
        else:
            with tracking(f"{job.home.name}-fold{number}-{name}", one.shown, track) as watch:
                log.info("Fold %d: %s", number, run_job(one, resume=True, watch=watch))
            write_text(one.home / DONE, json.dumps(_identity(one)))


def fold_done(home: Path, models: tuple[str, ...], number: int) -> bool:
    """Whether gate and segmenters of a fold have come to their end."""
    return all((home / f"fold{number}" / name / DONE).exists() for name in (GATE, *models))


def _done(job: Job) -> bool:
    """Whether the job has come to its end before.

    Raises:
        DataError: it has, but with another recipe or other patients.
    """
    mark = job.home / DONE
    if not mark.exists():
        return False
    if json.loads(mark.read_text()) != _identity(job):
        raise DataError(
            f"{job.architecture} of {job.home.parent.name} in the run '{job.home.parents[1].name}' was made "
            "with another recipe or on other patients. Use what it began with, or choose another --name."
        )
    return True


def _identity(job: Job) -> dict[str, object]:
    stages = [asdict(one) for one in job.stages]
    return json.loads(json.dumps({"stages": stages, "sides": job.sides}))


def judge_folds(home: Path, models: tuple[str, ...], folds: list[list[str]], patients: Patients) -> Results:
    """Out-of-fold results over all patients; every fold must be done."""
    everything = Results()
    for name in models:
        found: list[PatientResult] = []
        for number, names in enumerate(folds):
            cascade = Cascade.from_pretrained(home / f"fold{number}" / "weights", name)
            found += evaluate_patients(cascade, {one: patients[one] for one in sorted(names)})
        configs = (cascade.gate_config, cascade.config)
        rows = rows_of(configs, found, "fold")
        everything = everything.merged(collect(configs, rows, found, "fold"))
    return everything
