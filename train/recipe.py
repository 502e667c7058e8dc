"""Recipes: everything that decides how a network is trained, and what the command line can change."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from train.augment import Augmentation
from train.losses import LossName

Start = Literal["imagenet", "scratch"]
Criterion = Literal["dice", "auroc", "loss"]


@dataclass(frozen=True)
class Recipe:
    """One stage of training. The defaults are the segmenters' on two cores (half resolution)."""

    epochs: int = 14
    """How often `slices_per_epoch` slices are drawn."""
    slices_per_epoch: int = 1408
    """Slices drawn in an epoch, over all processes."""
    batch_size: int = 16
    """Slices in a step, over all processes."""
    size: int = 128
    """Side of the network's input in pixels; the data set's own is 256."""
    lr: float = 2e-3
    """Highest learning rate of the one-cycle schedule."""
    weight_decay: float = 1e-2
    """AdamW's weight decay."""
    loss: LossName = "dice_bce"
    """`bce` with `pos_weight` from the training set is the reference's; `dice_bce` is better."""
    tumour_weight: float = 4
    """How many times as often a slice with tumour is drawn as one without."""
    initialise: Start = "scratch"
    """Start of the encoder; `imagenet` falls back to scratch where there are no such weights, and says so."""
    best_by: Criterion = "dice"
    """What the best epoch is best at, on the validation side."""
    ema: float = 0.99
    """Share that a running average of the weights keeps in each step, which is then what counts; 0: none."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """How far slices are bent."""
    seed: int = 0
    """Seed of weights, sampling and augmentation."""


@dataclass(frozen=True)
class Changes:
    """What the command line may change in a recipe, in all of its stages. See `Recipe` for the meanings."""

    epochs: int | None = None
    """Epochs of each stage."""
    slices_per_epoch: int | None = None
    """Slices drawn in an epoch."""
    batch_size: int | None = None
    """Slices in a step."""
    size: int | None = None
    """Side of the network's input."""
    lr: float | None = None
    """Highest learning rate."""
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
    seed: int | None = None
    """Seed of everything random."""

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with what was given instead of its own."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(recipe, **{name: value for name, value in given.items() if value is not None})


#: Architecture → the stages of its training; each begins with the best weights of the one before.
RECIPES: dict[str, tuple[Recipe, ...]] = {
    "gate": (Recipe(epochs=20, lr=1e-3, loss="bce", tumour_weight=1.5, best_by="auroc", batch_size=32),),
    "unet": (Recipe(lr=1e-3),),
    "unet-mini": (Recipe(lr=3e-3),),
    "unet-resnext50": (Recipe(lr=1e-3, initialise="imagenet"),),
    # Half resolution teaches most in a third of the time; a short finish at full resolution adds the borders.
    "unet-lite0": (Recipe(initialise="imagenet"), Recipe(epochs=5, size=256, lr=6e-4)),
}
