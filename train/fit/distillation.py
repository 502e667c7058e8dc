"""Hints: a network's inner layers learn to say what a teacher's encoder says there.

Thousands of numbers a slice instead of a mask or one bit, and through an encoder from ImageNet a share of
what that has seen, for networks that have no such start (FitNets: Romero et al., 2015).
"""

import hashlib
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lgg.models import GATE
from lgg.models.unet import UNet
from train.fit.losses import bce, loss_of
from train.recipes import Recipe

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


#: Where the gate's mask head reads: how far below the input's side → channels of ResNet18 there.
DEPTHS = {8: 128, 16: 256}


class MaskHead(nn.Module):
    """Makes the gate's inner layers find the tumour; thrown away after training.

    One bit a slice says little about what a glioma looks like, and 2,800 of them are soon learned by heart.
    A coarse mask at two depths says where to look (deep supervision: Lee et al., 2015).
    """

    def __init__(self) -> None:
        super().__init__()
        self.outputs = nn.ModuleDict({str(one): nn.Conv2d(width, 1, 1) for one, width in DEPTHS.items()})

    def forward(self, features: Features, masks: Tensor) -> Tensor:
        """The mean cross-entropy of the coarse masks, given (N, 1, S, S) masks."""
        losses = []
        for depth, output in self.outputs.items():
            logits = output(features[int(depth)]).float()
            losses.append(bce(logits, F.adaptive_avg_pool2d(masks, logits.shape[-2:])))
        return torch.stack(losses).mean()


class Learner(nn.Module):
    """What the loop steps through: (inputs, masks, tumour) in, the loss out.

    The loss is computed in here, not in the loop, so that several processes share its gradient as one.
    """

    def __init__(
        self,
        architecture: str,
        network: nn.Module,
        recipe: Recipe,
        pos_weight: Tensor,
        teacher: nn.Module | None,
    ) -> None:
        """`network` is what is trained; `teacher`, if any, a segmenter in evaluation mode to learn from."""
        super().__init__()
        self.network = network
        self.mask_head = MaskHead() if architecture == GATE and recipe.mask_head else None
        hints = HintHead(network, teacher) if teacher is not None and recipe.hints else None
        self.hint_head = hints if hints and hints.outputs else None
        self.recipe, self.pos_weight, self.gate = recipe, pos_weight, architecture == GATE
        # In a tuple: a teacher's weights are neither trained nor kept.
        self._teacher = (teacher,)

    def train(self, mode: bool = True) -> "Learner":
        """As always, but for BatchNorm where the recipe freezes it."""
        super().train(mode)
        if self.recipe.freeze_batchnorm:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, inputs: Tensor, masks: Tensor, tumour: Tensor) -> Tensor:
        """A batch's loss, a scalar.

        Args:
            inputs: (N, 3, S, S) float32. masks: (N, 1, S, S) float32 in {0, 1}. tumour: (N,) bool.
        """
        recipe, teacher = self.recipe, self._teacher[0]
        if self.mask_head is None and teacher is None:
            return self._own(self.network(inputs), masks, tumour)
        logits, features = tap(self.network, inputs)
        loss = self._own(logits, masks, tumour)
        if self.mask_head is not None:
            loss = loss + recipe.mask_head * self.mask_head(features, masks)
        if teacher is None:
            return loss
        with torch.no_grad():
            answer, wanted = (None, encode(teacher, inputs)) if self.gate else tap(teacher, inputs)
        if answer is not None:  # distillation: Hinton et al., 2015
            share = recipe.teacher_share
            taught = loss_of("dice_bce", logits.float(), answer.float().sigmoid(), None)
            loss = (1 - share) * loss + share * taught
        return loss if self.hint_head is None else loss + recipe.hints * self.hint_head(features, wanted)

    def _own(self, logits: Tensor, masks: Tensor, tumour: Tensor) -> Tensor:
        """The loss by the data set's own truth."""
        target = tumour.float()[:, None] if self.gate else masks
        return loss_of(self.recipe.loss, logits.float(), target, self.pos_weight)


def fingerprint(network: nn.Module) -> str:
    """A hash of a network's weights: a run that is resumed must have the teacher that it began with."""
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
