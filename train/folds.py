"""Cross-validation: train, choose and test five times; every patient is judged by networks that never saw it.

`train_fold` trains a fold's networks, `judge_folds` evaluates folds, `compare_runs` compares two runs.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lgg.cascade import Cascade
from lgg.errors import DataError
from lgg.metrics import bootstrap_interval
from lgg.models import GATE
from lgg.weights import ModelConfig, load_config, load_model
from train.data.splits import Split, draw_folds
from train.evaluation.evaluate import PatientResult, evaluate_patients
from train.evaluation.patient_metrics import Mode
from train.evaluation.results import PatientRow, Results, collect, load_results, record_results
from train.fit.checkpoint import LOG_FILE, runs_folder
from train.fit.validate import open_gate
from train.hardware import make_accelerator
from train.pipeline import Cohort, Patients, recipe_name, split_of, train_all, tumour_volumes, weights_of
from train.recipes import Job

log = logging.getLogger(__name__)
FOLD_RESULTS = "results.json"
#: What folds are evaluated in: the figures that are quoted, lone slices, FLAIR alone.
FOLD_MODES: tuple[Mode, ...] = ("volume", "slice", "flair")


def folds_of(patients: Patients, limit: int | None = None) -> list[list[str]]:
    """The five folds' patients, of each only the first `limit`."""
    return [names[:limit] for names in draw_folds(list(patients), tumour_volumes(patients))]


def fold_splits(folds: list[list[str]], number: int) -> dict[Split, list[str]]:
    """Who trains, validates and tests in one fold."""
    test, validation = folds[number], folds[(number + 1) % len(folds)]
    away = {*test, *validation}
    return {
        "train": sorted(name for names in folds for name in names if name not in away),
        "validation": sorted(validation),
        "test": sorted(test),
    }


def train_fold(
    job: Job, patients: Patients, folds: list[list[str]], number: int, models: Sequence[str], gate: bool
) -> None:
    """Train the networks of one fold that are not done, as `train_all` does.

    Args:
        job: the pattern of the fold's jobs; its name is that of the folds' run.
        models: segmenters.
        gate: train the fold's own gate too; where there is one, thresholds are chosen behind it.

    Raises:
        DataError: as `run_job`; or a network was made with another recipe or of other patients.
    """
    cohort = Cohort(patients, fold_splits(folds, number))
    name = f"{job.name}/fold{number}"
    own = replace(job, name=name, out=runs_folder() / name / "weights", resume=True)
    wanted = [*([GATE] if gate else []), *models]
    left = [model for model in wanted if not is_done(weights_of(own) / model, own, cohort)]
    log.info("Fold %d: done before: %s.", number, ", ".join(set(wanted) - set(left)) or "nothing")
    if left:
        # Never the repository's gate: it has learned from patients of this fold.
        list(train_all(own, cohort, left, own_gate=True))


def is_done(folder: Path, job: Job, cohort: Cohort) -> bool:
    """Whether a fold's model is trained and calibrated.

    Raises:
        DataError: it is, but with another recipe or of other patients.
    """
    if not (folder / LOG_FILE).exists():
        return False
    config = load_config(folder)
    if (config.training.get("recipe"), config.split) != (recipe_name(job), split_of(job, cohort)):
        raise DataError(
            f"{folder.name} in the run '{job.name}' was made with another recipe or of other patients. Use "
            "what it began with, or choose another --name."
        )
    return True


def judge_folds(
    run: str, models: Sequence[str], folds: list[list[str]], patients: Patients, numbers: Sequence[int]
) -> Results:
    """Out-of-fold results: each patient judged by networks that never saw it.

    Behind the folds' own gates where all of them have one, else without a gate: then there are rows of the
    cascade `none` alone. The rows of each fold are written into its folder as `results.json`.

    Args:
        run: the name of the folds' run; their networks must be done.
        numbers: which folds.

    Raises:
        WeightsError: a network cannot be loaded.
    """
    homes = {number: runs_folder() / run / f"fold{number}" for number in numbers}
    gated = all((home / "weights" / GATE).is_dir() for home in homes.values())
    first = make_accelerator().is_main_process

    def results_of(configs: tuple[ModelConfig, ModelConfig], found: list[PatientResult]) -> Results:
        results = collect(configs, found, "fold")
        if gated:
            return results
        # An open gate's figures say nothing.
        rows = [row for row in results.rows if row.cascade == "none" and row.model != GATE]
        return replace(results, rows=rows, gates=[])

    whole = Results()
    for name in models:
        everybody: list[PatientResult] = []
        for number, home in homes.items():
            weights = home / "weights"
            gate = load_model(weights / GATE) if gated else open_gate()
            cascade = Cascade(gate, load_model(weights / name))
            chosen = {patient: patients[patient] for patient in sorted(folds[number])}
            found = evaluate_patients(cascade, chosen, FOLD_MODES)
            configs = (cascade.gate_config, cascade.config)
            if first:
                record_results(results_of(configs, found), home / FOLD_RESULTS)
            everybody += found
        whole = whole.merged(results_of(configs, everybody))
    return whole


def compare_runs(
    ours: Sequence[PatientRow], run: str, numbers: Sequence[int]
) -> dict[str, tuple[float, float, float, int]]:
    """Paired differences of the volume Dice, ours less another run's, over the patients that both have.

    Args:
        run: the other one's name; `judge_folds` has written its results.
        numbers: which of its folds.

    Raises:
        DataError: they have no patient in common.

    Returns:
        Model → mean difference, the bounds of its 95 % bootstrap interval, and how many patients.
    """
    files = [runs_folder() / run / f"fold{number}" / FOLD_RESULTS for number in numbers]
    other = {(row.model, row.patient): row.volume for file in files for row in load_results(file).patients}
    pairs: dict[str, list[float]] = {}
    for row in ours:
        if (row.model, row.patient) in other:
            pairs.setdefault(row.model, []).append(row.volume - other[row.model, row.patient])
    if not pairs:
        raise DataError(f"The run '{run}' has no results of these folds and networks: judge it first.")
    return {
        model: (float(np.mean(values)), *bootstrap_interval(lambda v: float(np.mean(v)), values), len(values))
        for model, values in pairs.items()
    }
