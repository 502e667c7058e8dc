"""Why the gate said so: Grad-CAM, where in a slice it saw what raised its probability."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lgg.cascade import BATCH, Cascade
from lgg.preprocess import Placement, Statistics, measure, network_input, restore


def grad_cam(
    cascade: Cascade, pixels: NDArray[np.float32], found: Sequence[Statistics] | None = None
) -> NDArray[np.float32]:
    """Grad-CAM of the gate (Selvaraju et al., 2017) at its last convolutional layer, 8 × 8 cells at 256.

    Each map is relative to its own slice, its highest place is 1: show it beside the gate's probability,
    which says how much there is to explain. Where nothing speaks for a glioma the map is zero.

    Args:
        cascade: whose gate is asked.
        pixels: (N, H, W, 3) float32, slices of one size.
        found: the slices' statistics, by default each slice's own.

    Returns:
        (N, H, W) float32, 0 to 1, at the slices' own size.
    """
    size = cascade.gate_config.input_size
    inputs = network_input(pixels, list(found or measure(pixels, "slice")[1]), size)
    coarse = torch.cat([_maps(cascade.gate, part.to(cascade.device)).cpu() for part in inputs.split(BATCH)])
    fine = F.interpolate(coarse[:, None], (size, size), mode="bilinear")[:, 0]
    maps = restore(fine, Placement(pixels.shape[1], pixels.shape[2], size))
    highest = maps.max((1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)


@torch.inference_mode()
def _maps(gate: nn.Module, inputs: Tensor) -> Tensor:
    """The positive evidence in each cell of the last layer: (N, h, w), any scale.

    Behind that layer ResNet18 only averages and weighs, so the gradient of its logit by a channel is that
    channel's weight over the number of cells, the same everywhere. No hook or backward pass is needed, and
    threads may share the network.
    """
    features = inputs
    for name, layer in gate.named_children():
        if name in ("avgpool", "fc"):
            break
        features = layer(features)
    weights = gate.get_parameter("fc.weight")[0].float()
    return torch.einsum("nchw,c->nhw", features.float(), weights).relu()
