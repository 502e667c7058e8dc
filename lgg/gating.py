"""From two networks' probabilities to the mask: what the gate may veto."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

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
    mask = probability >= thresholds.mask
    if not gate_passes(gate, thresholds, gating):
        return np.zeros_like(mask)
    unsure = gating == "soft" and gate < thresholds.high
    if unsure and mask.any() and probability[mask].mean() < thresholds.keep:
        return np.zeros_like(mask)
    return mask
