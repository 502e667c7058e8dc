"""From two networks' probabilities to the mask: what the gate may veto, and in a series the neighbours."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lgg.types import Prediction, RawOutput, SeriesResult, Thresholds

Gating = Literal["none", "hard", "soft"]
#: A tumour runs through neighbouring slices. In a series, a component that does not reach through so many, or
#: holds less than this share of the largest one's pixels, is taken for a false alarm. In the ground truth of
#: the 80 training patients that goes for 6 of 88 components, none of them a patient's largest, which hold
#: 0.04 % of the tumour.
DEPTH, SHARE = 2, 0.02
#: In a series of fewer slices, a tumour may well show in one alone.
FEWEST = 10


def gate_floor(thresholds: Thresholds, gating: Gating) -> float:
    """The gate's probability below which a slice does not need the segmenter at all; 0: each does."""
    return {"none": 0.0, "hard": thresholds.gate, "soft": thresholds.low}[gating]


def keeps_outline(
    gate: float | NDArray[np.float64],
    sure: float | NDArray[np.float64],
    thresholds: Thresholds,
    gating: Gating,
) -> NDArray[np.bool_]:
    """Whether the gate lets slices keep what the segmenter outlines in them: bool, of the inputs' shape.

    Args:
        gate: the gate's probabilities, 0 to 1.
        sure: mean probability inside each slice's outline, 0 where it is empty; only `soft` asks for it.
        gating: `none` trusts the segmenter; `hard` empties what the gate does not pass; `soft` lets slices
            about which the gate is unsure keep an outline that the segmenter is sure of.
    """
    gate, sure = np.asarray(gate), np.asarray(sure)
    passed = gate >= gate_floor(thresholds, gating)
    if gating == "soft":
        passed = passed & ((gate >= thresholds.high) | (sure >= thresholds.keep))
    return np.asarray(passed)


def outline(probability: NDArray[np.float32], thresholds: Thresholds) -> NDArray[np.bool_]:
    """What the segmenter outlines in a slice, whatever the gate says: (H, W) probabilities to (H, W) bool."""
    return remove_small(probability >= thresholds.mask, thresholds.smallest)


def confidence(probability: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Mean probability inside an outline; 0 where it is empty."""
    return float(probability[mask].mean()) if mask.any() else 0.0


def decide(
    gate: float, probability: NDArray[np.float32], thresholds: Thresholds, gating: Gating
) -> NDArray[np.bool_]:
    """The mask of a slice, (H, W) bool.

    Args:
        gate: the gate's probability.
        probability: (H, W) float32, tumour probability of each pixel.
        gating: what the gate may veto, see `keeps_outline`.
    """
    mask = outline(probability, thresholds)
    sure = confidence(probability, mask) if gating == "soft" else 0.0
    return mask if keeps_outline(gate, sure, thresholds, gating) else np.zeros_like(mask)


def decide_all(raw: RawOutput, thresholds: Thresholds, gating: Gating, series: bool) -> NDArray[np.bool_]:
    """The masks of N slices, (N, H, W) bool.

    Args:
        series: leave out what no neighbouring slice confirms, see `remove_isolated`.
    """
    pairs = zip(raw.gate, raw.probability, strict=True)
    masks = np.stack([decide(float(gate), probability, thresholds, gating) for gate, probability in pairs])
    return remove_isolated(masks) if series else masks


def remove_small(mask: NDArray[np.bool_], smallest: float) -> NDArray[np.bool_]:
    """The mask without its components below a size; pixels that touch at a corner belong together.

    Args:
        mask: (H, W) bool.
        smallest: share of the square over the picture's longer side.
    """
    pixels = smallest * max(mask.shape) ** 2
    if pixels <= 1 or not mask.any():
        return mask
    # Tumours are small: what lies around all of them need not be searched.
    (box,) = ndimage.find_objects(mask.view(np.uint8))
    components, _ = ndimage.label(mask[box], np.ones((3, 3)))
    large = np.bincount(components.ravel()) >= pixels
    large[0] = False  # what is no component
    kept = np.zeros_like(mask)
    kept[box] = large[components]
    return kept


def remove_isolated(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The masks of a series without the components that no neighbouring slice confirms, see `DEPTH`.

    Pixels that touch at a corner belong together, in the slice and from slice to slice.

    Args:
        masks: (N, H, W) bool, in slice order.

    Returns:
        bool of the same shape; the masks themselves where there are fewer than `FEWEST`.
    """
    if len(masks) < FEWEST or not masks.any():
        return masks
    (box,) = ndimage.find_objects(masks.view(np.uint8))
    components, count = ndimage.label(masks[box], np.ones((3, 3, 3)))
    pixels, depths = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    for slice_ in components:  # counting a large series at once would take eight bytes a voxel
        counts = np.bincount(slice_.ravel(), minlength=count + 1)
        pixels += counts
        depths += counts > 0
    pixels[0] = 0  # what is no component
    kept = (pixels >= SHARE * pixels.max()) & (depths >= DEPTH)
    kept[0] = False
    confirmed = np.zeros_like(masks)
    confirmed[box] = kept[components]
    return confirmed


def redecide(result: SeriesResult, thresholds: Thresholds, gating: Gating = "hard") -> SeriesResult:
    """The same answers of the networks, judged by other thresholds.

    Where the segmenter did not run (`always_segment`), there is no mask that another gate could let pass.
    """
    floor = gate_floor(thresholds, gating)
    decided = [
        replace(
            prediction,
            mask=decide(prediction.gate_probability, prediction.probability, thresholds, gating),
            passed=prediction.gate_probability >= floor,
            thresholds=thresholds,
        )
        for prediction in result.predictions
    ]
    return replace(result, predictions=tuple(confirmed(decided)), corrected=False)


def corrected(result: SeriesResult, masks: NDArray[np.bool_]) -> SeriesResult:
    """A result with masks that were drawn by hand, (N, H, W) bool; all else stays what the networks said."""
    pairs = zip(result.predictions, masks, strict=True)
    drawn = tuple(replace(prediction, mask=mask) for prediction, mask in pairs)
    return replace(result, predictions=drawn, corrected=True)


def confirmed(predictions: Sequence[Prediction]) -> list[Prediction]:
    """A whole series' predictions, in its order, without what no neighbouring slice confirms.

    See `remove_isolated`. What was confirmed already stays as it is.
    """
    masks = remove_isolated(np.stack([prediction.mask for prediction in predictions]))
    return [replace(prediction, mask=mask) for prediction, mask in zip(predictions, masks, strict=True)]
