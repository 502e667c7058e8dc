"""Recipes: everything that decides how a network is trained, and what the command line can change."""

from dataclasses import dataclass, field
from typing import Literal

from train.augment import Augmentation
from train.losses import LossName


@dataclass(frozen=True)
class Recipe:
    """One training run. The defaults are the segmenters' on two cores (half resolution)."""

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
    initialise: Literal["imagenet", "scratch"] = "scratch"
    """Start of the encoder; `imagenet` falls back to scratch where no such weights can be had, and says so."""
    best_by: Literal["dice", "auroc", "loss"] = "dice"
    """What the best epoch is best at, on the validation side."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """How far slices are bent."""
    seed: int = 0
    """Seed of weights, sampling and augmentation."""


#: Architecture → what differs from `Recipe()`.
CPU_RECIPES = {
    "gate": Recipe(epochs=20, lr=1e-3, loss="bce", tumour_weight=1.5, best_by="auroc", batch_size=32),
    "unet": Recipe(lr=1e-3),
    "unet-mini": Recipe(lr=3e-3),
    "unet-resnext50": Recipe(lr=1e-3, initialise="imagenet"),
    "unet-lite0": Recipe(lr=2e-3, initialise="imagenet"),
}
