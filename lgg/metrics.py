"""Overlap of two masks and quality of a gate, each measure defined once.

Masks are bool arrays of equal shape: a slice (H, W), a volume (N, H, W) or a whole set at once (*pooled*).
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
T = TypeVar("T")

#: In numerator and denominator, so that empty against empty is 1.
EPSILON = 1e-6
ECE_BINS = 15
#: Draws of patients for an interval.
REPEATS = 1000


def dice(predicted: Mask, truth: Mask) -> float:
    """2|A∩B| / (|A|+|B|), 0 to 1; empty against empty is 1."""
    overlap = np.count_nonzero(predicted & truth)
    total = np.count_nonzero(predicted) + np.count_nonzero(truth)
    return (2 * overlap + EPSILON) / (total + EPSILON)


def iou(predicted: Mask, truth: Mask) -> float:
    """|A∩B| / |A∪B|, 0 to 1; empty against empty is 1."""
    overlap = np.count_nonzero(predicted & truth)
    return (overlap + EPSILON) / (np.count_nonzero(predicted | truth) + EPSILON)


def slice_dices(predicted: Mask, truth: Mask) -> NDArray[np.float64]:
    """Dice of each slice of (N, H, W) masks."""
    return np.array([dice(mask, true) for mask, true in zip(predicted, truth, strict=True)])


def slice_all(dices: Sequence[float] | NDArray, tumour: Mask, empty_share: float | None = None) -> float:
    """Mean Dice over all slices, empty ones included.

    Args:
        dices: Dice of each slice.
        tumour: whether each slice holds tumour.
        empty_share: reweight to this share of empty slices (the reference had 268 of 393), as the measure
            rises with it; None for the set's own.
    """
    values = np.asarray(dices, float)
    if empty_share is None or tumour.all() or not tumour.any():
        return float(values.mean())
    return float(empty_share * values[~tumour].mean() + (1 - empty_share) * values[tumour].mean())


def hd95(predicted: Mask, truth: Mask, spacing: Sequence[float] | None = None) -> float:
    """95th percentile of the distances between two outlines of a slice (H, W), or surfaces of a volume.

    The larger of the two directed percentiles (as MONAI); NaN where a mask is empty.

    Args:
        spacing: from pixel to pixel along each axis, in the unit of the distance; None: in pixels.
    """
    if not predicted.any() or not truth.any():
        return float("nan")
    # Tumours are small; an empty voxel around them keeps their surfaces.
    (box,) = ndimage.find_objects((predicted | truth).view(np.uint8))
    predicted, truth = np.pad(predicted[box], 1), np.pad(truth[box], 1)
    ours, theirs = edge(predicted), edge(truth)
    there = ndimage.distance_transform_edt(~theirs, spacing)[ours]
    back = ndimage.distance_transform_edt(~ours, spacing)[theirs]
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def edge(mask: Mask) -> Mask:
    """The pixels or voxels of a mask that touch what is outside of it, where the picture ends not counted."""
    return mask & ~ndimage.binary_erosion(mask, border_value=1)


def auroc(probability: NDArray[np.floating], positive: Mask) -> float:
    """Area under the ROC curve: the chance that a positive outranks a negative, ties half.

    (N,) each; NaN where one class is absent.
    """
    # Here, as it takes half a second and 45 MB, and the page never asks for it.
    from scipy.stats import rankdata

    positives = np.count_nonzero(positive)
    negatives = positive.size - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(probability)[positive]  # equal values share their mean rank
    return float((ranks.sum() - positives * (positives + 1) / 2) / (positives * negatives))


def calibration_error(probability: NDArray[np.floating], positive: Mask) -> float:
    """Expected calibration error over equal bins (Guo et al., 2017): mean |share of positives − mean p|."""
    which = np.minimum((np.asarray(probability) * ECE_BINS).astype(int), ECE_BINS - 1)
    error = 0.0
    for number in np.unique(which):
        inside = which == number
        error += inside.mean() * abs(positive[inside].mean() - probability[inside].mean())
    return float(error)


def bootstrap_interval(
    statistic: Callable[[Sequence[T]], float], patients: Sequence[T]
) -> tuple[float, float]:
    """95 % interval of a statistic, by drawing whole patients (never slices) with replacement.

    Draws in which the statistic is not defined (NaN) are left out.

    Args:
        statistic: from any patients' results to a number.
        patients: the results of each patient.
    """
    draws = np.random.default_rng(0).integers(0, len(patients), (REPEATS, len(patients)))
    values = np.array([statistic([patients[row] for row in draw]) for draw in draws])
    if np.isnan(values).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
