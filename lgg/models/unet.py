"""The U-Net of Ronneberger et al. (2015), with batch normalisation and padded convolutions.

One class serves two networks: `unet` (widths 64 to 1024, ReLU, transposed convolutions) and `unet-mini`
(widths 32 to 256, ELU, nearest upsampling and a 1×1 convolution).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "elu"]
Upsampling = Literal["transposed", "nearest"]


class DoubleConv(nn.Sequential):
    """Twice: 3×3 convolution, batch normalisation, activation. (N, in, H, W) to (N, out, H, W)."""

    def __init__(self, inputs: int, outputs: int, activation: Activation) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            # The normalisation's shift makes a bias of the convolution redundant.
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
            layers += [nn.ELU(inplace=True) if activation == "elu" else nn.ReLU(inplace=True)]
        super().__init__(*layers)


class Down(nn.Sequential):
    """Halve the resolution, then `DoubleConv`."""

    def __init__(self, inputs: int, outputs: int, activation: Activation) -> None:
        super().__init__(nn.MaxPool2d(2), DoubleConv(inputs, outputs, activation))


class Up(nn.Module):
    """Double the resolution, join the encoder's features of that resolution, then `DoubleConv`."""

    def __init__(self, inputs: int, outputs: int, activation: Activation, upsampling: Upsampling) -> None:
        super().__init__()
        self.up: nn.Module
        if upsampling == "transposed":
            self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        else:
            self.up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 1))
        self.conv = DoubleConv(2 * outputs, outputs, activation)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        up = self.up(deep)
        # Pooling rounds odd sizes down; repeat the last row or column to meet the encoder's size again.
        rows, columns = skip.shape[-2] - up.shape[-2], skip.shape[-1] - up.shape[-1]
        if rows or columns:
            up = F.pad(up, (0, columns, 0, rows), mode="replicate")
        return self.conv(torch.cat([skip, up], 1))


class UNet(nn.Module):
    """Logits of tumour for every pixel: (N, 3, H, W) to (N, 1, H, W), any H and W from 16 up.

    Args:
        widths: channels at each resolution, the finest first; each further one halves the resolution.
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: Activation = "relu",
        upsampling: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        steps = list(pairwise(widths))
        self.stem = DoubleConv(3, widths[0], activation)
        self.downs = nn.ModuleList(Down(fine, coarse, activation) for fine, coarse in steps)
        self.ups = nn.ModuleList(Up(coarse, fine, activation, upsampling) for fine, coarse in reversed(steps))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        """What the way down says: (N, C, H, W) at each resolution, the finest first."""
        features = [self.stem(x)]
        for down in self.downs:
            features.append(down(features[-1]))
        return features

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """Logits from what `encode` returns."""
        *skips, x = features
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
        return self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))
