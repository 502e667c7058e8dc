"""What a network is worth on the validation side after an epoch: cheap, at the training resolution.

Figures that are reported come from `train.evaluation.evaluate`, at the slices' own resolution.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lgg import metrics
from lgg.cascade import Cascade
from lgg.models import GATE, build
from lgg.weights import ModelConfig
from train.data.augment import PLAIN, augment
from train.data.dataset import Loader
from train.data.kaggle_3m import Volume
from train.evaluation.patient_metrics import Mode, predict_volume
from train.fit.losses import LossName, loss_of


@torch.inference_mode()
def validate(
    model: nn.Module,
    architecture: str,
    feed: Loader,
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
    model: nn.Module, one: tuple[int, ...], feed: Loader, accelerator: Accelerator, batch_size: int
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


def judge(
    architecture: str,
    size: int,
    weights: dict[str, Tensor],
    volumes: Sequence[Volume],
    modes: Sequence[Mode] = ("volume",),
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """What a segmenter's weights are worth without a gate, at threshold 0.5.

    Args:
        architecture, size: of the network and its input.
        weights: its state dict.

    Returns:
        Mode → Dice of each volume, and mode → mean Dice of the slices with tumour.
    """
    network = build(architecture)
    network.load_state_dict(weights)
    network = network.to(memory_format=torch.channels_last)
    # A gate belongs to a cascade; nobody listens to this one.
    gate = (build(GATE), ModelConfig(GATE, 32))
    cascade = Cascade(gate, (network, ModelConfig(architecture, size)))
    volume: dict[str, list[float]] = {}
    tumour: dict[str, float] = {}
    for mode in modes:
        dices: list[float] = []
        slices: list[float] = []
        for one in volumes:
            mask = predict_volume(cascade, one, mode).probability >= 0.5
            dices.append(round(metrics.dice(mask, one.masks), 6))
            slices.extend(metrics.slice_dices(mask[one.tumour], one.masks[one.tumour]))
        volume[mode], tumour[mode] = dices, round(float(np.mean(slices)), 6)
    return volume, tumour


def better(state: dict[str, Any], kept: dict[str, Any], volumes: Callable[[], Sequence[Volume]]) -> bool:
    """Whether a stage's best epoch is the best so far, given both stages' final checkpoints.

    Judged by different measures, the later one counts; of segmenters at different resolutions, the one that
    is better at the slices' own.

    Args:
        kept: of the best stage before; empty where there is none.
        volumes: reads the validation side, where that is needed.
    """
    if not kept or state["recipe"]["best_by"] != kept["recipe"]["best_by"]:
        return True
    best_by = state["recipe"]["best_by"]
    same_scale = state["recipe"]["size"] == kept["recipe"]["size"]
    if same_scale or best_by not in ("dice", "slice_tumour"):
        return bool(state["best_score"] >= kept["best_score"])
    read = volumes()
    return _native(state, read) >= _native(kept, read)


def _native(state: dict[str, Any], volumes: Sequence[Volume]) -> float:
    """The measure that chose the epoch, at the slices' own resolution."""
    dices, tumour = judge(state["architecture"], state["recipe"]["size"], state["best"], volumes)
    return float(np.mean(dices["volume"])) if state["recipe"]["best_by"] == "dice" else tumour["volume"]
