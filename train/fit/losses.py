"""Losses on logits. The reference's weighted cross-entropy, and Dice + cross-entropy."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from train.recipes import LossName

#: Makes the Dice of empty against empty 1, and keeps the gradient finite.
SMOOTH = 1.0


def bce(logits: Tensor, target: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy; positives count `pos_weight` times. Any equal shapes, target 0 to 1."""
    return F.binary_cross_entropy_with_logits(logits, target, pos_weight=pos_weight)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 − soft Dice (Milletari et al., 2016): half over the whole batch, half the mean of its tumour slices.

    Over the batch, so that an empty slice is no special case and each false pixel counts; but there large
    tumours drown small ones, and the edges of all of them, so each slice with tumour has its own say as well.
    The batch is that of *all* processes: two with half of it each learn what one with the whole would.

    Args:
        logits, target: (N, 1, H, W); a slice whose target reaches one half anywhere holds tumour.
    """
    probability = logits.sigmoid()
    overlap = (probability * target).sum((1, 2, 3))
    total = probability.sum((1, 2, 3)) + target.sum((1, 2, 3))
    holds = (target.amax((1, 2, 3)) >= 0.5).float()
    each = (2 * overlap + SMOOTH) / (total + SMOOTH)
    sums = torch.stack([overlap.sum(), total.sum(), (each * holds).sum(), holds.sum()])
    if logits.requires_grad and dist.is_available() and dist.is_initialized():
        # Its gradient is summed over the processes too, which their averaging then divides by their number.
        from torch.distributed.nn.functional import all_reduce  # only there where torch was built with it

        sums = all_reduce(sums)
    overlap, total, dices, slices = sums.unbind()
    batch = (2 * overlap + SMOOTH) / (total + SMOOTH)
    # Without a slice with tumour, the batch alone counts.
    own = torch.where(slices > 0, dices / slices.clamp(min=1), batch)
    return 1 - (batch + own) / 2


def loss_of(name: LossName, logits: Tensor, target: Tensor, pos_weight: Tensor | None) -> Tensor:
    """`bce` is the reference's choice; `dice_bce` adds Dice to an unweighted cross-entropy."""
    if name == "bce":
        return bce(logits, target, pos_weight)
    return dice_loss(logits, target) + bce(logits, target)
