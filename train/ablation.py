"""Ablations: the recipe with one thing changed, each on the same budget, judged on the validation patients.

Half of the recipe's first stage a run. No gate, threshold 0.5, so that nothing but the network is compared.
What is done is kept in a JSON file and never repeated, so a long list may be spread over many sessions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lgg.weights import REPOSITORY_WEIGHTS
from train.data.augment import PLAIN
from train.data.kaggle_3m import load_volumes
from train.data.splits import Side
from train.evaluation.patient_metrics import Mode
from train.evaluation.results import load_lines, save_lines
from train.fit.checkpoint import CHECKPOINT
from train.fit.leakage import load_teacher
from train.fit.trainer import train
from train.fit.validate import judge
from train.pipeline import Patients, load_keys
from train.recipes import RECIPES, Recipe, RecipeName

ABLATIONS = REPOSITORY_WEIGHTS / "ablations.json"
#: What a run is judged in; `flair` shows what sequence dropout is for, `slice` what mixed statistics are for.
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


def _bent(**changes: float) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, augmentation=replace(recipe.augmentation, **changes))


#: Name → variant, the ones that matter most first.
VARIANTS: dict[str, Variant] = {
    BASE: Variant("U-Net mini, the recipe as it is", against=None),
    "no-augmentation": Variant("no augmentation", lambda one: replace(one, augmentation=PLAIN)),
    "cross-entropy": Variant("cross-entropy with pos_weight alone", lambda one: replace(one, loss="bce")),
    "even-sampling": Variant("every slice drawn as often", lambda one: replace(one, tumour_weight=1)),
    "no-ema": Variant("no average of the weights", lambda one: replace(one, ema=0)),
    "volume-statistics": Variant("volume statistics only", _bent(slice_statistics=0)),
    "slice-statistics": Variant("slice statistics only", _bent(slice_statistics=1)),
    "all-sequences": Variant("no sequence dropout", _bent(drop=0)),
    "other-resolution": Variant(
        "full resolution where the recipe has half, half where it has full",
        lambda one: replace(one, size=256 if one.size < 256 else 128),
    ),
    "large-batches": Variant(
        "batches of twice as many slices, half the steps",
        lambda one: replace(one, batch_size=2 * one.batch_size),
    ),
    "teacher": Variant("U-Net Lite0 as a teacher", taught=True),
    "lite0": Variant("U-Net Lite0, ImageNet encoder", architecture="unet-lite0", against=None),
    "lite0-scratch": Variant(
        "U-Net Lite0 from scratch", lambda one: replace(one, initialise="scratch"), "unet-lite0", "lite0"
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
    sides: dict[Side, list[str]],
    home: Path,
    epochs: int | None = None,
    slices_per_epoch: int | None = None,
) -> Run:
    """Train one variant and judge it.

    Args:
        name: of `VARIANTS`.
        recipe: what is changed.
        patients, sides: the data.
        home: gets a folder for the run; what it has done is gone on with.
        epochs: by default half of the recipe's first stage.
        slices_per_epoch: by default the recipe's.
    """
    variant = VARIANTS[name]
    full = variant.change(RECIPES[recipe][variant.architecture][0])
    one = replace(
        full,
        seed=seed,
        epochs=epochs or max(1, full.epochs // 2),
        slices_per_epoch=slices_per_epoch or full.slices_per_epoch,
    )
    folder = home / f"{name}-{recipe}-{seed}"
    learn, validate = (load_keys(patients, sides[side], one.size) for side in ("train", "validation"))
    state = train(
        variant.architecture,
        one,
        (learn, validate),
        folder,
        resume=(folder / CHECKPOINT).exists(),
        teacher=load_teacher(TEACHER, sides["train"]) if variant.taught else None,
    )
    volumes = load_volumes(patients, sides["validation"])  # in the order of the patients' names
    volume, tumour = judge(variant.architecture, one.size, state["best"], volumes, MODES)
    minutes = round(state["seconds"] / 60, 1)
    return Run(name, seed, recipe, one.epochs, one.size, minutes, volume, tumour)


def load_runs(path: Path = ABLATIONS) -> list[Run]:
    """What was trained so far.

    Raises:
        DataError: the file is not one of ours.
    """
    return load_lines(path, Run, "ablations")


def save_run(run: Run, path: Path = ABLATIONS) -> None:
    """Take a run in, in place of the same one before."""
    key = (run.variant, run.seed, run.recipe)
    kept = [one for one in load_runs(path) if (one.variant, one.seed, one.recipe) != key]
    order = list(VARIANTS)
    runs = sorted([*kept, run], key=lambda one: (one.recipe, order.index(one.variant), one.seed))
    save_lines(path, runs)
