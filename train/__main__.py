"""Train networks that outline gliomas in MRI slices, measure them, and publish them.

The usual order: `gate`, then `segment` (the gate's veto takes part in its thresholds), then `report`; or
`all`, which trains all five networks.
"""

# What a command needs is imported where it runs: `--help` should not wait seconds for torch.

import importlib
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from lgg.cli import first_page
from lgg.errors import DataError, LggError
from train.recipes import Job, Model, Protocol, Run, Segmenter

if TYPE_CHECKING:
    from train.evaluation.results import Results

log = logging.getLogger(__name__)


def gate(job: Job) -> None:
    """Train the gate: is there a glioma in this slice?"""
    _train("gate", job)


def segment(model: Segmenter, job: Job) -> None:
    """Train a segmenter: which pixels are tumour?

    Args:
        model: Which network.
    """
    _train(model, job)


def _train(architecture: str, job: Job) -> None:
    from train.pipeline import cohort_of, run_job

    _describe(run_job(architecture, _named(job, architecture), cohort_of(job)))


def _named(job: Job, usual: str) -> Job:
    """The job under the name it was given, or else under its usual one."""
    return replace(job, name=job.name or (usual if job.split == "patient" else f"{usual}-{job.split}"))


def train_all(job: Job, models: tuple[Model, ...] = ()) -> None:
    """Train all five networks, U-Net Lite0 first: it teaches the others.

    Args:
        models: Only these; by default all.
    """
    from train import pipeline

    for folder in pipeline.train_all(_named(job, "all"), pipeline.cohort_of(job), models):
        _describe(folder)


def _describe(folder: Path) -> None:
    """Write a trained model's card, and print its thresholds."""
    from lgg.weights import load_config
    from train.hardware import make_accelerator
    from train.report.model_card import write_card

    if make_accelerator().is_main_process:
        config = load_config(folder)
        write_card(folder, config)
        thresholds = ", ".join(f"{name} {value:g}" for name, value in asdict(config.thresholds).items())
        print(f"{config.architecture} in {folder.parent}: {thresholds}")


def average(folders: tyro.conf.Positional[tuple[Path, ...]], data: Path, out: Path) -> None:
    """Average the weights of trainings that went on from the same ones, each with a seed of its own.

    Args:
        folders: Their folders, such as weights/unet-lite0; first the one that the others began from.
        data: Folder of the data set: thresholds are chosen on the validation patients.
        out: Folder of weights that gets the model, as OUT/<model>.
    """
    from train.data.kaggle_3m import index_folder
    from train.pipeline import average as average_weights

    _describe(average_weights(folders, index_folder(data), out))


def thresholds(data: Path, models: tuple[Model, ...] = (), weights: Path | None = None) -> None:
    """Choose thresholds again, on what each model was validated on, and write them into config.json.

    Args:
        data: Folder of the data set.
        models: Which models; by default all in the folder of weights. The gate comes first.
        weights: Folder of weights; by default the repository's.
    """
    from lgg.weights import REPOSITORY_WEIGHTS, available
    from train.data.kaggle_3m import index_folder
    from train.pipeline import calibrate_again

    patients, weights = index_folder(data), weights or REPOSITORY_WEIGHTS
    for name in models or available(weights):
        calibrate_again(weights / name, patients)
        _describe(weights / name)


def folds(
    models: tuple[Segmenter, ...],
    run: Run,
    only: tuple[Literal[0, 1, 2, 3, 4], ...] = (),
    gate: bool = False,
    compare: str = "",
    record: Path | None = None,
) -> None:
    """Cross-validate: every patient judged by networks that never saw it. What is done is not repeated.

    The same command goes on where it stopped. Each fold keeps its weights and results in the run's folder.

    Args:
        models: Which segmenters.
        only: Train and judge these folds alone, and print their patients.
        gate: Train each fold's own gate too; without, results are those of the segmenters alone.
        compare: Name of another run of folds: prints the paired difference of the volume Dice.
        record: Results file that takes in all five folds, such as weights/results.json.
    """
    from train.data.kaggle_3m import index_folder
    from train.data.splits import FOLDS
    from train.fit.checkpoint import runs_folder
    from train.folds import compare_runs, folds_of, judge_folds, train_fold

    if record and only:
        raise DataError("--record takes the results of all five folds: leave --only out.")
    patients = index_folder(run.data)
    names = folds_of(patients, run.patients)
    job = Job(**vars(run) | {"name": run.name or "folds"})
    numbers: tuple[int, ...] = only or tuple(range(FOLDS))
    for number in numbers:
        train_fold(job, patients, names, number, models, gate)
    results = judge_folds(job.name, models, names, patients, numbers)
    for patient in results.patients if only else []:
        slices = "" if patient.slice_tumour is None else f"  slices with tumour {patient.slice_tumour:.4f}"
        print(f"{patient.model:15} {patient.patient:28} volume {patient.volume:.4f}{slices}")
    if compare:
        for model, (mean, low, high, count) in compare_runs(results.patients, compare, numbers).items():
            bounds = f"[{low:+.4f}, {high:+.4f}]"
            print(f"{model:15} volume Dice less that of {compare}: {mean:+.4f} {bounds} n={count}")
    home = runs_folder() / job.name
    out = None if only else home / "results.json"
    _hand_out(results, home / f"fold{numbers[0]}" / "weights", out, record)


def evaluate(
    data: Path,
    patients: str = "test",
    models: tuple[Segmenter, ...] = (),
    weights: Path | None = None,
    split: Protocol = "patient",
    out: Path | None = None,
    record: Path | None = None,
) -> None:
    """Measure weights and print the headline figures.

    Args:
        data: Any folder of the data set's shape.
        patients: all, train, validation, test, regression, fold0 to fold4, or names separated by commas.
        models: Which segmenters; by default all in the folder of weights.
        weights: Folder of weights; by default the repository's.
        split: slice: on the test slices of the slice split, whichever their patients (leaky).
        out: JSON file for everything that was measured; its tables are written beside it, as Markdown.
        record: Results file that takes it in beside what it holds, such as weights/results.json, from which
            `report` writes README, cards and figures.
    """
    from lgg.cascade import Cascade
    from lgg.models import GATE
    from lgg.weights import REPOSITORY_WEIGHTS, available
    from train.data.kaggle_3m import index_folder
    from train.evaluation import evaluate as evaluation
    from train.evaluation.results import Results, collect
    from train.pipeline import splits_of

    weights = weights or REPOSITORY_WEIGHTS
    index, slices = index_folder(data), None
    if split == "slice":
        slices = splits_of(index, "slice")["test"]
        patients = ",".join(sorted({id_.rpartition("_")[0] for id_ in slices}))
    chosen = evaluation.choose_patients(index, patients, splits_of(index, "patient"))
    results, note = Results(), ""
    for name in models or [name for name in available(weights) if name != GATE]:
        cascade = Cascade.from_pretrained(weights, name)
        configs = (cascade.gate_config, cascade.config)
        if seen := evaluation.seen(configs, chosen):
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
        found = evaluation.evaluate_patients(cascade, chosen, keys=slices)
        results = results.merged(collect(configs, found, evaluation.protocol_of(cascade.config, chosen)))
    _hand_out(results, weights, out, record, note)


def _hand_out(
    results: "Results", weights: Path, out: Path | None, record: Path | None, note: str = ""
) -> None:
    """Print the headline figures; write everything into a file of its own and into one that holds others.

    Args:
        weights: what was measured.
        out: a new file; its tables stand beside it as Markdown, below `note`.
        record: a file that holds other results already.
    """
    from lgg.files import write_text
    from train.evaluation.evaluate import UNGATED, headline
    from train.evaluation.results import record_results, save_results
    from train.hardware import make_accelerator
    from train.report import results_page

    if not make_accelerator().is_main_process:
        return
    alone = [row for row in results.rows if (row.cascade, row.mode) == UNGATED and row.value is not None]
    for row in headline(results.rows) or alone:
        bounds = "" if row.low is None else f"[{row.low:.4f}, {row.high:.4f}]"
        gating = "no gate" if row.cascade == "none" else row.cascade
        print(f"{row.model:15} {row.measure:20} {row.value:8.4f}  {bounds:20} n={row.n}  {gating}")
    if out:
        save_results(results, out)
        write_text(out.with_suffix(".md"), results_page(results, weights, [], note))
    if record:
        record_results(results, record)


def report(data: Path | None = None, weights: Path | None = None) -> None:
    """Write weights/results.json, README's and the cards' tables, docs/results.md and the figures.

    Args:
        data: Folder of the data set: measures the weights in the repository on the test patients first.
            Without it, what was recorded before is written out again.
        weights: Folder of weights, by default the repository's; of another, the tables go into its own
            results.md, and README and docs/ stay as they are.
    """
    from lgg.weights import REPOSITORY_WEIGHTS
    from train.hardware import make_accelerator
    from train.report import write_report

    weights = weights or REPOSITORY_WEIGHTS
    if data is not None:
        evaluate(data, weights=weights, record=weights / "results.json")
    if make_accelerator().is_main_process:
        page, home = write_report(weights), weights.name
        print(f"Tables: {page}. Numbers: results.json in {home}/, figures in {home}/figures/.")


def speed(
    models: tuple[Model, ...] = (),
    size: int = 256,
    batch_size: int | None = None,
    compile: bool = False,
    out: Path | None = None,
) -> None:
    """Time a training step of each network, beside what the hardware's bf16 matrix products reach.

    Args:
        models: Which networks; by default all.
        size: Side of the input in pixels.
        batch_size: Slices in a step; by default 32 on a GPU, 4 on a CPU.
        compile: With torch.compile.
        out: JSON file for the figures.
    """
    from lgg.files import write_text
    from train.evaluation.step_speed import measure, step_table

    measured = measure(models, size, batch_size, compile)
    print(step_table(measured))
    if out:
        write_text(out, json.dumps([asdict(row) for row in measured], indent=1) + "\n")


#: Command → its function, or where that is, and what it is for.
COMMANDS: dict[str, tuple[Callable[..., None] | str, str]] = {
    "gate": (gate, "train the gate"),
    "segment": (segment, "train a segmenter"),
    "all": (train_all, "train all five networks"),
    "folds": (folds, "cross-validate segmenters over all patients"),
    "ablate": ("train.ablation:ablate", "train the recipe with one thing changed at a time"),
    "average": (average, "average the weights of trainings from one start"),
    "thresholds": (thresholds, "choose the thresholds of trained weights again"),
    "evaluate": (evaluate, "measure weights on patients"),
    "report": (report, "write every table, card and figure from what was measured"),
    "speed": (speed, "time training steps"),
    "benchmark": ("train.evaluation.benchmark:run", "time the networks, a study, the page and training"),
    "onnx": ("train.publish.onnx:convert", "write models as ONNX"),
    "push": ("train.publish.hub:push", "publish weights to the Hub, deploy the page as a Space"),
}
#: What a shell reports of a program that SIGTERM ended.
TERMINATED = 128 + 15


def main() -> None:
    """Run a subcommand; our own errors end it with their message, not a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command != "benchmark":  # figures are those of fp32, whatever is installed beside it
        os.environ.setdefault("LGG_ENGINE", "torch")
    if command not in COMMANDS:
        epilog = "`python -m train COMMAND --help` says what a command can do; docs/train.md has examples."
        listed = {name: words for name, (_, words) in COMMANDS.items()}
        first_page("python -m train", __doc__, epilog, listed).parse_args([command])
        return
    function, _ = COMMANDS[command]
    if isinstance(function, str):
        module, _, name = function.partition(":")
        function = getattr(importlib.import_module(module), name)
    try:
        tyro.cli(
            function,
            prog=f"python -m train {command}",
            args=sys.argv[2:],
            config=(tyro.conf.OmitArgPrefixes,),
        )
    except LggError as error:
        print(error, file=sys.stderr)
        sys.exit(TERMINATED if type(error).__name__ == "Stopped" else 1)


if __name__ == "__main__":
    main()
