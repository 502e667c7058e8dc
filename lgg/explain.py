"""Why, and how sure: the gate's Grad-CAM, test-time augmentation, agreement of models, plain words."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lgg import metrics
from lgg.cascade import Cascade
from lgg.preprocess import PadGeometry, Prepared, resize, undo
from lgg.weights import ModelConfig

Flip = Literal["none", "left-right", "up-down"]
#: A head is nearly symmetric from left to right, and the networks were trained with this flip.
FLIPS: tuple[Flip, ...] = ("none", "left-right")
AXES: dict[Flip, tuple[int, ...]] = {"none": (), "left-right": (2,), "up-down": (1,)}


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
    maps = undo(fine, PadGeometry(prepared.pixels.shape[1], prepared.pixels.shape[2], size))
    highest = maps.max((1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)


@dataclass(frozen=True)
class Spread:
    """How answers differ from one view of the same slices to the next.

    Attributes:
        gate: (K, N) float32, the gate's probability in each of K views.
        mean: (N, H, W) float32, mean tumour probability, 0 to 1.
        std: (N, H, W) float32, standard deviation of the tumour probabilities, 0 (sure) to 0.5.
    """

    gate: NDArray[np.float32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]


def flip_spread(cascade: Cascade, prepared: Prepared, flips: Sequence[Flip] = FLIPS) -> Spread:
    """Test-time augmentation by mirroring: examine slices as they are and mirrored, and mirror back.

    The segmenter runs on every slice, whatever the gate says.

    Args:
        cascade: who is asked.
        prepared: N slices, with their own statistics or their volume's.
        flips: the views; `up-down` is one that no network was made for, so it exaggerates.
    """
    gates, maps = [], []
    for flip in flips:
        seen = cascade.raw(prepared.flip(AXES[flip]))
        gates.append(seen.gate)
        maps.append(np.flip(seen.probability, AXES[flip]))
    stacked = np.stack(maps)
    return Spread(np.stack(gates), stacked.mean(0), stacked.std(0))


def agreement(masks: Sequence[NDArray[np.bool_]]) -> float:
    """Mean Dice over all pairs of several models' masks: 1 where all are the same, all empty included.

    Raises:
        ValueError: there are fewer than two masks.
    """
    pairs = list(combinations(masks, 2))
    if not pairs:
        raise ValueError("agreement takes two models or more")
    return float(np.mean([metrics.dice(first, second) for first, second in pairs]))


def calibration_error(gate: ModelConfig) -> float | None:
    """The gate's expected calibration error on test patients, as recorded with its weights, 0 to 1."""
    value = gate.metrics.get("measures", {}).get("ece", {}).get("value")
    return float(value) if isinstance(value, int | float) else None


def in_words(probability: float, error: float | None = None) -> str:
    """The gate's probability in plain words, with how far such numbers were off when they were measured.

    Args:
        probability: 0 to 1.
        error: its `calibration_error`, 0 to 1; None where nobody measured it.
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
