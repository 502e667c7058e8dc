"""Losses on logits. The reference's weighted cross-entropy, and Dice + cross-entropy."""

from typing import Literal

import torch
import torch.distributed as dist
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
    much as missing a whole tumour. Over the batch of *all* processes: two with half a batch each learn what
    one with the whole batch would.

    Args:
        logits, target: (N, 1, H, W).
    """
    probability = logits.sigmoid()
    sums = torch.stack([(probability * target).sum(), probability.sum() + target.sum()])
    if logits.requires_grad and dist.is_available() and dist.is_initialized():
        # Its gradient is summed over the processes too, which their averaging then divides by their number.
        from torch.distributed.nn.functional import all_reduce  # only there where torch was built with it

        sums = all_reduce(sums)
    overlap, total = sums.unbind()
    return 1 - (2 * overlap + SMOOTH) / (total + SMOOTH)


def loss_of(name: LossName, logits: Tensor, target: Tensor, pos_weight: Tensor | None) -> Tensor:
    """`bce` is the reference's choice; `dice_bce` adds Dice to an unweighted cross-entropy."""
    if name == "bce":
        return bce(logits, target, pos_weight)
    return dice_loss(logits, target) + bce(logits, target)
