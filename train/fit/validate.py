"""Validation: after each epoch at the training resolution, and of a stage's weights at full resolution.

Figures that are reported come from `train.evaluation.evaluate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lgg import metrics
from lgg.cascade import Cascade
from lgg.models import GATE, build
from lgg.weights import ModelConfig
from train.data.augment import augment
from train.data.dataset import Loader
from train.data.kaggle_3m import Volume
from train.evaluation.patient_metrics import Mode, predict_volume
from train.fit.losses import loss_of
from train.recipes import PLAIN, LossName


@torch.inference_mode()
def validate(
    model: nn.Module,
    architecture: str,
    loader: Loader,
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
    slices = loader.slices
    mask = (slices.masks >= 0.5).float().cpu()
    shape = (1,) if architecture == GATE else tuple(mask.shape[1:])
    logit = _logits(model, shape, loader, accelerator, batch_size)
    tumour = slices.tumour.cpu()
    if architecture == GATE:
        probability = logit[:, 0].sigmoid().numpy()
        return {
            "loss": float(loss_of(loss, logit, tumour.float()[:, None], pos_weight.cpu())),
            "auroc": metrics.auroc(probability, tumour.numpy()),
            "accuracy": float(np.mean((probability >= 0.5) == tumour.numpy())),
        }
    predicted, truth = (logit[:, 0] > 0).numpy(), (mask[:, 0] > 0).numpy()
    patients = slices.patient.cpu().numpy()
    volumes = [metrics.dice(predicted[patients == p], truth[patients == p]) for p in np.unique(patients)]
    holds = truth.any((1, 2))
    slice_dices = metrics.slice_dices(predicted[holds], truth[holds]) if holds.any() else np.ones(1)
    return {
        "loss": float(loss_of(loss, logit, mask, pos_weight.cpu())),
        "dice": float(np.mean(volumes)),
        "slice_tumour": float(slice_dices.mean()),
    }


def _logits(
    model: nn.Module, shape: tuple[int, ...], loader: Loader, accelerator: Accelerator, batch_size: int
) -> Tensor:
    """Logits of all N slices on the CPU, each of `shape`; each process runs its share, and none twice."""
    model.eval()
    generator = torch.Generator(loader.device)
    share = torch.arange(accelerator.process_index, len(loader), accelerator.num_processes)
    indices = list(share.split(batch_size)) if len(share) else []
    everything = torch.zeros(len(loader), *shape, device=loader.device)
    for index, batch in zip(indices, loader.batches(indices), strict=True):
        inputs, _ = augment(batch, PLAIN, generator)
        with accelerator.autocast():
            logits = model(inputs.contiguous(memory_format=torch.channels_last))
        everything[index.to(loader.device)] = logits.float()
    # Each row is zero but in the one process that ran it, so the sum is everybody's answer.
    return (accelerator.reduce(everything, "sum") if accelerator.num_processes > 1 else everything).cpu()


class OpenGate(nn.Module):
    """A gate that sees a glioma in every slice: for a segmenter alone."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(20.0), requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, 3, S, S) in, (N, 1) logits out."""
        return self.logit.expand(len(inputs), 1)


def open_gate() -> tuple[nn.Module, ModelConfig]:
    """An `OpenGate` as `Cascade` takes a gate."""
    return OpenGate(), ModelConfig(GATE, 32)


@dataclass(frozen=True)
class FullResolution:
    """What a segmenter is worth without a gate, at threshold 0.5 and at the slices' own resolution.

    volume: mode → Dice of each volume. slice_tumour: mode → mean Dice of the slices with tumour.
    """

    volume: dict[Mode, list[float]]
    slice_tumour: dict[Mode, float]


def validate_at_full_resolution(
    architecture: str,
    size: int,
    weights: dict[str, Tensor],
    volumes: Sequence[Volume],
    modes: Sequence[Mode] = ("volume",),
) -> FullResolution:
    """Validate a segmenter's weights on whole volumes.

    Args:
        architecture, size: of the network and its input.
        weights: its state dict.
    """
    network = build(architecture)
    network.load_state_dict(weights)
    network = network.to(memory_format=torch.channels_last)
    cascade = Cascade(open_gate(), (network, ModelConfig(architecture, size)))
    volume: dict[Mode, list[float]] = {}
    tumour: dict[Mode, float] = {}
    for mode in modes:
        dices: list[float] = []
        slices: list[float] = []
        for patient in volumes:
            mask = predict_volume(cascade, patient, mode).probability >= 0.5
            dices.append(round(metrics.dice(mask, patient.masks), 6))
            slices.extend(metrics.slice_dices(mask[patient.tumour], patient.masks[patient.tumour]))
        volume[mode], tumour[mode] = dices, round(float(np.mean(slices)), 6)
    return FullResolution(volume, tumour)
