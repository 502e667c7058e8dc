"""Ablations: the recipe with one thing changed, each on the same budget, compared on the validation patients.

Half of the recipe's first stage a run. No gate, threshold 0.5, so that nothing but the network is compared.
What is done is kept in a JSON file and never repeated, so a long list may be spread over many sessions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lgg.weights import REPOSITORY_WEIGHTS
from train.data.kaggle_3m import load_volumes
from train.data.splits import Split
from train.evaluation.patient_metrics import Mode
from train.evaluation.results import load_lines, save_lines
from train.fit.checkpoint import CHECKPOINT, runs_folder
from train.fit.leakage import load_teacher
from train.fit.trainer import train
from train.fit.validate import validate_at_full_resolution
from train.hardware import make_accelerator
from train.pipeline import Patients, load_ids, splits_of
from train.recipes import PLAIN, RECIPES, Recipe, RecipeName

ABLATIONS = REPOSITORY_WEIGHTS / "ablations.json"
#: `flair` shows what sequence dropout is for, `slice` what mixed statistics are for.
MODES: tuple[Mode, ...] = ("volume", "slice", "flair")
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
    volume: dict[str, list[float]]
    slice_tumour: dict[str, float]


def run_variant(
    name: str,
    seed: int,
    recipe: RecipeName,
    patients: Patients,
    splits: dict[Split, list[str]],
    home: Path,
    epochs: int | None = None,
    slices_per_epoch: int | None = None,
) -> Run:
    """Train one variant and validate it.

    Args:
        name: of `VARIANTS`.
        recipe: what is changed.
        patients, splits: the data.
        home: gets a folder for the run; what it has done is gone on with.
        epochs: by default half of the recipe's first stage.
        slices_per_epoch: by default the recipe's.
    """
    variant = VARIANTS[name]
    full = variant.change(RECIPES[recipe][variant.architecture][0])
    changed = replace(
        full,
        seed=seed,
        epochs=epochs or max(1, full.epochs // 2),
        slices_per_epoch=slices_per_epoch or full.slices_per_epoch,
    )
    folder = home / f"{name}-{recipe}-{seed}"
    result = train(
        variant.architecture,
        changed,
        (
            load_ids(patients, splits["train"], changed.size),
            load_ids(patients, splits["validation"], changed.size),
        ),
        folder,
        resume=(folder / CHECKPOINT).exists(),
        teacher=load_teacher(TEACHER, splits["train"]) if variant.taught else None,
    )
    volumes = load_volumes(patients, splits["validation"])  # in the order of the patients' names
    stats = validate_at_full_resolution(variant.architecture, changed.size, result.best, volumes, MODES)
    return Run(
        variant=name,
        seed=seed,
        recipe=recipe,
        epochs=changed.epochs,
        size=changed.size,
        minutes=round(result.seconds / 60, 1),
        volume={str(mode): dices for mode, dices in stats.volume.items()},
        slice_tumour={str(mode): dice for mode, dice in stats.slice_tumour.items()},
    )


def run_all(
    names: Sequence[str],
    seeds: Sequence[int],
    recipe: RecipeName,
    patients: Patients,
    record: Path,
    epochs: int | None = None,
    slices_per_epoch: int | None = None,
) -> Iterator[Run]:
    """Train variants with each seed and keep each run as it is done; those in the record are not repeated.

    Args:
        names: of `VARIANTS`.
        record: JSON file of runs.

    Yields:
        Each new run, to the first of several processes.
    """
    splits = splits_of(patients, "patient")
    done = {(run.variant, run.seed, run.recipe) for run in load_runs(record)}
    home = runs_folder() / "ablations"
    for seed in seeds:
        for name in names:
            if (name, seed, recipe) not in done:
                run = run_variant(name, seed, recipe, patients, splits, home, epochs, slices_per_epoch)
                if make_accelerator().is_main_process:
                    save_run(run, record)
                    yield run


def load_runs(path: Path = ABLATIONS) -> list[Run]:
    """What was trained so far.

    Raises:
        DataError: the file is not one of ours.
    """
    return load_lines(path, Run, "ablations")


def save_run(run: Run, path: Path = ABLATIONS) -> None:
    """Take a run in, in place of the same one before."""
    key = (run.variant, run.seed, run.recipe)
    kept = [old for old in load_runs(path) if (old.variant, old.seed, old.recipe) != key]
    order = list(VARIANTS)
    runs = sorted([*kept, run], key=lambda r: (r.recipe, order.index(r.variant), r.seed))
    save_lines(path, runs)
