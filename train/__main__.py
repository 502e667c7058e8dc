"""The command line: `python -m train gate|segment|thresholds|evaluate --help`."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes

from lgg.cascade import Cascade
from lgg.errors import LggError
from lgg.files import write_atomically
from lgg.models import GATE
from lgg.weights import REPOSITORY_WEIGHTS, available
from train import evaluate as evaluation
from train.checkpoint import load_checkpoint, runs_folder
from train.dataset import Slices, load_slices
from train.export import choose_thresholds, export, gate_folder, record_metrics
from train.index import SliceFiles, index_folder, load_volume, only
from train.loop import make_accelerator, train
from train.recipe import RECIPES, Changes, Recipe
from train.splits import Protocol, Side, fixed, select

log = logging.getLogger(__name__)
Segmenter = Literal["unet", "unet-mini", "unet-resnext50", "unet-lite0"]
Model = Literal["gate", "unet", "unet-mini", "unet-resnext50", "unet-lite0"]


@dataclass(frozen=True)
class Run:
    """Data and destination."""

    data: Path
    """Folder of the data set (kaggle_3m, or the folder that holds it)."""
    split: Protocol = "patient"
    """patient (honest) or slice (as the reference did, leaky)."""
    run: str = ""
    """Name of the run's folder in $LGG_RUNS (default ~/lgg-runs); by default the model's name."""
    out: Path | None = None
    """Folder of weights that gets the model, as OUT/<model>; by default `weights` in the run's folder."""
    resume: bool = False
    """Go on from the run's last whole epoch."""
    patients: int | None = None
    """Only the first so many patients of each side, for a trial."""


def gate(run: OmitArgPrefixes[Run], recipe: OmitArgPrefixes[Changes]) -> None:
    """Train the gate: is there a glioma in this slice?"""
    _train(GATE, run, recipe)


def segment(model: Segmenter, run: OmitArgPrefixes[Run], recipe: OmitArgPrefixes[Changes]) -> None:
    """Train a segmenter: which pixels are tumour?

    Args:
        model: Which network.
    """
    _train(model, run, recipe)


def _train(architecture: str, options: Run, changes: Changes) -> None:
    stages = [changes.apply(one) for one in RECIPES[architecture]]
    patients = index_folder(options.data)
    sides = _sides(patients, options.split, options.patients)
    name = architecture if options.split == "patient" else f"{architecture}-{options.split}"
    home = runs_folder() / (options.run or name)
    start, began_from, minutes = None, "", 0.0
    state: dict[str, Any] = {}
    for number, recipe in enumerate(stages, 1):
        folder = home / f"stage{number}"
        going_on = options.resume and (folder / "checkpoint.pt").exists()
        state = load_checkpoint(folder, architecture, recipe) if going_on else {"epoch": 0}
        if state["epoch"] < recipe.epochs:
            log.info("%s, stage %d of %d, in the run '%s'", architecture, number, len(stages), home.name)
            slices = (_load(patients, sides["train"], recipe), _load(patients, sides["validation"], recipe))
            state = train(architecture, recipe, slices, folder, start=start, resume=going_on)
        start = state["best"]
        began_from = began_from or state["initialised"]
        minutes += state["seconds"] / 60
    if not make_accelerator().is_main_process:
        return
    target = options.out or home / "weights"
    split: dict[str, Any] = {"protocol": options.split}
    split |= {str(side): _names(keys, options.split) for side, keys in sides.items()}
    export(state | {"initialised": began_from}, stages, split, minutes, target)
    gates = target if architecture == GATE else gate_folder(target, REPOSITORY_WEIGHTS)
    chosen = _choose(architecture, patients, sides["validation"], target, gates)
    print(f"{architecture} in {target}: {chosen}")


def _sides(
    patients: dict[str, list[SliceFiles]], protocol: Protocol, limit: int | None
) -> dict[Side, list[str]]:
    """The keys of each side: patients, or slices."""
    if protocol == "slice":
        keys = [one.key for slices in patients.values() for one in slices]
        return select(keys, "slice")
    sides = select(list(patients), "patient", _tumour_volumes(patients))
    return {side: names[:limit] for side, names in sides.items()}


def _tumour_volumes(patients: dict[str, list[SliceFiles]]) -> dict[str, int]:
    """Tumour pixels a patient, read only where the fixed split does not already decide."""
    known = {name for names in fixed()["patient"].values() for name in names}
    strangers = {name: slices for name, slices in patients.items() if name not in known}
    return {name: int(load_volume(slices).masks.sum()) for name, slices in strangers.items()}


def _names(keys: list[str], protocol: Protocol) -> list[str] | int:
    """Patients by name; thousands of slices by their number."""
    return keys if protocol == "patient" else len(keys)


def _load(patients: dict[str, list[SliceFiles]], keys: list[str], recipe: Recipe) -> Slices:
    chosen = set(keys)
    if chosen & set(patients):
        return load_slices({name: patients[name] for name in keys}, recipe.size)
    return load_slices(patients, recipe.size, keep=keys)


def _choose(
    architecture: str, patients: dict[str, list[SliceFiles]], keys: list[str], folder: Path, gates: Path
) -> str:
    names = [name for name in patients if name in set(keys)]
    if not names:  # the slice split: whole patients of its validation side do not exist
        names = sorted({key.rpartition("_")[0] for key in keys})
    volumes = [only(load_volume(patients[name]), keys) for name in names]
    chosen = choose_thresholds(folder, architecture, gates, volumes)
    return ", ".join(f"{name} {value:g}" for name, value in asdict(chosen).items())


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
    validation = select(list(patients), "patient", _tumour_volumes(patients))["validation"]
    for name in models or available(weights):
        print(f"{name}: {_choose(name, patients, validation, weights, weights)}")


def evaluate(
    data: Path,
    patients: str = "test",
    models: tuple[Segmenter, ...] = (),
    weights: Path = REPOSITORY_WEIGHTS,
    out: Path | None = None,
    record: bool = False,
) -> None:
    """Measure weights on whole patients and print the headline figures.

    Args:
        data: Any folder of the data set's shape.
        patients: all, train, validation, test, regression, fold0 to fold4, or names separated by commas.
        models: Which segmenters; by default all in the folder of weights.
        weights: Folder of weights.
        out: JSON file for all rows.
        record: Write the headline figures into each model's config.json and card.
    """
    chosen = evaluation.choose_patients(index_folder(data), patients)
    rows: list[evaluation.Row] = []
    for name in models or [one for one in available(weights) if one != GATE]:
        found, scores = evaluation.evaluate(Cascade.from_pretrained(weights, name), chosen)
        own = [row for row in found if row.model == name]
        gates = [row for row in found if row.model == GATE]
        # The gate's rows are the same behind every segmenter: keep them once.
        rows += found if not any(row.model == GATE for row in rows) else own
        if record:
            record_metrics(weights, name, evaluation.summary(own, scores))
            record_metrics(weights, GATE, evaluation.summary(gates, scores))
    for row in evaluation.headline(rows):
        print(f"{row.model:15} {row.measure:20} {row.value:8.4f}  [{row.low:.4f}, {row.high:.4f}]  n={row.n}")
    if out:
        text = json.dumps(evaluation.as_records(rows), indent=1) + "\n"
        write_atomically(out, lambda path: path.write_text(text))


def main() -> None:
    """Run a subcommand; our own errors end it with their message, not a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    commands: dict[str, Callable[..., Any]] = {
        "gate": gate,
        "segment": segment,
        "thresholds": thresholds,
        "evaluate": evaluate,
    }
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="python -m train", description=__doc__)
    except LggError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
