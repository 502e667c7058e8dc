"""A network together with what only training needs: from a batch straight to its loss."""

import hashlib
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lgg.models import GATE
from lgg.models.unet import UNet
from train.losses import bce, loss_of
from train.recipe import Recipe

#: Layers of ResNet18 that the mask head reads, with their channels: 1/8 and 1/16 of the input's side.
TAPS = {"layer2": 128, "layer3": 256}
#: Those that a teacher's encoder gives hints to: channels, and how far below the input's side they lie.
HINTS = {"layer1": (64, 4), "layer2": (128, 8), "layer3": (256, 16), "layer4": (512, 32)}


class MaskHead(nn.Module):
    """Makes the gate's inner layers find the tumour; thrown away after training.

    One bit a slice says little about what a glioma looks like, and 2,800 of them are soon learned by heart.
    A coarse mask at two depths says where to look (deep supervision: Lee et al., 2015).
    """

    def __init__(self) -> None:
        super().__init__()
        self.outputs = nn.ModuleDict({name: nn.Conv2d(width, 1, 1) for name, width in TAPS.items()})

    def forward(self, tapped: dict[str, Tensor], masks: Tensor) -> Tensor:
        """The mean cross-entropy of the coarse masks: layer → (N, C, h, w), masks (N, 1, S, S) in."""
        losses = []
        for name, output in self.outputs.items():
            logits = output(tapped[name]).float()
            losses.append(bce(logits, F.adaptive_avg_pool2d(masks, logits.shape[-2:])))
        return torch.stack(losses).mean()


class HintHead(nn.Module):
    """Makes the gate's inner layers say what a teacher's encoder says there; thrown away after training.

    Thousands of numbers a slice instead of one bit, and through an encoder from ImageNet a share of what that
    has seen (hints: Romero et al., 2015; a loss on features: Zagoruyko and Komodakis, 2017).
    """

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        device = next(teacher.parameters()).device
        with torch.no_grad():
            features = encode(teacher, torch.zeros(1, 3, 64, 64, device=device))
        self.outputs = nn.ModuleDict(
            {
                name: nn.Conv2d(width, features[factor].shape[1], 1)
                for name, (width, factor) in HINTS.items()
                if factor in features  # a U-Net with few poolings sees nothing from so far
            }
        )

    def forward(self, tapped: dict[str, Tensor], features: dict[int, Tensor]) -> Tensor:
        """Share of the features' variance, channel by channel, that is not found: 0 to about 1."""
        losses = []
        for name, output in self.outputs.items():
            found = output(tapped[name]).float()
            wanted = F.batch_norm(features[HINTS[name][1]].float(), None, None, training=True)
            losses.append(F.mse_loss(found, wanted))
        return torch.stack(losses).mean()


def encode(segmenter: nn.Module, inputs: Tensor) -> dict[int, Tensor]:
    """What a segmenter's encoder says of (N, 3, S, S): how far below the input's side → (N, C, h, w)."""
    if isinstance(segmenter, UNet):
        features = segmenter.encode(inputs)
    else:
        features = cast(Any, segmenter).encoder(inputs)
    return {inputs.shape[-1] // one.shape[-1]: one for one in features}


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
        self.hint_head = HintHead(teacher) if architecture == GATE and teacher is not None else None
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
        recipe = self.recipe
        if not self.gate:
            logits = self.network(inputs).float()
            loss = loss_of(recipe.loss, logits, masks, self.pos_weight)
            return loss if self._teacher[0] is None else self._taught(loss, logits, inputs)
        logits, tapped = _tap(self.network, inputs)
        loss = loss_of(recipe.loss, logits.float(), tumour.float()[:, None], self.pos_weight)
        if self.mask_head is not None:
            loss = loss + recipe.mask_head * self.mask_head(tapped, masks)
        if self.hint_head is not None:
            with torch.no_grad():
                features = encode(cast(nn.Module, self._teacher[0]), inputs)
            loss = loss + recipe.hints * self.hint_head(tapped, features)
        return loss

    def _taught(self, loss: Tensor, logits: Tensor, inputs: Tensor) -> Tensor:
        """Part of the loss against the teacher's probabilities (distillation: Hinton et al., 2015)."""
        teacher: Any = self._teacher[0]
        with torch.no_grad():
            probability = teacher(inputs).float().sigmoid()
        share = self.recipe.teacher_share
        return (1 - share) * loss + share * loss_of("dice_bce", logits, probability, None)


def fingerprint(network: nn.Module) -> str:
    """A hash of a network's weights: a run that is resumed must have the teacher that it began with."""
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _tap(gate: nn.Module, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The gate's logits and what its tapped layers say; its children stand in the order of its forward."""
    tapped, x = {}, inputs
    for name, child in gate.named_children():
        x = child(x.flatten(1) if name == "fc" else x)
        if name in HINTS:
            tapped[name] = x
    return x, tapped
