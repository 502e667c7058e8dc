"""What training changes: the network, what moves its weights, and how far both have come."""

import logging
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lgg.models import GATE, build
from train.accelerator import depthwise_in_fp32
from train.checkpoint import load_checkpoint
from train.dataset import Slices
from train.initialise import initialise_encoder, initialise_prior
from train.learner import Learner, fingerprint
from train.recipe import Recipe
from train.sampling import pixel_weight, slice_weight

log = logging.getLogger(__name__)


class TrainingState:
    """All that a checkpoint holds, on the device where it is trained.

    Attributes:
        recipe, run, accelerator: as they were given.
        model: the learner around the network, as Accelerate wants it called: (inputs, masks, tumour) → loss.
        judged: the network that is validated and kept: a running average of the weights where the recipe
            wants one, which is far steadier from epoch to epoch while the learning rate is high.
        optimizer, schedule: what moves the weights.
        pos_weight: scalar, how many times as common empty pixels (of the gate: slices) are.
        progress: plain values: `epoch` and `step` that are done, `total` loss of the steps of an unfinished
            epoch, `seconds` of the finished ones, the `best` weights with `best_epoch` and `best_score`, how
            the network was `initialised`, and what a resume must find as it was.
        began: when this epoch began, on the monotonic clock.
    """

    def __init__(
        self,
        architecture: str,
        recipe: Recipe,
        sides: tuple[Slices, Slices],
        run: Path,
        accelerator: Accelerator,
        start: dict[str, Tensor] | None,
        teacher: nn.Module | None,
    ) -> None:
        """As it is before the first step; arguments as for `train.loop.train`."""
        self.recipe, self.run, self.accelerator = recipe, run, accelerator
        device = accelerator.device
        set_seed(recipe.seed)
        network = build(architecture)
        initialised = _initialise(network, architecture, recipe, sides[0], start)
        weight = slice_weight(sides[0].tumour) if architecture == GATE else pixel_weight(sides[0].masks)
        self.pos_weight = weight.to(device)
        if teacher is not None:
            teacher = teacher.to(device).eval()
        # Channels last is how convolutions are fastest on both CPUs and tensor cores.
        learner = Learner(architecture, network, recipe, self.pos_weight, teacher)
        self._learner = learner.to(device).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(
            learner.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=device.type == "cuda"
        )
        self.schedule = make_schedule(optimizer, recipe)
        # BatchNorm's statistics are averaged too.
        self._average = AveragedModel(
            network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True
        )
        self.judged: nn.Module = self._average.module if recipe.ema else network
        self._network = network
        if device.type == "cpu" and accelerator.mixed_precision == "bf16":
            depthwise_in_fp32(network)  # after the average, which is a copy
        if recipe.compile and device.type == "cuda":
            # With a teacher or a mask head the network itself is never called whole.
            self._learner.compile()
        self.model, self.optimizer = accelerator.prepare(self._learner, optimizer)
        self._same: dict[str, Any] = {"architecture": architecture, "recipe": asdict(recipe)}
        self._same |= {"data": [side.fingerprint() for side in sides]}
        self._same |= {"teacher": None if teacher is None else fingerprint(teacher)}
        self.progress: dict[str, Any] = {"epoch": 0, "step": 0, "total": 0.0, "seconds": 0.0}
        self.progress |= {"best": None, "best_epoch": 0, "best_score": -math.inf, "initialised": initialised}
        self.progress |= self._same
        self.began = time.monotonic()

    def resume(self) -> None:
        """Go on from the run's checkpoint.

        Raises:
            DataError: as `train.checkpoint.load_checkpoint`.
        """
        stored = load_checkpoint(self.run, self._same)
        self._learner.load_state_dict(stored.pop("learner"))
        self.optimizer.load_state_dict(stored.pop("optimizer"))
        self.schedule.load_state_dict(stored.pop("schedule"))
        self._average.load_state_dict(stored.pop("average"))
        self.progress = stored
        epoch, step = stored["epoch"], stored["step"]
        log.info("Resumed after epoch %d of %d, step %d.", epoch, self.recipe.epochs, step)

    def checkpoint(self) -> dict[str, Any]:
        """Everything, as `resume` takes it."""
        parts = {"learner": _on_cpu(self._learner), "average": _on_cpu(self._average)}
        parts |= {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}
        return self.progress | parts | {"seconds": self.progress["seconds"] + self.seconds}

    @property
    def seconds(self) -> float:
        """Since this epoch began."""
        return time.monotonic() - self.began

    def step(self, loss: Tensor) -> None:
        """Move the weights against a batch's loss, and let the average follow."""
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        if self.recipe.ema:
            self._average.update_parameters(self._network)
        self.progress["step"] += 1

    def keep_if_best(self, epoch: int, score: float) -> None:
        """Keep what was judged if no epoch scored higher.

        A side of one class alone has no AUROC (NaN): then the latest epoch is as good as any.
        """
        if math.isnan(score) or score > self.progress["best_score"]:
            self.progress |= {"best": _on_cpu(self.judged), "best_epoch": epoch}
            self.progress["best_score"] = -math.inf if math.isnan(score) else score


def make_schedule(optimizer: Optimizer, recipe: Recipe) -> LRScheduler:
    """How the learning rate moves, step by step."""
    steps = recipe.steps * recipe.epochs
    if recipe.schedule == "one_cycle":
        # It divides by the steps of the rise less one, which must not be one; a trial may have two in all.
        rise = min(0.45, max(recipe.warm_up, 2 / steps))
        return OneCycleLR(optimizer, recipe.lr, total_steps=steps, pct_start=rise)
    if recipe.schedule == "cosine":
        return CosineAnnealingLR(optimizer, steps)
    return ConstantLR(optimizer, 1.0)


def _on_cpu(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def _initialise(
    network: nn.Module, architecture: str, recipe: Recipe, learning: Slices, start: dict[str, Tensor] | None
) -> str:
    """Give the network what it begins with; in a word, what that is."""
    if start is not None:
        network.load_state_dict(start)
        return "weights"
    found = recipe.initialise == "imagenet" and initialise_encoder(network, architecture)
    if recipe.loss == "dice_bce":
        initialise_prior(network, float(learning.masks.mean()))
    return "imagenet" if found else "scratch"
