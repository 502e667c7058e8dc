"""The maps that some layers need beside the prediction: why the gate said so, how unsure the segmenter is."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lgg.cascade import Cascade
from lgg.explain import grad_cam
from lgg.preprocess import Statistics
from lgg.uncertainty import flip_spread
from lgg.view import Layer

Map = NDArray[np.float32]
#: Layers that run a network once more.
EXTRA: tuple[Layer, ...] = ("why", "unsure")


def extra_map(
    cascade: Cascade, pixels: NDArray[np.float32], layer: Layer, found: Sequence[Statistics] | None = None
) -> Map:
    """The map of one slice for a layer of `EXTRA`.

    Args:
        pixels: (1, H, W, 3) float32.
        found: the slice's statistics, where they are its volume's.

    Returns:
        (H, W) float32.
    """
    if layer == "why":
        return grad_cam(cascade, pixels, found)[0]
    return flip_spread(cascade, pixels, found).std[0]
