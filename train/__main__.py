"""Train networks that outline gliomas in MRI slices, and measure them.

The usual order: `gate`, then `segment` (the gate's veto takes part in its thresholds), then `report`; or
`all`, which trains all five networks.
`python -m train COMMAND --help` says what a command can do; README's "Train your own" has examples.
"""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
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
from lgg.weights import REPOSITORY_WEIGHTS, available, load_config
from train import report as reporting
from train.ablation import ABLATIONS, VARIANTS, load_runs, run_variant, save_run
from train.data.dataset import Memory
from train.data.kaggle_3m import index_folder
from train.data.splits import FOLDS, Protocol, draw_folds
from train.evaluation import benchmark as speeds
from train.evaluation import evaluate as evaluation
from train.evaluation.results import TIMING, Results, collect, load_results, save_results
from train.fit.checkpoint import runs_folder
from train.fit.trainer import Stopped, tracking
from train.hardware import make_accelerator
from train.pipeline import (
    Job,
    choose_on,
    default_home,
    fold_done,
    judge_folds,
    run_job,
    sides_of,
    train_everything,
    train_fold,
    tumour_volumes,
    validated_on,
)
from train.recipes import Overrides, RecipeName

log = logging.getLogger(__name__)
Segmenter = Literal["unet", "unet-mini", "unet-resnext50", "unet-lite0"]
Model = Literal["gate", "unet", "unet-mini", "unet-resnext50", "unet-lite0"]


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


def gate(run: OmitArgPrefixes[Run], changes: OmitArgPrefixes[Overrides]) -> None:
    """Train the gate: is there a glioma in this slice?"""
    _train(GATE, run, changes)


def segment(model: Segmenter, run: OmitArgPrefixes[Run], changes: OmitArgPrefixes[Overrides]) -> None:
    """Train a segmenter: which pixels are tumour?

    Args:
        model: Which network.
    """
    _train(model, run, changes)


def _train(architecture: str, run: Run, changes: Overrides) -> None:
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
    run: OmitArgPrefixes[Kept], changes: OmitArgPrefixes[Overrides], models: tuple[Model, ...] = ()
) -> None:
    """Train all five networks, U-Net Lite0 first: it teaches the others.

    Args:
        models: Only these; by default all.
    """
    train_everything(_job(GATE, "all", run, changes), models, run.resume, run.restart, run.track)


def _job(architecture: str, usual_name: str, run: Kept, changes: Overrides) -> Job:
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
    changes: OmitArgPrefixes[Overrides],
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
    found, note = Results(), ""
    times: dict[str, evaluation.Row] = {}
    for name in models or [one for one in available(weights) if one != GATE]:
        cascade = Cascade.from_pretrained(weights, name)
        if seen := evaluation.seen((cascade.gate_config, cascade.config), chosen):
            note = (
                f"Of these {len(chosen)} patients, {len(seen)} were trained or chosen on: what follows says "
                "little about patients that the networks have never seen."
            )
            log.warning("%s: %s", name, note)
        if seen and record:
            raise DataError(
                f"{record.name} takes no results of patients that were trained or chosen on, such as "
                f"{seen[0]}. Evaluate --patients test, or leave --record out."
            )
        rows, results = evaluation.evaluate(cascade, chosen, keys=keys)
        protocol = evaluation.protocol_of(cascade.config, chosen)
        found = found.merged(collect((cascade.gate_config, cascade.config), rows, results, protocol))
        times |= {one.model: one for one in rows if one.measure.startswith(TIMING)}
    announce(found, list(times.values()))
    write_out(replace(found, rows=[*found.rows, *times.values()]), out, weights, note)
    take_in(found, record)


def announce(found: Results, times: list[evaluation.Row] | None = None) -> None:
    """Print the headline figures, and times."""
    if not make_accelerator().is_main_process:
        return
    for row in [*evaluation.headline(found.rows), *(times or [])]:
        bounds = "" if row.low is None else f"[{row.low:.4f}, {row.high:.4f}]"
        print(f"{row.model:15} {row.measure:20} {row.value:8.4f}  {bounds:20} n={row.n}")


def write_out(found: Results, path: Path | None, weights: Path, note: str = "") -> None:
    """Results as a file of their own, with its tables beside it as Markdown, under a note if there is one."""
    if path and make_accelerator().is_main_process:
        save_results(found, path)
        write_text(path.with_suffix(".md"), reporting.results_page(found, weights, [], note))


def take_in(found: Results, path: Path | None) -> None:
    """Results into a file that holds others already."""
    if path and make_accelerator().is_main_process:
        save_results(load_results(path).merged(found), path)


def report(data: Path | None = None, weights: Path = REPOSITORY_WEIGHTS) -> None:
    """Write weights/results.json, README's and the cards' tables, docs/results.md and the figures.

    Args:
        data: Folder of the data set: measures the weights in the repository on the test patients first.
            Without it, what was recorded before is written out again.
        weights: Folder of weights; of another than the repository's, the tables go into its own results.md,
            and README and docs/ stay as they are.
    """
    if data is not None:
        evaluate(data, weights=weights, record=weights / "results.json")
    if make_accelerator().is_main_process:
        own = weights.resolve() != REPOSITORY_WEIGHTS.resolve()
        reporting.write_report(weights, pages=not own)
        page = weights / reporting.OWN_PAGE if own else reporting.PAGE.relative_to(reporting.ROOT)
        print(
            f"Tables: {page}. Numbers: results.json in {weights.name}/, figures in {weights.name}/figures/."
        )


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
    print(speeds.step_table(found))
    if out:
        text = json.dumps([asdict(one) for one in found], indent=1) + "\n"
        write_text(out, text)


#: What a shell reports of a program that SIGTERM ended.
TERMINATED = 128 + 15


def main() -> None:
    """Run a subcommand; our own errors end it with their message, not a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    commands: dict[str, Callable[..., Any]] = {
        "gate": gate,
        "segment": segment,
        "all": everything,
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
