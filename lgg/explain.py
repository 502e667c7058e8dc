"""Why, and how sure: the gate's Grad-CAM, what a mirror changes, agreement of models, plain words."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lgg import metrics
from lgg.cascade import Cascade
from lgg.preprocess import Prepared, resize, undo


def grad_cam(cascade: Cascade, prepared: Prepared) -> NDArray[np.float32]:
    """Grad-CAM of the gate (Selvaraju et al., 2017) at its last convolutional layer, 8 × 8 cells at 256.

    Each map is relative to its own slice, its highest place is 1: show it beside the gate's probability,
    which says how much there is to explain. Where nothing speaks for a glioma the map is zero.

    Args:
        cascade: whose gate is asked.
        prepared: N slices, with their own statistics or their volume's.

    Returns:
        (N, H, W) float32, 0 to 1, at the slices' own size.
    """
    size = cascade.gate_config.input_size
    fine = resize(cascade.gate_engine.evidence(prepared.network_input(size)), size, size)
    maps = undo(fine, *prepared.pixels.shape[1:3])
    highest = maps.max((1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)


def flip_spread(cascade: Cascade, prepared: Prepared) -> NDArray[np.float32]:
    """How far the segmenter's answer moves when slices are mirrored from left to right.

    A head is nearly symmetric, and the networks were trained with this flip. The segmenter runs on every
    slice, whatever the gate says.

    Args:
        cascade: who is asked.
        prepared: N slices, with their own statistics or their volume's.

    Returns:
        (N, H, W) float32, standard deviation of both tumour probabilities, 0 (sure) to 0.5.
    """
    plain, mirrored = cascade.raw(prepared).probability, cascade.raw(prepared.mirror()).probability
    return np.stack([plain, mirrored[..., ::-1]]).std(0)


def agreement(masks: Sequence[NDArray[np.bool_]]) -> float | None:
    """Mean Dice over all pairs of several models' masks: 1 where all are the same, all empty included.

    None where there are fewer than two.
    """
    pairs = [metrics.dice(first, second) for first, second in combinations(masks, 2)]
    return float(np.mean(pairs)) if pairs else None


def in_words(probability: float, error: float | None = None) -> str:
    """The gate's probability in plain words, with how far such numbers were off when they were measured.

    Args:
        probability: 0 to 1.
        error: its expected calibration error on test patients, 0 to 1; None where nobody measured it.
    """
    tenths = round(10 * probability)
    many = {0: "Fewer than 1 in 20", 10: "More than 19 in 20"}.get(tenths, f"About {tenths} in 10")
    share = f"{many} slices that look like this to the gate would hold a glioma"
    if error is None:
        return f"{share}, if its probabilities were right; nobody has measured whether they are."
    points = max(1, round(100 * error))
    unit = "point" if points == 1 else "points"
    measured = f"on test patients its probabilities were off by {points} percentage {unit} on average"
    return f"{share}, give or take: {measured}."
