"""The recipes by name: `gpu` and `cpu` are ours, `reference` is what the published network was trained by.

What raised Dice elsewhere and is in ours: slices with tumour drawn more often, Dice + cross-entropy, strong
augmentation (`train.augment`), AdamW by one cycle, an average of the weights, both kinds of statistics mixed.
"""

from dataclasses import replace
from typing import Literal

from train.augment import PLAIN, Augmentation
from train.recipe import Recipe

RecipeName = Literal["cpu", "gpu", "reference"]
#: Stages of training; each begins with the best weights of the one before.
Stages = tuple[Recipe, ...]


#: Bent twice as far. The gate, which learns one bit a slice, needs it most: with it, and twice the epochs,
#: its AUROC on validation patients rose by more than a point.
BOLD = Augmentation(rotate=25, scale=0.25, elastic=0.02, gain=0.25, bias=0.2, gamma=0.3, noise=0.2, drop=0.15)
#: Hardly bent at all, for the last epochs: slices as they will be met.
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

    Half resolution teaches most in a quarter of the time. Its last epochs, hardly bent, took every
    segmenter further by validation. A short finish at full resolution may add the borders; Lite0 it made
    no better, and `--stages` leaves it out. The gate sees more at three quarters of the resolution,
    taught by Lite0 (`--teacher weights/unet-lite0`) and averaged over many epochs. Small batches and a
    teacher take mini further in the same time: over a few epochs each does by itself, small batches most
    (`ablate`). Tried, and no better by validation: for Lite0 three quarters of the resolution,
    upside-down slices with more tumour drawn, slices bent less from the first epoch on, a second round of
    twenty epochs by `BOLD` before calm ones; for the gate epochs that are hardly bent, and full resolution
    after half of it.
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
        "unet-lite0": (
            replace(large, epochs=32, initialise="imagenet"),
            replace(large, epochs=8, lr=5e-4, augmentation=CALM),
            replace(large, epochs=5, size=256, lr=5e-4, augmentation=CALM),
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
    return {name: (plain,) for name in ("gate", "unet", "unet-mini", "unet-resnext50", "unet-lite0")}


#: Name → architecture → stages.
RECIPES: dict[RecipeName, dict[str, Stages]] = {"cpu": _cpu(), "gpu": _gpu(), "reference": _reference()}
