"""A network together with what only training needs: from a batch straight to its loss."""

import hashlib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lgg.models import GATE
from train.losses import bce, loss_of
from train.recipe import Recipe

#: Layers of ResNet18 that the mask head reads, with their channels: 1/8 and 1/16 of the input's side.
TAPS = {"layer2": 128, "layer3": 256}


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
        target = tumour.float()[:, None]
        if self.mask_head is None:
            return loss_of(recipe.loss, self.network(inputs).float(), target, self.pos_weight)
        logits, tapped = _tap(self.network, inputs)
        found = self.mask_head(tapped, masks)
        return loss_of(recipe.loss, logits.float(), target, self.pos_weight) + recipe.mask_head * found

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
        if name in TAPS:
            tapped[name] = x
    return x, tapped
