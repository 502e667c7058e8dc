"""How a network is trained: recipes, what the command line changes of them, and the job that it asks for.

Nothing here needs torch, so that `python -m train --help` answers at once.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

Start = Literal["imagenet", "scratch"]
Criterion = Literal["dice", "slice_tumour", "auroc", "loss", "last"]
Schedule = Literal["one_cycle", "constant"]
LossName = Literal["bce", "dice_bce"]
Segmenter = Literal["unet", "unet-mini", "unet-resnext50", "unet-lite0"]
Model = Literal["gate", "unet", "unet-mini", "unet-resnext50", "unet-lite0"]
Protocol = Literal["patient", "slice"]


@dataclass(frozen=True)
class Augmentation:
    """How far a training slice may be changed; all zeros switch it off."""

    flip: float = 0.5  # probability of mirroring left and right (brains are nearly symmetric)
    rotate: float = 15  # largest rotation in degrees
    scale: float = 0.15  # largest relative change of size
    shift: float = 0.06  # largest displacement as a share of the side
    elastic: float = 0.015  # standard deviation of a smooth field of displacements, as a share of the side
    gain: float = 0.15  # standard deviation of each channel's factor and offset, in z-score units
    bias: float = 0.1  # standard deviation of the smooth field on the raw image (coil sensitivity)
    gamma: float = 0.15  # standard deviation of the logarithm of the contrast curve's exponent
    noise: float = 0.1  # largest standard deviation of the added noise, in z-score units
    drop: float = 0.1  # probability that pre-contrast, and that post-contrast, is replaced by FLAIR
    drop_both: float = 0.2  # probability that both are: then the network sees FLAIR alone
    slice_statistics: float = 0.5  # share of slices normalised by their own statistics, not their volume's


#: What evaluation during training sees: the slice as it is, by its volume's statistics.
PLAIN = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Recipe:
    """One stage of training; `RECIPES` holds those that we use. The defaults are for two cores."""

    epochs: int = 14  # how often `slices_per_epoch` slices are drawn
    slices_per_epoch: int = 1408  # over all processes; what does not fill a last batch is left out
    batch_size: int = 16  # slices in a step, over all processes
    size: int = 128  # side of the network's input in pixels; the data set's own is 256
    lr: float = 2e-3  # highest learning rate
    schedule: Schedule = "one_cycle"  # of the rate: up and down (Smith, 2018), or always the highest
    warm_up: float = 0.15  # share of the steps in which one_cycle rises
    weight_decay: float = 1e-2  # AdamW's
    loss: LossName = "dice_bce"  # the reference's is bce, with pos_weight from the training set
    tumour_weight: float = 4  # how many times as often a slice with tumour is drawn as one without
    initialise: Start = "scratch"  # the encoder's start; imagenet says so where there are no such weights
    best_by: Criterion = "dice"  # what chooses the epoch; dice: mean of the volumes; last: none, the last
    ema: float = 0.99  # share that the weights' running average, which counts, keeps in each step; 0: none
    mask_head: float = 0  # the gate alone: weight of the coarse masks that supervise its inner layers
    teacher_share: float = 0.5  # of a segmenter's loss, where there is a teacher; the masks keep the rest
    hints: float = 1  # where there is a teacher: weight of feature distillation from its encoder
    freeze_batchnorm: bool = False  # keep BatchNorm's statistics, for fine-tuning on few slices
    compile: bool = False  # fuse a step's operations by torch.compile; on CUDA only
    augmentation: Augmentation = field(default_factory=Augmentation)  # how far slices are changed
    seed: int = 0  # of weights, sampling and augmentation

    @property
    def steps(self) -> int:
        """Steps in an epoch, at least one."""
        return max(1, self.slices_per_epoch // self.batch_size)


@dataclass(frozen=True)
class Overrides:
    """What to change in all stages of the recipe; what is left out stays as train/recipes.py has it."""

    epochs: int | None = None  # epochs of each stage
    slices_per_epoch: int | None = None  # slices drawn in an epoch
    batch_size: int | None = None  # slices in a step, over all processes
    size: int | None = None  # side of the network's input
    lr: float | None = None  # highest learning rate
    schedule: Schedule | None = None  # of the learning rate
    warm_up: float | None = None  # share of the steps in which one_cycle rises
    loss: LossName | None = None  # bce is the reference's, with pos_weight
    tumour_weight: float | None = None  # how many times as often a slice with tumour is drawn
    initialise: Start | None = None  # start of the encoder
    best_by: Criterion | None = None  # validation measure that chooses the best epoch
    ema: float | None = None  # share that the weights' running average keeps in each step; 0: none
    mask_head: float | None = None  # the gate alone: weight of the loss of its mask head; 0: none
    hints: float | None = None  # with a teacher: weight of feature distillation from its encoder; 0: none
    freeze_batchnorm: bool | None = None  # keep BatchNorm's statistics, for fine-tuning on few slices
    compile: bool | None = None  # torch.compile, on CUDA
    augment: bool | None = None  # False shows every slice as it is, by its volume's statistics
    seed: int | None = None  # seed of everything random

    def given(self) -> dict[str, Any]:
        """Option → value of those that were given."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        """`epochs 12, size 128`; empty where nothing is changed."""
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.given().items())

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with what was given instead of its own."""
        given = self.given()
        if not given.pop("augment", True):
            given["augmentation"] = PLAIN
        return replace(recipe, **given)


RecipeName = Literal["cpu", "gpu", "reference"]


@dataclass(frozen=True)
class Run:
    """Data and recipe of whatever trains."""

    data: Path  # folder of the data set (kaggle_3m, or the folder that holds it)
    recipe: RecipeName | None = None
    """cpu (two cores), gpu (full resolution) or reference (as the published network was trained); by default
    gpu where there is one."""
    name: str = ""
    """Name of the run's folder in $LGG_RUNS (default ~/lgg-runs); by default the model's name, `all` or
    `folds`."""
    stages: int | None = None
    """Only the first so many stages of the recipe: 1 of cpu leaves the calm or full-resolution finish out."""
    patients: int | None = None  # only the first so many patients of each split or fold, for a trial
    track: bool = False  # send each epoch's figures to trackio (pip install trackio; trackio show)
    overrides: Overrides = field(default_factory=Overrides)  # what to change in the recipe


@dataclass(frozen=True)
class Job(Run):
    """Training: data, recipe, destination, and whose weights are taken over."""

    split: Protocol = "patient"  # patient (honest) or slice (as the reference did, leaky)
    out: Path | None = None
    """Folder of weights that gets the model, as OUT/<model>; by default `weights` in the run's folder."""
    resume: bool = False  # go on where the run stopped
    restart: bool = False  # throw away what a run of this name has done, and begin again
    teacher: Path | None = None
    """Folder of a segmenter's weights (say weights/unet-lite0) to learn from beside the masks: a segmenter
    from its probabilities, the gate from its encoder."""
    start: Path | None = None
    """Folder of the same network's weights (say weights/unet-lite0) to begin with instead of fresh ones."""


#: Stages of training; each begins with the best weights of the one before.
Stages = tuple[Recipe, ...]

#: Strong augmentation, for the gate, which learns one bit a slice.
BOLD = Augmentation(rotate=25, scale=0.25, elastic=0.02, gain=0.25, bias=0.2, gamma=0.3, noise=0.2, drop=0.15)
#: Weak augmentation, for the last epochs: slices nearly as they will be met.
CALM = Augmentation(
    rotate=5, scale=0.05, shift=0.02, elastic=0.005, gain=0.05, bias=0.03, gamma=0.05, noise=0.03
)
_GATE = Recipe(
    loss="bce",
    lr=1e-3,
    weight_decay=0.05,
    tumour_weight=1.5,
    best_by="auroc",
    mask_head=2,
    hints=2,
    augmentation=BOLD,
)


def _cpu() -> dict[str, Stages]:
    """Two cores, half an hour to an hour and a half a network.

    Most epochs of the others than U-Net Lite0 run at half resolution, in a quarter of the time; then weak
    augmentation and a short finish at full resolution. What was tried for it: docs/experiments.md.
    """
    gate = replace(_GATE, epochs=48, size=192, batch_size=32, ema=0.997)
    small = Recipe(epochs=12, batch_size=8, ema=0.995)
    large = replace(small, lr=1e-3)
    finish = Recipe(epochs=4, size=256, lr=3e-4)
    return {
        "gate": (gate, replace(gate, epochs=4, size=256, lr=4e-4)),
        # About four minutes an epoch at 96 pixels, seven at 128: most epochs are run where they are cheap.
        "unet": (
            replace(large, epochs=8, size=96),
            replace(large, epochs=2, lr=5e-4),
            replace(large, epochs=3, lr=5e-4, augmentation=CALM),
            replace(finish, epochs=2),
        ),
        "unet-mini": (
            small,
            replace(small, epochs=7, lr=1e-3),
            replace(small, epochs=8, lr=1e-3),
            replace(small, epochs=6, lr=5e-4, augmentation=CALM),
            replace(small, epochs=12, lr=1e-3, augmentation=CALM),
            finish,
        ),
        "unet-resnext50": (
            replace(large, epochs=12),
            replace(large, epochs=4, lr=5e-4, augmentation=CALM),
            replace(finish, epochs=2),
        ),
        # Full resolution from the first step: on 30 unseen patients better by 0.03 than finishing with it.
        # Ten patients' Dice may single out an epoch of the highest learning rate: the calm ones go on from
        # the last, which has come to rest.
        "unet-lite0": (
            replace(large, epochs=16, size=256, initialise="imagenet", best_by="last"),
            replace(large, epochs=4, size=256, lr=5e-4, augmentation=CALM),
        ),
    }


def _gpu() -> dict[str, Stages]:
    """One H100, minutes a network: full resolution from the first step.

    Half of the slices an epoch: where every slice is drawn, the tumour's weight chooses nothing. Not
    compiled: that takes a minute or two, more than it saves in epochs of a few seconds.
    """
    full = Recipe(epochs=100, slices_per_epoch=1424, batch_size=32, size=256, lr=1e-3, ema=0.999)
    gate = replace(_GATE, epochs=60, slices_per_epoch=1424, batch_size=64, size=256, ema=0.998)
    return {
        "gate": (gate,),
        "unet": (full,),
        "unet-mini": (replace(full, epochs=150, lr=2e-3),),
        "unet-resnext50": (full,),
        "unet-lite0": (replace(full, initialise="imagenet"),),
    }


def _reference() -> dict[str, Stages]:
    """Weighted cross-entropy, 32 epochs over every slice as it is, best by validation loss, nothing else."""
    plain = Recipe(
        epochs=32,
        slices_per_epoch=2848,
        size=256,
        lr=1e-4,
        schedule="constant",
        loss="bce",
        tumour_weight=1,
        best_by="loss",
        ema=0,
        augmentation=PLAIN,
    )
    return {name: (plain,) for name in get_args(Model)}


#: Name → architecture → stages.
RECIPES: dict[RecipeName, dict[str, Stages]] = {"cpu": _cpu(), "gpu": _gpu(), "reference": _reference()}
