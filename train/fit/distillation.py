"""A network with its training loss: the masks, deep supervision of the gate, and what a teacher adds.

A teacher teaches by its probabilities (knowledge distillation: Hinton et al., 2015) and by its encoder's
features (FitNets: Romero et al., 2015): thousands of numbers a slice instead of a mask or one bit, and
through an encoder from ImageNet a share of what that has seen, for networks that have no such start.
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

#: Stride (input side / feature side) → features (N, C, h, w).
Features = dict[int, Tensor]
#: Features of a smaller stride are edges and noise, which each network finds by itself.
SMALLEST_STRIDE = 2
#: Where the gate's mask head reads: stride → channels of ResNet18 there.
MASK_HEAD_CHANNELS = {8: 128, 16: 256}


def forward_with_features(network: nn.Module, inputs: Tensor) -> tuple[Tensor, Features]:
    """A network's logits, exactly as calling it gives them, and its encoder's features.

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
    return logits, _by_stride(features, inputs)


def encoder_features(network: nn.Module, inputs: Tensor) -> Features:
    """A network's encoder alone, without the rest of its work."""
    return _by_stride(_encode(network, inputs), inputs)


def _encode(network: nn.Module, inputs: Tensor) -> list[Tensor]:
    inner = cast(Any, network)
    if isinstance(network, UNet):
        return network.encode(inputs)
    if hasattr(network, "layer4"):  # torchvision's ResNet
        x = inner.maxpool(inner.relu(inner.bn1(inner.conv1(inputs))))
        return [x := layer(x) for layer in (inner.layer1, inner.layer2, inner.layer3, inner.layer4)]
    return inner.encoder(inputs) if hasattr(network, "segmentation_head") else []  # smp's, or a stranger


def _by_stride(features: list[Tensor], inputs: Tensor) -> Features:
    return {inputs.shape[-1] // feature.shape[-1]: feature for feature in features}


class FeatureDistillation(nn.Module):
    """Feature distillation (FitNets): a 1×1 convolution a stride predicts the teacher's features.

    Its weights are not kept after training.
    """

    def __init__(self, network: nn.Module, teacher: nn.Module) -> None:
        super().__init__()
        own, wanted = _channels(network), _channels(teacher)
        # A U-Net with few poolings has no features of its teacher's largest strides.
        shared = [stride for stride in own if stride in wanted and stride >= SMALLEST_STRIDE]
        self.outputs = nn.ModuleDict({str(s): nn.Conv2d(own[s], wanted[s], 1) for s in shared})

    def forward(self, own: Features, wanted: Features) -> Tensor:
        """Share of the wanted features' variance, channel by channel, that is missed: 0 to about 1."""
        losses = []
        for stride, output in self.outputs.items():
            target = F.batch_norm(wanted[int(stride)].float(), None, None, training=True)
            losses.append(F.mse_loss(output(own[int(stride)]).float(), target))
        return torch.stack(losses).mean()


@torch.no_grad()
def _channels(network: nn.Module) -> dict[int, int]:
    """Stride → channels of a network's encoder; the network stays as it is."""
    training, device = network.training, next(network.parameters()).device
    features = encoder_features(network.eval(), torch.zeros(1, 3, 64, 64, device=device))
    network.train(training)
    return {stride: feature.shape[1] for stride, feature in features.items()}


class MaskHead(nn.Module):
    """Deep supervision of the gate (Lee et al., 2015): coarse masks at two depths of its encoder.

    One bit a slice says little about what a glioma looks like, and 2,800 of them are soon learned by heart; a
    mask says where to look. Its weights are not kept after training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.outputs = nn.ModuleDict(
            {str(stride): nn.Conv2d(channels, 1, 1) for stride, channels in MASK_HEAD_CHANNELS.items()}
        )

    def forward(self, features: Features, masks: Tensor) -> Tensor:
        """The mean cross-entropy of the coarse masks, given (N, 1, S, S) masks."""
        losses = []
        for stride, output in self.outputs.items():
            logits = output(features[int(stride)]).float()
            losses.append(bce(logits, F.adaptive_avg_pool2d(masks, logits.shape[-2:])))
        return torch.stack(losses).mean()


class NetworkWithLoss(nn.Module):
    """The module that is stepped: (inputs, masks, tumour) in, the loss out.

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
        features = FeatureDistillation(network, teacher) if teacher is not None and recipe.hints else None
        # Named as in checkpoints that exist.
        self.hint_head = features if features and features.outputs else None
        self.recipe, self.pos_weight, self.gate = recipe, pos_weight, architecture == GATE
        # In a tuple: a teacher's weights are neither trained nor kept.
        self._teacher = (teacher,)

    def train(self, mode: bool = True) -> "NetworkWithLoss":
        """Like `nn.Module.train`; BatchNorm stays in eval where the recipe freezes it."""
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
            return self._supervised(self.network(inputs), masks, tumour)
        logits, features = forward_with_features(self.network, inputs)
        loss = self._supervised(logits, masks, tumour)
        if self.mask_head is not None:
            loss = loss + recipe.mask_head * self.mask_head(features, masks)
        if teacher is None:
            return loss
        with torch.no_grad():
            answer, wanted = (
                (None, encoder_features(teacher, inputs))
                if self.gate
                else forward_with_features(teacher, inputs)
            )
        if answer is not None:
            taught = loss_of("dice_bce", logits.float(), answer.float().sigmoid(), None)
            loss = (1 - recipe.teacher_share) * loss + recipe.teacher_share * taught
        return loss if self.hint_head is None else loss + recipe.hints * self.hint_head(features, wanted)

    def _supervised(self, logits: Tensor, masks: Tensor, tumour: Tensor) -> Tensor:
        """The loss against the ground truth."""
        target = tumour.float()[:, None] if self.gate else masks
        return loss_of(self.recipe.loss, logits.float(), target, self.pos_weight)


def fingerprint(network: nn.Module) -> str:
    """A hash of a network's weights: a run that is resumed must have the teacher that it began with."""
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
