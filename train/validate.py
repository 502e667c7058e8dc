"""What a network is worth on the validation side after an epoch: cheap, at the training resolution.

Figures that are reported come from `train.evaluate`, at the slices' own resolution.
"""

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lgg import metrics
from lgg.models import GATE
from train.augment import PLAIN, augment
from train.feed import Feed
from train.losses import LossName, loss_of


@torch.inference_mode()
def validate(
    model: nn.Module,
    architecture: str,
    feed: Feed,
    loss: LossName,
    pos_weight: Tensor,
    accelerator: Accelerator,
    batch_size: int = 32,
) -> dict[str, float]:
    """Loss and the measures that choose the best epoch; every process gets the same.

    Returns:
        `loss`, and for the gate `auroc` and `accuracy`, for a segmenter `dice` (volume mean) and
        `slice_tumour`, all at threshold 0.5.
    """
    slices = feed.slices
    mask = (slices.masks >= 0.5).float().cpu()
    one = (1,) if architecture == GATE else tuple(mask.shape[1:])
    logit = _logits(model, one, feed, accelerator, batch_size)
    tumour = slices.tumour.cpu()
    if architecture == GATE:
        probability = logit[:, 0].sigmoid().numpy()
        return {
            "loss": float(loss_of(loss, logit, tumour.float()[:, None], pos_weight.cpu())),
            "auroc": metrics.auroc(probability, tumour.numpy()),
            "accuracy": float(np.mean((probability >= 0.5) == tumour.numpy())),
        }
    predicted, truth = (logit[:, 0] > 0).numpy(), (mask[:, 0] > 0).numpy()
    patient = slices.patient.cpu().numpy()
    volumes = [metrics.dice(predicted[patient == one], truth[patient == one]) for one in np.unique(patient)]
    holds = truth.any((1, 2))
    return {
        "loss": float(loss_of(loss, logit, mask, pos_weight.cpu())),
        "dice": float(np.mean(volumes)),
        "slice_tumour": float(metrics.slice_dices(predicted[holds], truth[holds]).mean())
        if holds.any()
        else 1.0,
    }


def _logits(
    model: nn.Module, one: tuple[int, ...], feed: Feed, accelerator: Accelerator, batch_size: int
) -> Tensor:
    """Logits of all N slices on the CPU; each process runs its share of them, and none twice.

    Args:
        one: shape of one slice's logits.
    """
    model.eval()
    generator = torch.Generator(feed.device)
    share = torch.arange(accelerator.process_index, len(feed), accelerator.num_processes)
    indices = list(share.split(batch_size)) if len(share) else []
    everything = torch.zeros(len(feed), *one, device=feed.device)
    for index, batch in zip(indices, feed.batches(indices), strict=True):
        inputs, _ = augment(batch, PLAIN, generator)
        with accelerator.autocast():
            logits = model(inputs.contiguous(memory_format=torch.channels_last))
        everything[index.to(feed.device)] = logits.float()
    # Each row is zero but in the one process that ran it, so the sum is everybody's answer.
    return (accelerator.reduce(everything, "sum") if accelerator.num_processes > 1 else everything).cpu()
