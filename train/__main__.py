"""The command line: `python -m train gate|segment|thresholds|evaluate|folds|ablate|report|speed --help`."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from tyro.conf import OmitArgPrefixes

from lgg.cascade import Cascade
from lgg.errors import DataError, LggError
from lgg.files import write_text
from lgg.models import GATE
from lgg.weights import REPOSITORY_WEIGHTS, available
from train import evaluate as evaluation
from train import report as reporting
from train import speed as speeds
from train.ablations import ABLATIONS, VARIANTS, load_runs, run_variant, save_run
from train.accelerator import make_accelerator
from train.checkpoint import runs_folder
from train.feed import Memory
from train.folds import fold_done, judge_folds, train_fold
from train.index import index_folder
from train.job import Job, choose_on, default_home, run_job, sides_of, tumour_volumes
from train.recipe import Changes
from train.recipes import RecipeName
from train.results import Results, collect, load_results, save_results
from train.splits import FOLDS, Protocol, draw_folds
from train.stop import Stopped
from train.track import tracking

Segmenter = Literal["unet", "unet-mini", "unet-resnext50", "unet-lite0"]
Model = Literal["gate", "unet", "unet-mini", "unet-resnext50", "unet-lite0"]
#: What a shell reports of a program that SIGTERM ended.
TERMINATED = 128 + 15


@dataclass(frozen=True)
class Run:
    """Data, recipe and destination."""

    data: Path
    """Folder of the data set (kaggle_3m, or the folder that holds it)."""
    recipe: RecipeName | None = None
    """cpu (two cores, half resolution first), gpu (full resolution) or reference (as the published network
    was trained); by default gpu where there is one."""
    split: Protocol = "patient"
    """patient (honest) or slice (as the reference did, leaky)."""
    name: str = ""
    """Name of the run's folder in $LGG_RUNS (default ~/lgg-runs); by default the model's name."""
    out: Path | None = None
    """Folder of weights that gets the model, as OUT/<model>; by default `weights` in the run's folder."""
    resume: bool = False
    """Go on where the run stopped."""
    restart: bool = False
    """Throw away what a run of this name has done, and begin again."""
    stages: int | None = None
    """Only the first so many stages of the recipe: 1 of cpu leaves the finish at full resolution out."""
    patients: int | None = None
    """Only the first so many patients of each side, for a trial."""
    teacher: Path | None = None
    """Folder of a segmenter's weights (say weights/unet-lite0) to learn from beside the masks."""
    memory: Memory = "auto"
    """Keep the data set on the device (resident), or stream it; auto streams only what does not fit."""
    track: bool = False
    """Send each epoch's figures to trackio (pip install trackio; trackio show)."""


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
    patients = index_folder(run.data)
    job = Job(
        architecture=architecture,
        recipe=run.recipe or _usual_recipe(),
        changes=changes,
        patients=patients,
        sides=sides_of(patients, run.split, run.patients),
        protocol=run.split,
        home=default_home(architecture, run.split, run.name),
        out=run.out,
        teacher=run.teacher,
        memory=run.memory,
        stage_limit=run.stages,
    )
    shown = {
        "architecture": architecture,
        "recipe": job.recipe,
        "stages": [asdict(one) for one in job.stages],
    }
    with tracking(job.home.name, shown, run.track) as watch:
        made = run_job(job, run.resume, run.restart, watch)
    if made:
        print(made)


def _usual_recipe() -> RecipeName:
    return "gpu" if torch.cuda.is_available() else "cpu"


def thresholds(
    data: Path,
    models: tuple[Model, ...] = (),
    weights: Path = REPOSITORY_WEIGHTS,
) -> None:
    """Choose thresholds again, on the validation patients, and write them into config.json.

    Args:
        data: Folder of the data set.
        models: Which models; by default all in the folder of weights. The gate comes first.
        weights: Folder of weights.
    """
    patients = index_folder(data)
    validation = sides_of(patients, "patient")["validation"]
    for name in models or available(weights):
        print(f"{name}: {choose_on(name, patients, validation, weights, weights)}")


def evaluate(
    data: Path,
    patients: str = "test",
    models: tuple[Segmenter, ...] = (),
    weights: Path = REPOSITORY_WEIGHTS,
    split: Protocol = "patient",
    out: Path | None = None,
    record: Path | None = None,
) -> None:
    """Measure weights and print the headline figures.

    Args:
        data: Any folder of the data set's shape.
        patients: all, train, validation, test, regression, fold0 to fold4, or names separated by commas.
        models: Which segmenters; by default all in the folder of weights.
        weights: Folder of weights.
        split: slice: on the test slices of the slice split, whichever their patients (leaky).
        out: JSON file for everything that was measured; its tables are written beside it, as Markdown.
        record: Results file that takes it in beside what it holds, such as weights/results.json, from which
            `report` writes README, cards and figures.
    """
    index = index_folder(data)
    keys = None
    if split == "slice":
        keys = sides_of(index, "slice")["test"]
        patients = ",".join(sorted({key.rpartition("_")[0] for key in keys}))
    chosen = evaluation.choose_patients(index, patients, sides_of(index, "patient"))
    found, times = Results(), []
    for name in models or [one for one in available(weights) if one != GATE]:
        cascade = Cascade.from_pretrained(weights, name)
        rows, results = evaluation.evaluate(cascade, chosen, keys=keys)
        protocol = evaluation.protocol_of(cascade.config, chosen)
        found = found.merged(collect((cascade.gate_config, cascade.config), rows, results, protocol))
        times += [one for one in rows if one.measure.startswith("ms_")]
    _announce(found, times)
    _save(found, out, weights)
    _record(found, record)


def folds(
    models: tuple[Segmenter, ...],
    run: OmitArgPrefixes[Run],
    changes: OmitArgPrefixes[Changes],
    only: tuple[int, ...] = (),
    record: Path | None = None,
) -> None:
    """Cross-validate: every patient judged by networks that never saw it. What is done is not repeated.

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
        train_fold(job, models, names, number)
    missing = [number for number in range(FOLDS) if not fold_done(home, models, number)]
    if missing:
        print(f"Folds that are not done yet: {', '.join(map(str, missing))}.")
        return
    found = judge_folds(home, models, names, patients)
    _announce(found)
    _save(found, home / "results.json", home / "fold0" / "weights")
    _record(found, record)


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


def _announce(found: Results, times: list[evaluation.Row] | None = None) -> None:
    if not make_accelerator().is_main_process:
        return
    for row in [*evaluation.headline(found.rows), *(times or [])]:
        bounds = "" if row.low is None else f"[{row.low:.4f}, {row.high:.4f}]"
        print(f"{row.model:15} {row.measure:20} {row.value:8.4f}  {bounds:20} n={row.n}")


def _save(found: Results, path: Path | None, weights: Path) -> None:
    if path and make_accelerator().is_main_process:
        save_results(found, path)
        write_text(path.with_suffix(".md"), reporting.results_page(found, weights, []))


def _record(found: Results, path: Path | None) -> None:
    if path and make_accelerator().is_main_process:
        save_results(load_results(path).merged(found), path)


def report(data: Path | None = None, weights: Path = REPOSITORY_WEIGHTS) -> None:
    """Write weights/results.json, README's and the cards' tables, docs/results.md and the figures.

    Args:
        data: Folder of the data set: measures the weights in the repository on the test patients first.
            Without it, what was recorded before is written out again.
        weights: Folder of weights; of another than the repository's, README and pages stay as they are.
    """
    if data is not None:
        evaluate(data, weights=weights, record=weights / "results.json")
    if make_accelerator().is_main_process:
        reporting.write_report(weights, pages=weights == REPOSITORY_WEIGHTS)


def speed(
    models: tuple[Model, ...] = (),
    size: int = 256,
    batch_size: int | None = None,
    steps: int | None = None,
    compile: bool = False,
    out: Path | None = None,
) -> None:
    """Time a training step of each network, beside what the hardware's bf16 matrix products reach.

    Args:
        models: Which networks; by default all.
        size: Side of the input in pixels.
        batch_size: Slices in a step; by default 32 on a GPU, 4 on a CPU.
        steps: Steps to time, after some to warm up; by default 20 on a GPU, 2 on a CPU.
        compile: With torch.compile.
        out: JSON file for the figures.
    """
    found = speeds.measure(models, size, batch_size, steps, compile)
    print(speeds.table(found))
    if out:
        text = json.dumps([asdict(one) for one in found], indent=1) + "\n"
        write_text(out, text)


def main() -> None:
    """Run a subcommand; our own errors end it with their message, not a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    commands: dict[str, Callable[..., Any]] = {
        "gate": gate,
        "segment": segment,
        "thresholds": thresholds,
        "evaluate": evaluate,
        "folds": folds,
        "ablate": ablate,
        "report": report,
        "speed": speed,
    }
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="python -m train", description=__doc__)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(TERMINATED)
    except LggError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
