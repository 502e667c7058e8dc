"""Which slices a step sees: drawn anew each epoch, slices with tumour more often."""

import torch
from torch import Tensor


def draw_epoch(tumour: Tensor, count: int, tumour_weight: float, generator: torch.Generator) -> Tensor:
    """Indices of an epoch's slices: (count,) int64.

    Without replacement as far as the set reaches, so an epoch shows as many different slices as it can.

    Args:
        tumour: (N,) bool.
        tumour_weight: a slice with tumour comes up about this many times as often as one without.
    """
    weights = torch.where(tumour.cpu(), float(tumour_weight), 1.0).double()
    if count <= len(weights):
        return torch.multinomial(weights, count, generator=generator)
    return torch.multinomial(weights, count, replacement=True, generator=generator)


def pixel_weight(masks: Tensor) -> Tensor:
    """The reference's `pos_weight` of the segmenters: empty pixels for each tumour pixel, a scalar."""
    share = masks.mean(dtype=torch.float64)
    return ((1 - share) / share.clamp(min=1e-6)).float()


def slice_weight(tumour: Tensor) -> Tensor:
    """The reference's `pos_weight` of the gate: empty slices for each slice with tumour, a scalar."""
    return ((~tumour).sum() / tumour.sum().clamp(min=1)).float()
