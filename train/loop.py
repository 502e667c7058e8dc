"""The training loop, for one process or many: Accelerate spreads each step's batch over them."""

import logging
import math
import time
from collections.abc import Callable
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
from tqdm import tqdm

from lgg.errors import DataError
from lgg.models import GATE, build
from train.accelerator import make_accelerator
from train.augment import augment
from train.checkpoint import append_log, load_checkpoint, save_checkpoint
from train.curves import draw_curves
from train.dataset import Slices
from train.feed import Feed, Memory
from train.initialise import initialise_encoder, initialise_prior
from train.learner import Learner, fingerprint
from train.recipe import Recipe
from train.sampling import draw_epoch, pixel_weight, slice_weight
from train.stop import Stopped, StopRequest
from train.validate import validate

log = logging.getLogger(__name__)
#: Called with each epoch's row of figures, for a tracker.
Watch = Callable[[dict[str, Any]], None]


def train(
    architecture: str,
    recipe: Recipe,
    sides: tuple[Slices, Slices],
    run: Path,
    *,
    start: dict[str, Tensor] | None = None,
    resume: bool = False,
    teacher: nn.Module | None = None,
    memory: Memory = "auto",
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train a network and keep the epoch that was best on the validation side.

    Args:
        architecture: a name of `lgg.models.BUILDERS`.
        recipe: how.
        sides: the slices to learn from, and those that choose the best epoch.
        run: the run's folder; gets `checkpoint.pt`, `log.jsonl` and `curves.png`.
        start: weights to begin with (a finish at full resolution begins with those of half); else fresh.
        resume: go on from the run's checkpoint; the end is bit for bit what it would have been on a CPU.
        teacher: a segmenter whose probabilities, or for the gate whose encoder's features, are learned too.
        memory: whether the slices lie on the device or are streamed to it.
        watch: gets each epoch's figures.

    Raises:
        DataError: recipe, network and processes do not fit together, or resuming is not possible.
        Stopped: a signal asked for it; everything is saved.

    Returns:
        The final checkpoint: `best` (state dict on the CPU, float32), `best_epoch`, `initialised`, `seconds`.
    """
    accelerator = make_accelerator()
    _check(architecture, recipe, accelerator)
    device = accelerator.device
    set_seed(recipe.seed)
    network = build(architecture)
    initialised = recipe.initialise if start is None else "weights"
    if start is not None:
        network.load_state_dict(start)
    elif recipe.initialise == "imagenet" and not initialise_encoder(network, architecture):
        initialised = "scratch"
    if start is None and recipe.loss == "dice_bce":
        initialise_prior(network, float(sides[0].masks.mean()))
    learning, validation = (Feed(side, device, memory) for side in sides)
    weight = slice_weight(sides[0].tumour) if architecture == GATE else pixel_weight(sides[0].masks)
    weight = weight.to(device)
    if teacher is not None:
        teacher = teacher.to(device).eval()
    # Channels last is how convolutions are fastest on both CPUs and tensor cores.
    learner = Learner(architecture, network, recipe, weight, teacher)
    learner = learner.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        learner.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=device.type == "cuda"
    )
    schedule = _schedule(optimizer, recipe)
    # What is validated and kept: a running average of the weights where the recipe wants one, which is far
    # steadier from epoch to epoch while the learning rate is high. BatchNorm's statistics are averaged too.
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
    judged = average.module if recipe.ema else network
    if recipe.compile and device.type == "cuda":
        network.compile()
    model, optimizer = accelerator.prepare(learner, optimizer)

    # Epochs and steps are those that are done; `total` is the loss of the steps of an unfinished epoch.
    state: dict[str, Any] = {"epoch": 0, "step": 0, "total": 0.0, "seconds": 0.0}
    state |= {"best": None, "best_epoch": 0, "best_score": -math.inf, "initialised": initialised}
    same: dict[str, Any] = {"architecture": architecture, "recipe": asdict(recipe)}
    same |= {"data": [side.fingerprint() for side in sides]}
    same |= {"teacher": None if teacher is None else fingerprint(teacher)}
    state |= same
    if resume:
        state = load_checkpoint(run, same)
        learner.load_state_dict(state.pop("learner"))
        optimizer.load_state_dict(state.pop("optimizer"))
        schedule.load_state_dict(state.pop("schedule"))
        average.load_state_dict(state.pop("average"))
        log.info("Resumed after epoch %d of %d, step %d.", state["epoch"], recipe.epochs, state["step"])

    def save(seconds: float) -> None:
        if accelerator.is_main_process:
            parts = {"learner": _on_cpu(learner), "average": _on_cpu(average)}
            parts |= {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
            save_checkpoint(run, state | parts | {"seconds": state["seconds"] + seconds})

    with StopRequest() as stop:
        for epoch in range(state["epoch"] + 1, recipe.epochs + 1):
            began, learning.seconds_waited = time.monotonic(), 0.0
            # Drawn from the epoch's own seed, as each step's augmentation is from the step's: a resumed run
            # repeats what an uninterrupted one would have drawn, without any generator's state to keep.
            seed = recipe.seed * 10_000 + epoch
            drawing = torch.Generator().manual_seed(seed)
            order = draw_epoch(
                sides[0].tumour, recipe.steps * recipe.batch_size, recipe.tumour_weight, drawing
            )
            batches = order.view(recipe.steps, -1)[
                state["step"] :, accelerator.process_index :: accelerator.num_processes
            ]
            randomness = torch.Generator(device)
            bar = tqdm(
                learning.batches(list(batches)),
                f"epoch {epoch}/{recipe.epochs}",
                recipe.steps,
                initial=state["step"],
                disable=not accelerator.is_main_process,
            )

            model.train()
            total = torch.full((), state["total"], device=device)
            for batch in bar:
                randomness.manual_seed((seed * 100_000 + state["step"]) * 100 + accelerator.process_index)
                inputs, masks = augment(batch, recipe.augmentation, randomness)
                loss = model(inputs.contiguous(memory_format=torch.channels_last), masks, batch.tumour)
                optimizer.zero_grad(set_to_none=True)
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                if recipe.ema:
                    average.update_parameters(network)
                total += loss.detach()
                state["step"] += 1
                if _any_asked(stop, accelerator) and state["step"] < recipe.steps:
                    state["total"] = float(total)
                    save(time.monotonic() - began)
                    raise Stopped(
                        f"Stopped in epoch {epoch} of {recipe.epochs} after step {state['step']}; "
                        "nothing is lost. Go on with --resume."
                    )
            waited = learning.seconds_waited / max(time.monotonic() - began, 1e-9)

            found = validate(judged, architecture, validation, recipe.loss, weight, accelerator)
            seconds = time.monotonic() - began
            score = -found["loss"] if recipe.best_by == "loss" else found[recipe.best_by]
            # A side of one class alone has no AUROC (NaN): then the latest epoch is as good as any.
            if math.isnan(score) or score > state["best_score"]:
                state |= {"best": _on_cpu(judged), "best_epoch": epoch}
                state["best_score"] = -math.inf if math.isnan(score) else score
            row = {"epoch": epoch, "train_loss": float(total) / recipe.steps, "seconds": round(seconds, 1)}
            row |= {"waiting": round(waited, 3)} | {
                f"val_{name}": round(one, 5) for name, one in found.items()
            }
            state |= {"epoch": epoch, "step": 0, "total": 0.0}
            if accelerator.is_main_process:
                append_log(
                    run, row
                )  # before the checkpoint: a resume repeats, and replaces, what has none yet
                save(seconds)
                draw_curves(run)
                left = (recipe.epochs - epoch) * seconds / 60
                tqdm.write(f"{row}  ({left:.0f} minutes to go)")
                if watch:
                    watch(row)
            state["seconds"] += seconds
            accelerator.wait_for_everyone()
            # After the last epoch too: another stage may follow, and a resume finds this one done.
            if _any_asked(stop, accelerator):
                raise Stopped(f"Stopped after epoch {epoch} of {recipe.epochs}; go on with --resume.")
    return state


def _check(architecture: str, recipe: Recipe, accelerator: Accelerator) -> None:
    wrong = "dice" if architecture == GATE else "auroc"
    if recipe.best_by == wrong:
        raise DataError(f"--best-by {wrong} does not fit {architecture}: its validation does not measure it.")
    if architecture == GATE and recipe.loss != "bce":
        raise DataError(f"--loss {recipe.loss} does not fit the gate, which outlines nothing: use bce.")
    if recipe.batch_size % accelerator.num_processes:
        raise DataError(
            f"A batch of {recipe.batch_size} slices cannot be shared evenly by {accelerator.num_processes} "
            "processes: give a multiple of them as --batch-size."
        )


def _schedule(optimizer: Optimizer, recipe: Recipe) -> LRScheduler:
    steps = recipe.steps * recipe.epochs
    if recipe.schedule == "one_cycle":
        # It divides by the steps of the rise less one, which must not be one; a trial may have two in all.
        rise = min(0.45, max(recipe.warm_up, 2 / steps))
        return OneCycleLR(optimizer, recipe.lr, total_steps=steps, pct_start=rise)
    if recipe.schedule == "cosine":
        return CosineAnnealingLR(optimizer, steps)
    return ConstantLR(optimizer, 1.0)


def _any_asked(stop: StopRequest, accelerator: Accelerator) -> bool:
    """Whether any process was asked: all leave after the same step, or the others would wait forever."""
    if accelerator.num_processes == 1:
        return stop.asked
    if stop.asked:
        accelerator.set_trigger()
    return accelerator.check_trigger()


def _on_cpu(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
