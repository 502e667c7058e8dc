"""Hints: a network's inner layers learn to say what a teacher's encoder says there.

Thousands of numbers a slice instead of a mask or one bit, and through an encoder from ImageNet a share of
what that has seen, for networks that have no such start (FitNets: Romero et al., 2015).
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lgg.models.unet import UNet

#: How far below the input's side features lie → features (N, C, h, w).
Features = dict[int, Tensor]
#: Finer features than this are edges and noise, which each network finds by itself.
FINEST = 2


def tap(network: nn.Module, inputs: Tensor) -> tuple[Tensor, Features]:
    """A network's logits, as calling it would give them, and what its encoder says on the way.

    Args:
        network: one of `lgg.models`; of any other there are logits, but no features.
        inputs: (N, 3, S, S).
    """
    features, inner = _encode(network, inputs), cast(Any, network)
    if isinstance(network, UNet):
        logits = network.decode(features)
    elif hasattr(network, "layer4"):
        logits = inner.fc(inner.avgpool(features[-1]).flatten(1))
    elif hasattr(network, "segmentation_head"):
        logits = inner.segmentation_head(inner.decoder(features))
    else:
        logits = network(inputs)
    return logits, _by_factor(features, inputs)


def encode(network: nn.Module, inputs: Tensor) -> Features:
    """What a network's encoder says, without the rest of its work."""
    return _by_factor(_encode(network, inputs), inputs)


def _encode(network: nn.Module, inputs: Tensor) -> list[Tensor]:
    inner = cast(Any, network)
    if isinstance(network, UNet):
        return network.encode(inputs)
    if hasattr(network, "layer4"):  # torchvision's ResNet
        x = inner.maxpool(inner.relu(inner.bn1(inner.conv1(inputs))))
        return [x := layer(x) for layer in (inner.layer1, inner.layer2, inner.layer3, inner.layer4)]
    return inner.encoder(inputs) if hasattr(network, "segmentation_head") else []  # smp's, or a stranger


def _by_factor(features: list[Tensor], inputs: Tensor) -> Features:
    return {inputs.shape[-1] // one.shape[-1]: one for one in features}


class HintHead(nn.Module):
    """From a network's features to its teacher's, a 1×1 convolution a resolution; not kept after training."""

    def __init__(self, network: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        own, wanted = (_widths(one) for one in (network, teacher))
        # A U-Net with few poolings sees nothing from as far as its teacher does.
        both = [factor for factor in own if factor in wanted and factor >= FINEST]
        self.outputs = nn.ModuleDict({str(one): nn.Conv2d(own[one], wanted[one], 1) for one in both})

    def forward(self, own: Features, wanted: Features) -> Tensor:
        """Share of the wanted features' variance, channel by channel, that is missed: 0 to about 1."""
        losses = []
        for factor, output in self.outputs.items():
            target = F.batch_norm(wanted[int(factor)].float(), None, None, training=True)
            losses.append(F.mse_loss(output(own[int(factor)]).float(), target))
        return torch.stack(losses).mean()


@torch.no_grad()
def _widths(network: nn.Module) -> dict[int, int]:
    """How far below the input's side → how many channels."""
    training, device = network.training, next(network.parameters()).device
    features = encode(network.eval(), torch.zeros(1, 3, 64, 64, device=device))
    network.train(training)
    return {factor: one.shape[1] for factor, one in features.items()}
