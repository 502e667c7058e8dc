"""Augmentation of a batch on the device it lies on, and the choice of its statistics.

Every random number comes from the generator given, so a resumed run repeats them.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lgg.preprocess import normalise
from lgg.types import FLAIR, POST, PRE
from train.data.dataset import Slices
from train.recipes import Augmentation

#: Where `Slices` keeps a slice's own statistics, and where its volume's.
SLICE, VOLUME = 0, 1


def augment(batch: Slices, how: Augmentation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch as the network gets it.

    Args:
        batch: N slices in raw units.
        how: how far.
        generator: source of randomness, on the batch's device.

    Returns:
        inputs (N, 3, S, S) float32 and masks (N, 1, S, S) float32 in {0, 1}.
    """

    def uniform(*shape: int) -> Tensor:  # -1 to 1
        return torch.rand(shape, generator=generator, device=batch.fitted.device) * 2 - 1

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=batch.fitted.device)

    count = len(batch)
    images, masks = batch.fitted, batch.masks
    if how.bias:
        field = F.interpolate(normal(count, 1, 4, 4) * how.bias, images.shape[-2:], mode="bicubic")
        images = images * (1 + field).clamp(min=0.2)

    own = (uniform(count) + 1) / 2 < how.slice_statistics
    which = torch.where(own, SLICE, VOLUME)
    rows = torch.arange(count, device=images.device)
    images = normalise(images, batch.mean[rows, which], batch.std[rows, which])

    if how.rotate or how.scale or how.shift or how.flip or how.elastic:
        grid = _grid(how, uniform(count), uniform(count), uniform(count, 2), uniform(count), masks)
        if how.elastic:
            # Six control points a side: bends as wide as a gyrus, not a ripple that would tear thin borders.
            bend = F.interpolate(normal(count, 2, 6, 6) * how.elastic, images.shape[-2:], mode="bicubic")
            grid = grid + 2 * bend.permute(0, 2, 3, 1)  # the grid runs from -1 to 1
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        masks = F.grid_sample(masks, grid, padding_mode="zeros", align_corners=False)
    if how.gamma:
        low, high = images.amin((-2, -1), keepdim=True), images.amax((-2, -1), keepdim=True)
        span = (high - low).clamp(min=1e-6)
        exponent = torch.exp(normal(count, 3, 1, 1) * how.gamma)
        images = ((images - low) / span) ** exponent * span + low
    images = images * (1 + how.gain * normal(count, 3, 1, 1)) + how.gain * normal(count, 3, 1, 1)
    if how.noise:
        images = images + normal(*images.shape) * (how.noise * uniform(count, 1, 1, 1).abs())
    pre, post, both = ((uniform(count) + 1) / 2 < share for share in (how.drop, how.drop, how.drop_both))
    images = drop_sequences(images, pre | both, post | both)
    return images, (masks >= 0.5).float()


def drop_sequences(images: Tensor, pre: Tensor, post: Tensor) -> Tensor:
    """Replace a sequence by FLAIR, as the data set does where one is missing; `pre`, `post`: (N,) bool."""
    images = images.clone()
    for channel, missing in ((PRE, pre), (POST, post)):
        images[missing, channel] = images[missing, FLAIR]
    return images


def _grid(
    how: Augmentation, turn: Tensor, zoom: Tensor, move: Tensor, mirror: Tensor, like: Tensor
) -> Tensor:
    angle = turn * math.radians(how.rotate)
    factor = 1 + zoom * how.scale
    side = torch.where((mirror + 1) / 2 < how.flip, -1.0, 1.0)
    cos, sin = angle.cos() * factor, angle.sin() * factor
    offset = move * 2 * how.shift  # the grid runs from -1 to 1
    rows = (torch.stack([cos * side, -sin, offset[:, 0]], 1), torch.stack([sin * side, cos, offset[:, 1]], 1))
    return F.affine_grid(torch.stack(rows, 1), list(like.shape), align_corners=False)
