"""A recipe: everything that decides how a network is trained, and what the command line can change of it."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from train.augment import PLAIN, Augmentation
from train.losses import LossName

Start = Literal["imagenet", "scratch"]
Criterion = Literal["dice", "slice_tumour", "auroc", "loss"]
Schedule = Literal["one_cycle", "cosine", "constant"]


@dataclass(frozen=True)
class Recipe:
    """One stage of training; `train.recipes` names those that we use. The defaults are for two cores."""

    epochs: int = 14
    """How often `slices_per_epoch` slices are drawn."""
    slices_per_epoch: int = 1408
    """Slices drawn in an epoch, over all processes; what does not fill a last batch is left out."""
    batch_size: int = 16
    """Slices in a step, over all processes."""
    size: int = 128
    """Side of the network's input in pixels; the data set's own is 256."""
    lr: float = 2e-3
    """Highest learning rate."""
    schedule: Schedule = "one_cycle"
    """Up and down again (Smith, 2018), only down along a cosine, or always the highest."""
    warm_up: float = 0.15
    """Share of the steps in which one_cycle rises."""
    weight_decay: float = 1e-2
    """AdamW's weight decay."""
    loss: LossName = "dice_bce"
    """`bce` with `pos_weight` from the training set is the reference's; `dice_bce` is better."""
    tumour_weight: float = 4
    """How many times as often a slice with tumour is drawn as one without."""
    initialise: Start = "scratch"
    """Start of the encoder; `imagenet` falls back to scratch where there are no such weights, and says so."""
    best_by: Criterion = "dice"
    """What the best epoch is best at, on the validation side: `dice` is the mean of its volumes."""
    ema: float = 0.99
    """Share that a running average of the weights keeps in each step, which is then what counts; 0: none."""
    mask_head: float = 0
    """The gate alone: weight of a loss that makes its inner layers find the tumour too, see `MaskHead`."""
    teacher_share: float = 0.5
    """Where a segmenter is given a teacher: its share of the loss; the masks keep the rest."""
    hints: float = 1
    """Where a teacher is given: weight of the loss that makes inner layers say what its encoder says, see
    `train.hints`; 0: none."""
    freeze_batchnorm: bool = False
    """Keep BatchNorm's statistics as they are, for fine-tuning on few slices."""
    compile: bool = False
    """Fuse a step's operations by `torch.compile`; on CUDA only."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """How far slices are bent."""
    seed: int = 0
    """Seed of weights, sampling and augmentation."""

    @property
    def steps(self) -> int:
        """Steps in an epoch, at least one."""
        return max(1, self.slices_per_epoch // self.batch_size)


@dataclass(frozen=True)
class Changes:
    """What to change in all stages of the recipe; what is left out stays as train/recipes.py has it."""

    epochs: int | None = None
    """Epochs of each stage."""
    slices_per_epoch: int | None = None
    """Slices drawn in an epoch."""
    batch_size: int | None = None
    """Slices in a step, over all processes."""
    size: int | None = None
    """Side of the network's input."""
    lr: float | None = None
    """Highest learning rate."""
    schedule: Schedule | None = None
    """one_cycle, cosine or constant."""
    warm_up: float | None = None
    """Share of the steps in which one_cycle rises."""
    loss: LossName | None = None
    """`bce` (the reference's, with pos_weight) or `dice_bce`."""
    tumour_weight: float | None = None
    """How many times as often a slice with tumour is drawn."""
    initialise: Start | None = None
    """Start of the encoder."""
    best_by: Criterion | None = None
    """What chooses the best epoch."""
    ema: float | None = None
    """Share that the running average of the weights keeps in each step; 0 switches it off."""
    mask_head: float | None = None
    """The gate alone: weight of the loss of its mask head; 0 leaves it out."""
    hints: float | None = None
    """With a teacher: weight of what its encoder teaches the inner layers; 0 leaves it out."""
    freeze_batchnorm: bool | None = None
    """Keep BatchNorm's statistics, for fine-tuning on few slices."""
    compile: bool | None = None
    """torch.compile, on CUDA."""
    augment: bool | None = None
    """False shows every slice as it is, by its volume's statistics."""
    seed: int | None = None
    """Seed of everything random."""

    def __str__(self) -> str:
        """`epochs 12, size 128`; empty where nothing is changed."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        return ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in given.items() if v is not None)

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with what was given instead of its own."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        augment = given.pop("augment")
        changed = replace(recipe, **{name: value for name, value in given.items() if value is not None})
        return replace(changed, augmentation=PLAIN) if augment is False else changed
