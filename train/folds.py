"""Cross-validation: five times train, choose and test, so that every patient is judged by strangers.

Fold k is tested by networks that validated on fold k+1 and learned from the other three. A fold that is
done is never repeated, so the five may be spread over as many sessions.
"""

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path

from lgg.cascade import Cascade
from lgg.errors import DataError
from lgg.files import write_text
from lgg.models import GATE
from train.evaluate import PatientResult, examine_patients, rows_of
from train.job import Job, Patients, run_job
from train.results import Results, collect
from train.splits import Side
from train.track import tracking

log = logging.getLogger(__name__)
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
            found += examine_patients(cascade, {one: patients[one] for one in sorted(names)})
        configs = (cascade.gate_config, cascade.config)
        rows = rows_of(configs, found, "fold")
        everything = everything.merged(collect(configs, rows, found, "fold"))
    return everything
