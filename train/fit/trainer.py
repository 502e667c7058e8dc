"""The training loop: one stage of one network, resumable bit for bit, stopped by a signal without loss."""

import logging
import math
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from lgg.errors import DataError, LggError
from lgg.models import GATE, build
from train.data.augment import augment
from train.data.dataset import Loader, Slices, draw_epoch, fingerprint, pos_weight
from train.fit.checkpoint import Watch, append_log, draw_curves, load_checkpoint, save_checkpoint
from train.fit.initialise import initialise
from train.fit.losses import NetworkWithLoss
from train.fit.validate import validate
from train.hardware import depthwise_in_fp32, make_accelerator
from train.recipes import Recipe

log = logging.getLogger(__name__)
#: What a batch system and Ctrl-C send.
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class TrainResult:
    """A finished stage of training.

    Attributes:
        architecture, recipe: what was trained, and how.
        best: the best epoch's state dict, float32 on the CPU.
        best_epoch, best_score: which it was, and its value of `recipe.best_by`; the higher, the better.
        initialised: how the network began: `weights`, `imagenet` or `scratch`.
        seconds: that training took, over all sessions.
    """

    architecture: str
    recipe: Recipe
    best: dict[str, Tensor]
    best_epoch: int
    best_score: float
    initialised: str
    seconds: float


class Stopped(LggError):
    """Training was asked to stop and has saved where it was."""


@contextmanager
def listen_for_stop() -> Iterator[Event]:
    """Within it the first signal only sets the event; a second has its usual effect."""
    asked, handlers = Event(), ExitStack()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()
        handlers.close()  # the usual ones are back

    with handlers:
        for number in SIGNALS:
            handlers.callback(signal.signal, number, signal.signal(number, ask))
        yield asked


class TrainingState:
    """All that a checkpoint holds, on the device where it is trained.

    Attributes:
        recipe, run, accelerator: as they were given.
        model: the network with its loss, as Accelerate wants it called: (inputs, masks, tumour) → loss.
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
        splits: tuple[Slices, Slices],
        run: Path,
        accelerator: Accelerator,
        start: dict[str, Tensor] | None,
        teacher: nn.Module | None,
    ) -> None:
        """As it is before the first step; arguments as for `train.fit.trainer.train`."""
        self.recipe, self.run, self.accelerator = recipe, run, accelerator
        device = accelerator.device
        set_seed(recipe.seed)
        network = build(architecture)
        initialised = initialise(network, architecture, recipe, splits[0].masks, start)
        self.pos_weight = pos_weight(splits[0], architecture).to(device)
        # Channels last is how convolutions are fastest on both CPUs and tensor cores.
        module = NetworkWithLoss(architecture, network, recipe, self.pos_weight, teacher)
        self._module = module.to(device).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(
            module.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=device.type != "mps"
        )
        self.schedule = make_schedule(optimizer, recipe)
        # BatchNorm's statistics are averaged too.
        self._average = AveragedModel(
            network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True
        )
        self.judged: nn.Module = self._average.module if recipe.ema else network
        if device.type == "cpu" and accelerator.mixed_precision == "bf16":
            depthwise_in_fp32(network)  # after the average, which is a copy
        if recipe.compile and device.type == "cuda":
            # With a teacher or a mask head the network itself is never called whole.
            self._module.compile()
        self.model, self.optimizer = accelerator.prepare(self._module, optimizer)
        self._same: dict[str, Any] = {
            "architecture": architecture,
            "recipe": asdict(recipe),
            "data": [slices.fingerprint() for slices in splits],
            "teacher": None if teacher is None else fingerprint(teacher.state_dict().values()),
        }
        self.progress: dict[str, Any] = self._same | {
            "epoch": 0,
            "step": 0,
            "total": 0.0,
            "seconds": 0.0,
            "best": None,
            "best_epoch": 0,
            "best_score": -math.inf,
            "initialised": initialised,
        }
        self.began = time.monotonic()

    def resume(self) -> None:
        """Go on from the run's checkpoint.

        Raises:
            DataError: as `train.fit.checkpoint.load_checkpoint`.
        """
        stored = load_checkpoint(self.run, self._same)
        self._module.load_state_dict(stored.pop("learner"))
        self.optimizer.load_state_dict(stored.pop("optimizer"))
        self.schedule.load_state_dict(stored.pop("schedule"))
        self._average.load_state_dict(stored.pop("average"))
        self.progress = stored
        log.info("Resumed after epoch %(epoch)d, step %(step)d.", stored)

    def save(self) -> None:
        """Write everything, as `resume` takes it; of several processes the first does."""
        if not self.accelerator.is_main_process:
            return
        parts = {"learner": _on_cpu(self._module), "average": _on_cpu(self._average)}
        parts |= {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}
        seconds = {"seconds": self.progress["seconds"] + self.seconds}
        save_checkpoint(self.run, self.progress | parts | seconds)

    def result(self) -> TrainResult:
        """What the stage has come to."""
        names = ("architecture", "best", "best_epoch", "best_score", "initialised", "seconds")
        return TrainResult(recipe=self.recipe, **{name: self.progress[name] for name in names})

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
            self._average.update_parameters(self._module.network)
        self.progress["step"] += 1

    def keep_if_best(self, epoch: int, score: float) -> None:
        """Keep what was judged if no epoch scored higher.

        A split of one class alone has no AUROC (NaN): then the latest epoch is as good as any.
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
    return ConstantLR(optimizer, 1.0)


def _on_cpu(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def train(
    architecture: str,
    recipe: Recipe,
    splits: tuple[Slices, Slices],
    run: Path,
    *,
    start: dict[str, Tensor] | None = None,
    resume: bool = False,
    teacher: nn.Module | None = None,
    watch: Watch | None = None,
) -> TrainResult:
    """Train a network and keep the epoch that was best on the validation split.

    Args:
        architecture: a name of `lgg.models.BUILDERS`.
        recipe: how.
        splits: the slices to learn from, and those that choose the best epoch.
        run: the run's folder; gets `checkpoint.pt`, `log.jsonl` and `curves.png`.
        start: weights to begin with (a finish at full resolution begins with those of half); else fresh.
        resume: go on from the run's checkpoint; the end is bit for bit what it would have been on a CPU.
        teacher: a segmenter whose probabilities, or for the gate whose encoder's features, are learned too.
        watch: gets each epoch's figures.

    Raises:
        DataError: recipe, network and processes do not fit together, or resuming is not possible.
        Stopped: a signal asked for it; everything is saved.
    """
    accelerator = make_accelerator()
    _check(architecture, recipe, accelerator)
    state = TrainingState(architecture, recipe, splits, run, accelerator, start, teacher)
    if resume:
        state.resume()
    learning, validation = (Loader(slices, accelerator.device) for slices in splits)
    with listen_for_stop() as stop:
        for epoch in range(state.progress["epoch"] + 1, recipe.epochs + 1):
            state.began = time.monotonic()
            learned = _train_epoch(state, epoch, learning, stop)
            measures = validate(
                state.judged, architecture, validation, recipe.loss, state.pos_weight, accelerator
            )
            _finish_epoch(state, epoch, learned, measures, watch)
            accelerator.wait_for_everyone()
            # After the last epoch too: another stage may follow, and a resume finds this one done.
            if _any_asked(stop, accelerator):
                raise Stopped(f"Stopped after epoch {epoch} of {recipe.epochs}; go on with --resume.")
    return state.result()


def _train_epoch(state: TrainingState, epoch: int, learning: Loader, stop: Event) -> dict[str, float]:
    """Run the steps of an epoch that are not done yet; its mean loss, and the share of time spent waiting.

    Raises:
        Stopped: a signal asked for it; everything is saved.
    """
    recipe, progress, accelerator = state.recipe, state.progress, state.accelerator
    # Drawn from the epoch's own seed, as each step's augmentation is from the step's: a resumed run repeats
    # what an uninterrupted one would have drawn, without any generator's state to keep.
    seed = recipe.seed * 10_000 + epoch
    drawing, randomness = torch.Generator().manual_seed(seed), torch.Generator(learning.device)
    drawn = recipe.steps * recipe.batch_size
    order = draw_epoch(learning.slices.tumour, drawn, recipe.tumour_weight, drawing).view(recipe.steps, -1)
    batches = order[progress["step"] :, accelerator.process_index :: accelerator.num_processes]
    learning.seconds_waited = 0.0
    title, quiet = f"epoch {epoch}/{recipe.epochs}", not accelerator.is_main_process
    bar = tqdm(learning.batches(list(batches)), title, recipe.steps, initial=progress["step"], disable=quiet)
    state.model.train()
    total = torch.full((), progress["total"], device=learning.device)
    for batch in bar:
        randomness.manual_seed((seed * 100_000 + progress["step"]) * 100 + accelerator.process_index)
        inputs, masks = augment(batch, recipe.augmentation, randomness)
        loss = state.model(inputs.contiguous(memory_format=torch.channels_last), masks, batch.tumour)
        state.step(loss)
        total += loss.detach()
        if _any_asked(stop, accelerator) and progress["step"] < recipe.steps:
            progress["total"] = float(total)
            state.save()
            raise Stopped(
                f"Stopped in epoch {epoch} of {recipe.epochs} after step {progress['step']}; "
                "nothing is lost. Go on with --resume."
            )
    waiting = learning.seconds_waited / max(state.seconds, 1e-9)
    return {"train_loss": float(total) / recipe.steps, "waiting": round(waiting, 3)}


def _finish_epoch(
    state: TrainingState,
    epoch: int,
    learned: dict[str, float],
    measures: dict[str, float],
    watch: Watch | None,
) -> None:
    """Keep a finished epoch if it is the best, and write down everything."""
    recipe, seconds = state.recipe, state.seconds
    scores = measures | {"loss": -measures["loss"], "last": float(epoch)}
    state.keep_if_best(epoch, scores[recipe.best_by])
    state.progress |= {"epoch": epoch, "step": 0, "total": 0.0}
    if state.accelerator.is_main_process:
        row: dict[str, Any] = {"epoch": epoch, "seconds": round(seconds, 1)} | learned
        row |= {f"val_{name}": round(value, 5) for name, value in measures.items()}
        append_log(state.run, row)  # before the checkpoint: a resume repeats, and replaces, what has none yet
        state.save()
        draw_curves(state.run)
        tqdm.write(f"{row}  ({(recipe.epochs - epoch) * seconds / 60:.0f} minutes to go)")
        if watch:
            watch(row)
    state.progress["seconds"] += seconds


def _check(architecture: str, recipe: Recipe, accelerator: Accelerator) -> None:
    wrong = ("dice", "slice_tumour") if architecture == GATE else ("auroc",)
    if recipe.best_by in wrong:
        raise DataError(
            f"--best-by {recipe.best_by} does not fit {architecture}: its validation does not measure it."
        )
    if architecture == GATE and recipe.loss != "bce":
        raise DataError(f"--loss {recipe.loss} does not fit the gate, which outlines nothing: use bce.")
    if recipe.batch_size % accelerator.num_processes:
        raise DataError(
            f"A batch of {recipe.batch_size} slices cannot be shared evenly by {accelerator.num_processes} "
            "processes: give a multiple of them as --batch-size."
        )


def _any_asked(stop: Event, accelerator: Accelerator) -> bool:
    """Whether any process was asked: all leave after the same step, or the others would wait forever."""
    if accelerator.num_processes == 1:
        return stop.is_set()
    if stop.is_set():
        accelerator.set_trigger()
    return accelerator.check_trigger()
