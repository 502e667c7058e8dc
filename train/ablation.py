"""Ablations: the recipe with one thing changed, each on the same budget, compared on the validation patients.

Half of the recipe's first stage a run. No gate, threshold 0.5, so that nothing but the network is compared.
What is done is kept in a JSON file and never repeated, so a long list may be spread over many sessions.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from lgg.errors import DataError
from lgg.files import write_text
from lgg.weights import REPOSITORY_WEIGHTS
from train.recipes import PLAIN, RECIPES, Overrides, Recipe, RecipeName

# What training needs is imported where it trains: `ablate --help` should not wait seconds for torch.
if TYPE_CHECKING:
    from train.evaluation.patient_metrics import Mode
    from train.pipeline import Cohort

ABLATIONS = REPOSITORY_WEIGHTS / "ablations.json"
#: `flair` shows what sequence dropout is for, `slice` what mixed statistics are for.
MODES: tuple["Mode", ...] = ("volume", "slice", "flair")
BASE = "recipe"
TEACHER = REPOSITORY_WEIGHTS / "unet-lite0"


@dataclass(frozen=True)
class Variant:
    """A change to the recipe, and what to call it.

    Attributes:
        against: the variant to compare it with, if any.
        taught: by the U-Net Lite0 that ships, beside the masks.
    """

    words: str
    change: Callable[[Recipe], Recipe] = lambda recipe: recipe
    architecture: str = "unet-mini"
    against: str | None = BASE
    taught: bool = False


def _augmented(**changes: float) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, augmentation=replace(recipe.augmentation, **changes))


#: Name → variant, the ones that matter most first.
VARIANTS: dict[str, Variant] = {
    BASE: Variant("U-Net mini, the recipe as it is", against=None),
    "no-augmentation": Variant("no augmentation", lambda r: replace(r, augmentation=PLAIN)),
    "cross-entropy": Variant("cross-entropy with pos_weight alone", lambda r: replace(r, loss="bce")),
    "even-sampling": Variant("every slice drawn as often", lambda r: replace(r, tumour_weight=1)),
    "no-ema": Variant("no average of the weights", lambda r: replace(r, ema=0)),
    "volume-statistics": Variant("volume statistics only", _augmented(slice_statistics=0)),
    "slice-statistics": Variant("slice statistics only", _augmented(slice_statistics=1)),
    "all-sequences": Variant("no sequence dropout", _augmented(drop=0)),
    "other-resolution": Variant(
        "full resolution where the recipe has half, half where it has full",
        lambda r: replace(r, size=256 if r.size < 256 else 128),
    ),
    "large-batches": Variant(
        "batches of twice as many slices, half the steps",
        lambda r: replace(r, batch_size=2 * r.batch_size),
    ),
    "teacher": Variant("U-Net Lite0 as a teacher", taught=True),
    "lite0": Variant("U-Net Lite0, ImageNet encoder", architecture="unet-lite0", against=None),
    "lite0-scratch": Variant(
        "U-Net Lite0 from scratch",
        lambda r: replace(r, initialise="scratch"),
        "unet-lite0",
        "lite0",
    ),
}


@dataclass(frozen=True)
class Run:
    """One trained variant.

    Attributes:
        variant, seed: which.
        recipe: name of the recipe that was changed.
        epochs, size: of the run.
        minutes: that training took.
        volume: mode → Dice of each patient's volume, in the order of the patients' names.
        slice_tumour: mode → mean Dice of the slices with tumour.
    """

    variant: str
    seed: int
    recipe: str
    epochs: int
    size: int
    minutes: float
    volume: Mapping["Mode", list[float]]
    slice_tumour: Mapping["Mode", float]


def ablate(
    data: Path,
    only: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0,),
    recipe: RecipeName | None = None,
    epochs: int | None = None,
    slices_per_epoch: int | None = None,
    record: Path | None = None,
) -> None:
    """Train the recipe with one thing changed at a time. What is done is not repeated.

    Args:
        data: Folder of the data set.
        only: Names of changes (see train/ablation.py), in the order in which to train; by default all.
        seeds: How often, and with which seeds.
        recipe: Which recipe is changed; by default gpu where there is one, else cpu.
        epochs: Of each run; by default half of the recipe's first stage.
        slices_per_epoch: Slices drawn in an epoch; by default the recipe's.
        record: JSON file that takes each run as it is done; by default weights/ablations.json, of which
            `report` makes a table.
    """
    from train.data.kaggle_3m import index_folder
    from train.hardware import make_accelerator
    from train.pipeline import Cohort, splits_of, usual_recipe

    if unknown := sorted(set(only) - set(VARIANTS)):
        raise DataError(f"No such change: {', '.join(unknown)}. Choose from {', '.join(VARIANTS)}.")
    patients, record = index_folder(data), record or ABLATIONS
    cohort = Cohort(patients, splits_of(patients, "patient"))
    recipe, budget = recipe or usual_recipe(), Overrides(epochs=epochs, slices_per_epoch=slices_per_epoch)
    done = {(run.variant, run.seed, run.recipe) for run in load_runs(record)}
    for seed, name in product(seeds, only or VARIANTS):
        if (name, seed, recipe) in done:
            continue
        stage = VARIANTS[name].change(RECIPES[recipe][VARIANTS[name].architecture][0])
        stage = replace(stage, seed=seed, epochs=max(1, stage.epochs // 2))
        run = _train_and_validate(name, recipe, budget.apply(stage), cohort)
        if make_accelerator().is_main_process:
            save_run(run, record)
            print(f"{name}, seed {seed}: volume mean {mean(run.volume['volume']):.4f}")


def _train_and_validate(name: str, recipe: RecipeName, stage: Recipe, cohort: "Cohort") -> Run:
    """Train one variant, or go on with it, and validate it."""
    from train.data.kaggle_3m import load_volumes
    from train.fit.checkpoint import CHECKPOINT, runs_folder
    from train.fit.initialise import load_teacher
    from train.fit.trainer import train
    from train.fit.validate import validate_at_full_resolution

    variant = VARIANTS[name]
    folder = runs_folder() / "ablations" / f"{name}-{recipe}-{stage.seed}"
    result = train(
        variant.architecture,
        stage,
        cohort.slices(stage.size),
        folder,
        resume=(folder / CHECKPOINT).exists(),
        teacher=load_teacher(TEACHER, cohort.splits["train"]) if variant.taught else None,
    )
    volumes = load_volumes(cohort.patients, cohort.splits["validation"])
    dices = validate_at_full_resolution(variant.architecture, stage.size, result.best, volumes, MODES)
    minutes = round(result.seconds / 60, 1)
    return Run(name, stage.seed, recipe, stage.epochs, stage.size, minutes, dices.volume, dices.slice_tumour)


def load_runs(path: Path = ABLATIONS) -> list[Run]:
    """What was trained so far.

    Raises:
        DataError: the file is not one of ours.
    """
    if not path.exists():
        return []
    try:
        return [Run(**line) for line in json.loads(path.read_text())]
    except (ValueError, TypeError):
        raise DataError(f"{path.name} is not a file of ablations of this version. Remove it.") from None


def save_run(run: Run, path: Path) -> None:
    """Add a run, a line each."""
    order = list(VARIANTS)
    runs = sorted([*load_runs(path), run], key=lambda r: (r.recipe, order.index(r.variant), r.seed))
    lines = ",\n ".join(json.dumps(asdict(run)) for run in runs)
    write_text(path, f"[\n {lines}\n]\n")
