"""The commands that train (`gate`, `segment`, `all`, `folds`, `ablate`), and `thresholds` and `trial`."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tyro.conf import OmitArgPrefixes

from lgg.errors import DataError
from lgg.models import GATE
from lgg.weights import REPOSITORY_WEIGHTS, available, load_config
from train.ablations import ABLATIONS, VARIANTS, load_runs, run_variant, save_run
from train.accelerator import make_accelerator
from train.checkpoint import runs_folder
from train.everything import train_everything
from train.feed import Memory
from train.folds import fold_done, judge_folds, train_fold
from train.index import index_folder, load_volumes
from train.job import Job, choose_on, default_home, run_job, sides_of, tumour_volumes, validated_on
from train.measure import Model, Segmenter, announce, take_in, write_out
from train.recipe import Changes
from train.recipes import RecipeName
from train.splits import FOLDS, Protocol, draw_folds
from train.track import tracking
from train.trials import TRIALS, at_own_resolution, read_trial, save_trial


@dataclass(frozen=True)
class Common:
    """Data and recipe."""

    data: Path
    """Folder of the data set (kaggle_3m, or the folder that holds it)."""
    recipe: RecipeName | None = None
    """cpu (two cores, lower resolution first), gpu (full resolution) or reference (as the published network
    was trained); by default gpu where there is one."""
    name: str = ""
    """Name of the run's folder in $LGG_RUNS (default ~/lgg-runs); by default the model's name, `all` or
    `folds`."""
    stages: int | None = None
    """Only the first so many stages of the recipe: 1 of cpu leaves the finish at full resolution out."""
    patients: int | None = None
    """Only the first so many patients of each side or fold, for a trial."""
    memory: Memory = "auto"
    """Keep the data set on the device (resident), or stream it; auto streams only what does not fit."""
    track: bool = False
    """Send each epoch's figures to trackio (pip install trackio; trackio show)."""


@dataclass(frozen=True)
class Kept(Common):
    """Data, recipe and destination."""

    split: Protocol = "patient"
    """patient (honest) or slice (as the reference did, leaky)."""
    out: Path | None = None
    """Folder of weights that gets the model, as OUT/<model>; by default `weights` in the run's folder."""
    resume: bool = False
    """Go on where the run stopped."""
    restart: bool = False
    """Throw away what a run of this name has done, and begin again."""


@dataclass(frozen=True)
class Run(Kept):
    """Data, recipe and destination, and whose weights are taken over."""

    teacher: Path | None = None
    """Folder of a segmenter's weights (say weights/unet-lite0) to learn from beside the masks: a segmenter
    from its probabilities, the gate from its encoder."""
    start: Path | None = None
    """Folder of the same network's weights (say weights/unet-lite0) to begin with instead of fresh ones."""
    skip_stages: int = 0
    """Leave out so many of the recipe's first stages: those that the weights of --start have behind them."""


def gate(run: OmitArgPrefixes[Run], changes: OmitArgPrefixes[Changes]) -> None:
    """Train the gate: is there a glioma in this slice?"""
    _train(GATE, run, changes)


def segment(model: Segmenter, run: OmitArgPrefixes[Run], changes: OmitArgPrefixes[Changes]) -> None:
    """Train a segmenter: which pixels are tumour?

    Args:
        model: Which network.
    """
    _train(model, run, changes)


def _train(architecture: str, run: Run, changes: Changes) -> None:
    job = replace(
        _job(architecture, architecture, run, changes),
        teacher=run.teacher,
        start=run.start,
        skip=run.skip_stages,
    )
    with tracking(job.home.name, job.shown, run.track) as watch:
        made = run_job(job, run.resume, run.restart, watch)
    if made:
        print(made)


def everything(
    run: OmitArgPrefixes[Kept], changes: OmitArgPrefixes[Changes], models: tuple[Model, ...] = ()
) -> None:
    """Train all five networks, U-Net Lite0 first: it teaches the others.

    Args:
        models: Only these; by default all.
    """
    train_everything(_job(GATE, "all", run, changes), models, run.resume, run.restart, run.track)


def _job(architecture: str, usual_name: str, run: Kept, changes: Changes) -> Job:
    """What a command asks for, as a job; its folder has the usual name where none is given."""
    patients = index_folder(run.data)
    return Job(
        architecture=architecture,
        recipe=run.recipe or _usual_recipe(),
        changes=changes,
        patients=patients,
        sides=sides_of(patients, run.split, run.patients),
        protocol=run.split,
        home=default_home(usual_name, run.split, run.name),
        out=run.out,
        memory=run.memory,
        stage_limit=run.stages,
    )


def _usual_recipe() -> RecipeName:
    return "gpu" if torch.cuda.is_available() else "cpu"


def thresholds(
    data: Path,
    models: tuple[Model, ...] = (),
    weights: Path = REPOSITORY_WEIGHTS,
) -> None:
    """Choose thresholds again, on what each model was validated on, and write them into config.json.

    Args:
        data: Folder of the data set.
        models: Which models; by default all in the folder of weights. The gate comes first.
        weights: Folder of weights.
    """
    patients = index_folder(data)
    for name in models or available(weights):
        keys = validated_on(load_config(weights / name), patients)
        print(f"{name}: {choose_on(name, patients, keys, weights, weights)}")


def folds(
    models: tuple[Segmenter, ...],
    run: OmitArgPrefixes[Common],
    changes: OmitArgPrefixes[Changes],
    only: tuple[int, ...] = (),
    record: Path | None = None,
) -> None:
    """Cross-validate: every patient judged by networks that never saw it. What is done is not repeated.

    The same command goes on where it stopped.

    Args:
        models: Which segmenters; the gate is trained with them.
        only: Train these folds (0 to 4) alone; the results come once all five are done.
        record: Results file that takes them in, such as weights/results.json.
    """
    patients = index_folder(run.data)
    names = draw_folds(list(patients), tumour_volumes(patients))
    names = [one[: run.patients] for one in names]
    home = runs_folder() / (run.name or "folds")
    recipe = run.recipe or _usual_recipe()
    job = Job(GATE, recipe, changes, patients, {}, "patient", home, memory=run.memory, stage_limit=run.stages)
    for number in only or range(FOLDS):
        train_fold(job, models, names, number, run.track)
    missing = [number for number in range(FOLDS) if not fold_done(home, models, number)]
    if missing:
        print(f"Folds that are not done yet: {', '.join(map(str, missing))}.")
        return
    found = judge_folds(home, models, names, patients)
    announce(found)
    write_out(found, home / "results.json", home / "fold0" / "weights")
    take_in(found, record)


def ablate(
    data: Path,
    only: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0,),
    recipe: RecipeName | None = None,
    epochs: int | None = None,
    slices_per_epoch: int | None = None,
    record: Path = ABLATIONS,
) -> None:
    """Train the recipe with one thing changed at a time. What is done is not repeated.

    Args:
        data: Folder of the data set.
        only: Names of changes (see train/ablations.py), in the order in which to train; by default all.
        seeds: How often, and with which seeds.
        recipe: Which recipe is changed; by default gpu where there is one, else cpu.
        epochs: Of each run; by default half of the recipe's first stage.
        slices_per_epoch: Slices drawn in an epoch; by default the recipe's.
        record: JSON file that takes each run as it is done; `report` makes a table of it.
    """
    unknown = set(only) - set(VARIANTS)
    if unknown:
        raise DataError(f"No such change: {', '.join(sorted(unknown))}. Choose from {', '.join(VARIANTS)}.")
    patients, recipe = index_folder(data), recipe or _usual_recipe()
    sides = sides_of(patients, "patient")
    done = {(one.variant, one.seed, one.recipe) for one in load_runs(record)}
    for seed in seeds:
        for name in only or VARIANTS:
            if (name, seed, recipe) in done:
                continue
            home = runs_folder() / "ablations"
            run = run_variant(name, seed, recipe, patients, sides, home, epochs, slices_per_epoch)
            if make_accelerator().is_main_process:
                save_run(run, record)
                print(f"{name}, seed {seed}: volume mean {np.mean(run.volume['volume']):.4f}")


def trial(run: str, what: str, data: Path | None = None, record: Path = TRIALS) -> None:
    """Keep the figures of a run that will not ship, so that nobody tries it again without knowing.

    Args:
        run: Name of the run in $LGG_RUNS (default ~/lgg-runs), finished or not.
        what: What was tried, in words.
        data: Folder of the data set: compares run and weights that ship at the slices' own resolution, where
            they were trained at different ones.
        record: JSON file that takes it; `report` makes a table of it.
    """
    home = runs_folder() / run
    found = read_trial(home, what)
    if data is not None:
        patients = index_folder(data)
        found = at_own_resolution(
            found, home, load_volumes(patients, sides_of(patients, "patient")["validation"])
        )
    save_trial(found, record)
    print(f"{run}: {found.best:.4f} on the validation side after {sum(found.epochs)} epochs")
