"""From two networks' probabilities to the mask: what the gate may veto."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lgg.weights import Thresholds

Gating = Literal["none", "hard", "soft"]


def gate_passes(gate: float, thresholds: Thresholds, gating: Gating) -> bool:
    """Whether a slice needs the segmenter at all.

    Args:
        gate: the gate's probability that the slice holds a glioma.
    """
    if gating == "hard":
        return gate >= thresholds.gate
    return gating == "none" or gate >= thresholds.low


def decide(
    gate: float, probability: NDArray[np.float32], thresholds: Thresholds, gating: Gating
) -> NDArray[np.bool_]:
    """The mask of one slice.

    Args:
        gate: the gate's probability.
        probability: (H, W) float32, tumour probability of each pixel.
        gating: `none` trusts the segmenter; `hard` empties what the gate does not pass; `soft` lets slices
            about which the gate is unsure keep a mask that the segmenter is sure of.

    Returns:
        (H, W) bool.
    """
    mask = drop_small(probability >= thresholds.mask, thresholds.smallest)
    if not gate_passes(gate, thresholds, gating):
        return np.zeros_like(mask)
    unsure = gating == "soft" and gate < thresholds.high
    if unsure and mask.any() and probability[mask].mean() < thresholds.keep:
        return np.zeros_like(mask)
    return mask


def drop_small(mask: NDArray[np.bool_], smallest: float) -> NDArray[np.bool_]:
    """The mask without its components below a size; pixels that touch at a corner belong together.

    Args:
        mask: (H, W) bool.
        smallest: share of the square over the picture's longer side.
    """
    pixels = smallest * max(mask.shape) ** 2
    if pixels <= 1 or not mask.any():
        return mask
    components, _ = ndimage.label(mask, np.ones((3, 3)))
    large = np.bincount(components.ravel()) >= pixels
    large[0] = False  # what is no component
    return large[components]
