"""Losses on logits. The reference's weighted cross-entropy, and Dice + cross-entropy."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

LossName = Literal["bce", "dice_bce"]
#: Makes the Dice of empty against empty 1, and keeps the gradient finite.
SMOOTH = 1.0


def bce(logits: Tensor, target: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy; positives count `pos_weight` times. Any equal shapes, target 0 to 1."""
    return F.binary_cross_entropy_with_logits(logits, target, pos_weight=pos_weight)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 − soft Dice over the whole batch (Milletari et al., 2016); a batch without tumour is no special case.

    Over the batch, not a mean over slices: on an empty slice the latter punishes any trace of probability as
    much as missing a whole tumour.

    Args:
        logits, target: (N, 1, H, W).
    """
    probability = logits.sigmoid()
    overlap = (probability * target).sum()
    return 1 - (2 * overlap + SMOOTH) / (probability.sum() + target.sum() + SMOOTH)


def loss_of(name: LossName, logits: Tensor, target: Tensor, pos_weight: Tensor | None) -> Tensor:
    """`bce` is the reference's choice; `dice_bce` adds Dice to an unweighted cross-entropy."""
    if name == "bce":
        return bce(logits, target, pos_weight)
    return dice_loss(logits, target) + bce(logits, target)
