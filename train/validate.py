"""What a network is worth on the validation side after an epoch: cheap, at the training resolution.

Figures that are reported come from `train.evaluate`, at the slices' own resolution.
"""

import numpy as np
import torch
from torch import Tensor, nn

from lgg import metrics
from lgg.models import GATE
from train.augment import PLAIN, augment
from train.dataset import Slices
from train.losses import LossName, loss_of


@torch.inference_mode()
def validate(
    model: nn.Module,
    architecture: str,
    slices: Slices,
    loss: LossName,
    pos_weight: Tensor,
    batch_size: int = 32,
) -> dict[str, float]:
    """Loss and the measures that choose the best epoch.

    Returns:
        `loss`, and for the gate `auroc` and `accuracy`, for a segmenter `dice` (volume mean) and
        `slice_tumour`, all at threshold 0.5.
    """
    model.eval()
    generator = torch.Generator(slices.fitted.device)
    logits, targets = [], []
    for index in torch.arange(len(slices), device=slices.fitted.device).split(batch_size):
        inputs, masks = augment(slices[index], PLAIN, generator)
        logits.append(model(inputs).float())
        targets.append(masks)
    logit, mask = torch.cat(logits), torch.cat(targets)
    if architecture == GATE:
        target = slices.tumour.float()[:, None]
        probability = logit[:, 0].sigmoid().cpu().numpy()
        tumour = slices.tumour.cpu().numpy()
        return {
            "loss": float(loss_of(loss, logit, target, pos_weight)),
            "auroc": metrics.auroc(probability, tumour),
            "accuracy": float(np.mean((probability >= 0.5) == tumour)),
        }
    predicted, truth = (logit[:, 0] > 0).cpu().numpy(), (mask[:, 0] > 0).cpu().numpy()
    patient = slices.patient.cpu().numpy()
    volumes = [metrics.dice(predicted[patient == one], truth[patient == one]) for one in np.unique(patient)]
    holds = truth.any((1, 2))
    return {
        "loss": float(loss_of(loss, logit, mask, pos_weight)),
        "dice": float(np.mean(volumes)),
        "slice_tumour": float(metrics.slice_dices(predicted[holds], truth[holds]).mean())
        if holds.any()
        else 1.0,
    }
