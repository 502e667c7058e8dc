"""From data to a model's folder of weights: prepare, train each stage, select, export, calibrate.

`run_job` does so for one network, `train_all` for all.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from lgg.cascade import Cascade
from lgg.errors import DataError, WeightsError
from lgg.files import write_text
from lgg.models import GATE, TITLES, build
from lgg.weights import REPOSITORY_WEIGHTS, ModelConfig, load_config, load_model, save_config, save_model
from train.data.dataset import Slices, load_slices
from train.data.kaggle_3m import SliceFiles, Volume, index_folder, load_volume, load_volumes
from train.data.splits import Split, fixed, select
from train.evaluation.thresholds import gate_logits, gate_temperature, gate_threshold, segmenter_thresholds
from train.fit.checkpoint import (
    CHECKPOINT,
    LOG,
    LOG_FILE,
    read_log,
    refuse_to_overwrite,
    runs_folder,
    tracking,
)
from train.fit.initialise import digest, load_start, load_teacher
from train.fit.trainer import TrainResult, train
from train.fit.validate import open_gate, validate_at_full_resolution
from train.hardware import hardware, make_accelerator
from train.recipes import RECIPES, Job, Protocol, Recipe, RecipeName

log = logging.getLogger(__name__)
DATA = "LGG MRI segmentation (kaggle_3m), TCGA; CC BY-NC-SA 4.0 as far as is known"
#: The network that teaches the others.
TEACHER = "unet-lite0"
#: The gate comes as early as it can: its veto is part of every segmenter's thresholds.
ORDER = (TEACHER, GATE, "unet", "unet-mini", "unet-resnext50")
Patients = dict[str, list[SliceFiles]]
Gate = tuple[nn.Module, ModelConfig]


@dataclass(frozen=True)
class Cohort:
    """Who takes part in a training.

    Attributes:
        patients: the data set's index.
        splits: split → its ids, patients or slices.
    """

    patients: Patients
    splits: dict[Split, list[str]]

    def refuse_empty_splits(self) -> None:
        """Raise a `DataError` where there is nobody to learn from or to validate on."""
        if empty := [split for split, ids in self.splits.items() if not ids and split != "test"]:
            raise DataError(
                f"No patient of the {' and the '.join(empty)} split is in the data. The split of kaggle_3m "
                "is fixed (train/data/splits.json): add some. Data of your own needs three patients or more."
            )

    def slices(self, size: int) -> tuple[Slices, Slices]:
        """Those to learn from and those to validate on, for an input of that size."""
        learning, validation = self.splits["train"], self.splits["validation"]
        return load_slices(self.patients, size, learning), load_slices(self.patients, size, validation)


def run_job(architecture: str, job: Job, cohort: Cohort, gated: bool = True) -> Path:
    """Train one network as a job asks; what a run of the same name has done is never lost by accident.

    Args:
        architecture: a name of `lgg.models.BUILDERS`.
        job: its name is that of its folder in `runs_folder()`, in which each stage has one of its own.
        gated: a segmenter's thresholds are chosen behind a gate, the one beside it or else the repository's.

    Raises:
        DataError: as `train.fit.trainer.train`; a split has no patient; the run exists and neither `resume`
            nor `restart` is asked for; or the teacher or the weights to begin with have seen what is not this
            job's to learn from.
        WeightsError: a segmenter's gate is missing: its veto is part of the thresholds.

    Returns:
        The model's folder of weights; only the first of several processes writes it.
    """
    stages = stages_of(architecture, job)
    folders = [runs_folder() / job.name / f"stage{number}" for number, _ in enumerate(stages, 1)]
    weights = weights_of(job) / architecture
    cohort.refuse_empty_splits()
    gate = load_gate(weights.parent, REPOSITORY_WEIGHTS) if gated and architecture != GATE else None
    teacher = None if job.teacher is None else load_teacher(job.teacher, cohort.splits["train"])
    start = None if job.start is None else load_start(job.start, architecture, cohort.splits).state_dict()
    # Last of all: what is refused must not have thrown anything away.
    for folder in folders:
        if job.restart and make_accelerator().is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
        elif not job.resume and not job.restart:
            refuse_to_overwrite(folder)

    validation = partial(load_volumes, cohort.patients, cohort.splits["validation"])
    results: list[TrainResult] = []
    kept = 0
    shown = {"architecture": architecture, "recipe": recipe_name(job), "stages": [asdict(s) for s in stages]}
    with tracking(job.name.replace("/", "-"), shown, job.track) as watch:
        for number, (recipe, folder) in enumerate(zip(stages, folders, strict=True)):
            log.info("%s, %s, in the run '%s'", architecture, folder.name, job.name)
            result = train(
                architecture,
                recipe,
                cohort.slices(recipe.size),
                folder,
                start=results[kept].best if results else start,
                resume=job.resume and (folder / CHECKPOINT).exists(),
                teacher=teacher,
                watch=watch,
            )
            results.append(result)
            if better(result, results[kept], validation):
                kept = number
            else:
                log.info("%s was not better by validation: the stage before it is kept.", folder.name)

    if make_accelerator().is_main_process:
        export(job, cohort, results, kept, weights)
        calibrate(weights, validation(), gate)
        # Last of all: with its log the model is done.
        rows = [row | {"stage": n} for n, folder in enumerate(folders, 1) for row in read_log(folder / LOG)]
        write_text(weights / LOG_FILE, "".join(json.dumps(row) + "\n" for row in rows))
    return weights


def stages_of(architecture: str, job: Job) -> list[Recipe]:
    """The stages of a job's recipe, changed as asked."""
    stages = RECIPES[_recipe(job)][architecture][: job.stages]
    if job.split == "slice":
        # Of a patient two or three slices are in a split, often empty ones: no volume to choose by.
        stages = tuple(
            replace(stage, best_by="slice_tumour") if stage.best_by == "dice" else stage for stage in stages
        )
    return [job.overrides.apply(stage) for stage in stages]


def _recipe(job: Job) -> RecipeName:
    return job.recipe or usual_recipe()


def usual_recipe() -> RecipeName:
    """gpu where there is one, else cpu."""
    return "gpu" if torch.cuda.is_available() else "cpu"


def recipe_name(job: Job) -> str:
    """What results are listed by: a shorter or coarser run must not pass for the recipe's own."""
    return f"{_recipe(job)} ({job.overrides})" if str(job.overrides) else _recipe(job)


def weights_of(job: Job) -> Path:
    """The folder of weights that gets the job's model."""
    return job.out or runs_folder() / job.name / "weights"


def cohort_of(job: Job) -> Cohort:
    """The patients of a job's data set, in its splits."""
    patients = index_folder(job.data)
    return Cohort(patients, splits_of(patients, job.split, job.patients))


def splits_of(patients: Patients, protocol: Protocol, limit: int | None = None) -> dict[Split, list[str]]:
    """The ids of each split, patients or slices; of patients only the first `limit`."""
    if protocol == "slice":
        return select([slice_.id for slices in patients.values() for slice_ in slices], "slice")
    splits = select(list(patients), "patient", tumour_volumes(patients))
    return {split: names[:limit] for split, names in splits.items()}


def tumour_volumes(patients: Patients) -> dict[str, int]:
    """Tumour pixels a patient, read only where the fixed split does not already decide."""
    known = {name for names in fixed()["patient"].values() for name in names}
    strangers = {name: slices for name, slices in patients.items() if name not in known}
    return {name: int(load_volume(slices).masks.sum()) for name, slices in strangers.items()}


def better(result: TrainResult, best: TrainResult, volumes: Callable[[], Sequence[Volume]]) -> bool:
    """Whether a stage is at least as good as the best one before it.

    Chosen by different measures, the later one counts; of segmenters at different resolutions, the one that
    is better at the slices' own.

    Args:
        volumes: reads the validation split, where that is needed.
    """
    best_by = result.recipe.best_by
    if best_by != best.recipe.best_by:
        return True
    if result.recipe.size == best.recipe.size or best_by not in ("dice", "slice_tumour"):
        return result.best_score >= best.best_score
    read = volumes()
    return _full_resolution_score(result, read) >= _full_resolution_score(best, read)


def _full_resolution_score(result: TrainResult, volumes: Sequence[Volume]) -> float:
    """The measure that chose the epoch, at the slices' own resolution."""
    stats = validate_at_full_resolution(result.architecture, result.recipe.size, result.best, volumes)
    by_volume = result.recipe.best_by == "dice"
    return float(np.mean(stats.volume["volume"])) if by_volume else stats.slice_tumour["volume"]


def split_of(job: Job, cohort: Cohort) -> dict[str, Any]:
    """For the config: which patients, or how many slices, are in which split."""
    named = {str(split): ids for split, ids in cohort.splits.items()}
    if job.split == "patient":
        return {"protocol": job.split, **named}
    # Thousands of slices: how many, and by what to know those learned from again.
    counts = {split: len(ids) for split, ids in named.items()}
    return {"protocol": job.split, **counts, "learned_from": digest(cohort.splits["train"])}


def export(job: Job, cohort: Cohort, results: Sequence[TrainResult], kept: int, folder: Path) -> None:
    """Write the best epoch's weights and what is known of them into a model's folder.

    Args:
        results: of all stages.
        kept: which of them is the best.
    """
    best, stages = results[kept], [result.recipe for result in results[: kept + 1]]
    model = build(best.architecture)
    model.load_state_dict(best.best)
    training: dict[str, Any] = {"recipe": recipe_name(job), "initialised": results[0].initialised}
    training["minutes"] = round(sum(result.seconds for result in results) / 60, 1)
    if job.start is not None:
        begun = load_config(job.start)
        training["start"] = {"sha256": begun.sha256, "stages": begun.recipe} | begun.training
    if job.teacher is not None:
        training["teacher"] = job.teacher.name
    training |= {
        "epochs": [stage.epochs for stage in stages],
        "best_epoch": best.best_epoch,
        "processes": make_accelerator().num_processes,
        "hardware": hardware(),
        "torch": torch.__version__,
    }
    config = ModelConfig(
        architecture=best.architecture,
        input_size=best.recipe.size,
        data=DATA,
        split=split_of(job, cohort),
        recipe=[asdict(stage) for stage in stages],
        training=training,
        date=date.today().isoformat(),
    )
    save_model(folder, model, config)


def calibrate(folder: Path, volumes: list[Volume], gate: Gate | None = None) -> None:
    """Choose a model's thresholds, and a gate's temperature, on validation volumes; its config gets them.

    Args:
        folder: the model's own.
        gate: stands before a segmenter; None: nothing does.
    """
    model, config = load_model(folder)
    if config.architecture == GATE:
        logits, tumour = gate_logits(model, config, volumes)
        temperature = gate_temperature(logits, tumour)
        threshold = gate_threshold(1 / (1 + np.exp(-logits / temperature)), tumour)
        alone = replace(config.thresholds, gate=threshold)
        config = replace(config, thresholds=alone, temperature=temperature)
    else:
        alone, series = segmenter_thresholds(Cascade(gate or open_gate(), (model, config)), volumes)
        config = replace(config, thresholds=alone, series_thresholds=series)
    save_config(folder, config)


def average(folders: Sequence[Path], patients: Patients, out: Path) -> Path:
    """Model soup (Wortsman et al., 2022): mean of a segmenter's weights and of those that went on from them.

    Args:
        folders: their folders of weights, first the one that the others began from; its config is kept.
        patients: the data set's index; the mean's thresholds are chosen on the validation split.
        out: folder of weights that gets the mean.

    Raises:
        DataError: they are not trainings of one segmenter by one split; or as `validated_on`.
        WeightsError: weights or a gate are missing.

    Returns:
        The mean's own folder, OUT/<model>.
    """
    loaded = [load_model(folder) for folder in folders]
    kinds = [(config.architecture, config.input_size, config.split) for _, config in loaded]
    if len(loaded) < 2 or GATE in kinds[0] or any(kind != kinds[0] for kind in kinds):
        raise DataError(
            "An average is of two or more trainings of one segmenter, by the same split and at the same "
            "size: train with --start and another --seed each."
        )
    (model, config), *others = loaded
    volumes = load_volumes(patients, validated_on(config, patients))
    gate = load_gate(out, REPOSITORY_WEIGHTS)
    mean = AveragedModel(model, use_buffers=True)
    for network, _ in loaded:
        mean.update_parameters(network)
    averaged = [
        {"sha256": other.sha256} | {name: other.training[name] for name in ("recipe", "minutes")}
        for _, other in others
    ]
    training = config.training | {"averaged": averaged}
    config = replace(config, training=training, metrics={}, date=date.today().isoformat())
    save_model(out / config.architecture, mean.module, config)
    calibrate(out / config.architecture, volumes, gate)
    return out / config.architecture


def load_gate(*folders: Path) -> Gate:
    """The gate of the first folder of weights that holds one.

    Raises:
        WeightsError: none does.
    """
    for folder in folders:
        if (folder / GATE).is_dir():
            return load_model(folder / GATE)
    raise WeightsError(
        f"No {TITLES[GATE]} found: train it first, its veto is part of a segmenter's thresholds."
    )


def calibrate_again(folder: Path, patients: Patients) -> None:
    """Choose a trained model's thresholds again, on its own validation split, behind the gate beside it.

    Raises:
        DataError: none of its validation patients is in the data.
    """
    config = load_config(folder)
    gate = None if config.architecture == GATE else load_gate(folder.parent)
    calibrate(folder, load_volumes(patients, validated_on(config, patients)), gate)


def validated_on(config: ModelConfig, patients: Patients) -> list[str]:
    """The ids of a trained model's own validation split, patients or slices.

    Raises:
        DataError: none of them is in the data.
    """
    if config.split.get("protocol") == "slice":
        return splits_of(patients, "slice")["validation"]
    if present := [name for name in config.split.get("validation", []) if name in patients]:
        return present
    raise DataError(
        f"No patient on whom {config.architecture} was validated is in the data: give the folder that it was "
        "trained from."
    )


def train_all(job: Job, cohort: Cohort, models: Sequence[str] = (), own_gate: bool = False) -> Iterator[Path]:
    """Train the networks, each in a folder of its own within the run's, the teacher first.

    Args:
        job: the pattern of the jobs: recipe, data, the run's name, and where the weights go.
        models: only these; by default all.
        own_gate: choose thresholds without a gate where the folder holds none, instead of behind the
            repository's.

    Raises:
        DataError, WeightsError, Stopped: as `run_job`.

    Yields:
        Each model's folder of weights once it is done.
    """
    if job.start:
        raise DataError("--start holds the weights of one network: give it to gate or segment.")
    wanted = [name for name in ORDER if name in (models or ORDER)]
    target = weights_of(job)
    for name in wanted:
        teacher = job.teacher
        # The published network had no teacher.
        if name != TEACHER and _recipe(job) != "reference" and (target / TEACHER).is_dir():
            teacher = target / TEACHER
        own = replace(job, name=f"{job.name}/{name}", out=target, teacher=teacher)
        yield run_job(name, own, cohort, gated=not own_gate or (target / GATE).is_dir())
        make_accelerator().wait_for_everyone()  # the next may learn from what the first process has written
    if GATE in wanted and (target / TEACHER).is_dir() and make_accelerator().is_main_process:
        # Its thresholds were chosen before there was this gate.
        calibrate_again(target / TEACHER, cohort.patients)
        yield target / TEACHER
