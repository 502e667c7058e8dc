"""A network together with what only training needs: from a batch straight to its loss."""

import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lgg.models import GATE
from train.hints import Features, HintHead, encode, tap
from train.losses import bce, loss_of
from train.recipe import Recipe

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
