"""The commands that measure and tell: `evaluate`, `remedies`, `report` and `speed`."""

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from lgg.cascade import Cascade
from lgg.errors import DataError
from lgg.files import write_text
from lgg.models import GATE
from lgg.weights import REPOSITORY_WEIGHTS, available
from train import evaluate as evaluation
from train import report as reporting
from train import speed as speeds
from train.accelerator import make_accelerator
from train.index import index_folder, load_volumes
from train.job import sides_of, validated_on
from train.remedies import REMEDIES, REMEDIES_FILE, remedy_table, save_outcomes, try_remedy
from train.results import TIMING, Results, collect, load_results, save_results
from train.score import examine
from train.splits import Protocol

log = logging.getLogger(__name__)
Segmenter = Literal["unet", "unet-mini", "unet-resnext50", "unet-lite0"]
Model = Literal["gate", "unet", "unet-mini", "unet-resnext50", "unet-lite0"]


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


def remedies(
    data: Path,
    models: tuple[Segmenter, ...] = (),
    weights: Path = REPOSITORY_WEIGHTS,
    record: Path = REMEDIES_FILE,
) -> None:
    """Try what else could be done to a series' answers, on the patients that each model was validated on.

    Args:
        data: Folder of the data set.
        models: Which segmenters; by default all in the folder of weights.
        weights: Folder of weights.
        record: JSON file that takes the figures; `report` makes a table of it.
    """
    patients = index_folder(data)
    for model in models or [one for one in available(weights) if one != GATE]:
        cascade = Cascade.from_pretrained(weights, model)
        if cascade.config.split.get("protocol") == "slice":
            raise DataError(f"{model} was validated on slices picked one by one: they are no series.")
        volumes = load_volumes(patients, validated_on(cascade.config, patients))
        if len(volumes) < 2:
            raise DataError("Each patient is decided by what the others choose: two or more are needed.")
        answers = [examine(cascade, one, "volume") for one in volumes]
        truths = [one.masks for one in volumes]
        found = [try_remedy(name, model, answers, truths) for name in REMEDIES]
        save_outcomes(found, record)
        print(remedy_table(found))


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
    print(speeds.table(found))
    if out:
        text = json.dumps([asdict(one) for one in found], indent=1) + "\n"
        write_text(out, text)
