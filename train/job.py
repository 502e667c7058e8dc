"""One job from data to weights: stage after stage of a recipe, then export, thresholds and card."""

import logging
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lgg.errors import DataError
from lgg.models import GATE
from lgg.weights import REPOSITORY_WEIGHTS, ModelConfig, load_config
from train.accelerator import make_accelerator
from train.checkpoint import CHECKPOINT, read_log, refuse_to_overwrite, runs_folder
from train.dataset import Slices, load_slices
from train.export import choose_thresholds, export, gate_folder
from train.feed import Memory
from train.index import SliceFiles, load_volume, load_volumes
from train.inherit import digest, earlier_epochs, load_start, load_teacher
from train.judge import better
from train.loop import Watch, train
from train.recipe import Changes, Recipe
from train.recipes import RECIPES, RecipeName
from train.splits import Protocol, Side, fixed, select

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
    changes: Changes
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
        DataError: as `train.loop.train`; a side has no patient; the run exists and neither `resume` nor
            `restart` is asked for; or the teacher or the weights to begin with have seen what is not this
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
            "fixed (train/splits.json): add some. Data of your own needs three patients or more."
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
