"""Losses on logits, and a network with its training loss: masks, deep supervision of the gate, a teacher.

A teacher teaches by its probabilities (knowledge distillation: Hinton et al., 2015) and by its encoder's
features (FitNets: Romero et al., 2015): thousands of numbers a slice instead of a mask or one bit, and
through an encoder from ImageNet a share of what that has seen, for networks that have no such start.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from lgg.models import GATE
from lgg.models.unet import UNet
from train.recipes import LossName, Recipe

#: Stride (input side / feature side) → features (N, C, h, w).
Features = dict[int, Tensor]
#: Features of a smaller stride are edges and noise, which each network finds by itself.
SMALLEST_STRIDE = 2
#: Where the gate's mask head reads: stride → channels of ResNet18 there.
MASK_HEAD_CHANNELS = {8: 128, 16: 256}

#: Makes the Dice of empty against empty 1, and keeps the gradient finite.
SMOOTH = 1.0


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 − soft Dice (Milletari et al., 2016): half over the whole batch, half the mean of its tumour slices.

    Over the batch, so that an empty slice is no special case and each false pixel counts; but there large
    tumours drown small ones, and the edges of all of them, so each slice with tumour has its own say as well.
    The batch is that of *all* processes: two with half of it each learn what one with the whole would.

    Args:
        logits, target: (N, 1, H, W); a slice whose target reaches one half anywhere holds tumour.
    """
    probability = logits.sigmoid()
    overlap = (probability * target).sum((1, 2, 3))
    total = probability.sum((1, 2, 3)) + target.sum((1, 2, 3))
    holds = (target.amax((1, 2, 3)) >= 0.5).float()
    each = (2 * overlap + SMOOTH) / (total + SMOOTH)
    sums = torch.stack([overlap.sum(), total.sum(), (each * holds).sum(), holds.sum()])
    if logits.requires_grad and dist.is_available() and dist.is_initialized():
        # Its gradient is summed over the processes too, which their averaging then divides by their number.
        from torch.distributed.nn.functional import all_reduce  # only there where torch was built with it

        sums = all_reduce(sums)
    overlap, total, dices, slices = sums.unbind()
    batch = (2 * overlap + SMOOTH) / (total + SMOOTH)
    # Without a slice with tumour, the batch alone counts.
    own = torch.where(slices > 0, dices / slices.clamp(min=1), batch)
    return 1 - (batch + own) / 2


def loss_of(name: LossName, logits: Tensor, target: Tensor, pos_weight: Tensor | None) -> Tensor:
    """`bce` is the reference's choice; `dice_bce` adds Dice to an unweighted cross-entropy."""
    if name == "bce":
        return F.binary_cross_entropy_with_logits(logits, target, pos_weight=pos_weight)
    return dice_loss(logits, target) + F.binary_cross_entropy_with_logits(logits, target)


def forward_with_features(
    network: nn.Module, inputs: Tensor, decode: bool = True
) -> tuple[Tensor | None, Features]:
    """A network's logits, exactly as calling it gives them, and its encoder's features.

    Args:
        network: one of `lgg.models`; of any other there are logits, but no features.
        inputs: (N, 3, S, S).
        decode: without it there are no logits, and the rest of the network's work is not done.
    """
    inner, features = cast(Any, network), []
    if isinstance(network, UNet):
        features = network.encode(inputs)
        logits = network.decode(features) if decode else None
    elif hasattr(network, "layer4"):  # torchvision's ResNet
        x = inner.maxpool(inner.relu(inner.bn1(inner.conv1(inputs))))
        features = [x := layer(x) for layer in (inner.layer1, inner.layer2, inner.layer3, inner.layer4)]
        logits = inner.fc(inner.avgpool(x).flatten(1)) if decode else None
    elif hasattr(network, "segmentation_head"):  # smp's
        features = inner.encoder(inputs)
        logits = inner.segmentation_head(inner.decoder(features)) if decode else None
    else:
        logits = network(inputs)
    return logits, {inputs.shape[-1] // feature.shape[-1]: feature for feature in features}


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
    inputs = torch.zeros(1, 3, 64, 64, device=device)
    _, features = forward_with_features(network.eval(), inputs, decode=False)
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
            coarse = F.adaptive_avg_pool2d(masks, logits.shape[-2:])
            losses.append(F.binary_cross_entropy_with_logits(logits, coarse))
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
        """`network` is what is trained; `teacher`, if any, a segmenter to learn from."""
        super().__init__()
        self.network = network
        self.mask_head = MaskHead() if architecture == GATE and recipe.mask_head else None
        features = FeatureDistillation(network, teacher) if teacher is not None and recipe.hints else None
        # Named as in checkpoints that exist.
        self.hint_head = features if features and features.outputs else None
        self.recipe, self.pos_weight, self.gate = recipe, pos_weight, architecture == GATE
        # In a tuple: a teacher's weights are neither trained nor kept.
        self._teacher = (None if teacher is None else teacher.to(pos_weight.device).eval(),)

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
        logits, features = forward_with_features(self.network, inputs)
        assert logits is not None  # as it decodes
        target = tumour.float()[:, None] if self.gate else masks
        loss = loss_of(recipe.loss, logits.float(), target, self.pos_weight)
        if self.mask_head is not None:
            loss = loss + recipe.mask_head * self.mask_head(features, masks)
        if teacher is None:
            return loss
        with torch.no_grad():
            answer, wanted = forward_with_features(teacher, inputs, decode=not self.gate)
        if answer is not None:
            taught = loss_of("dice_bce", logits.float(), answer.float().sigmoid(), None)
            loss = (1 - recipe.teacher_share) * loss + recipe.teacher_share * taught
        return loss if self.hint_head is None else loss + recipe.hints * self.hint_head(features, wanted)
