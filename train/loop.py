"""The training loop, for one process or many: Accelerate spreads each step's batch over them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from lgg.errors import DataError
from lgg.models import GATE
from train.accelerator import make_accelerator
from train.augment import augment
from train.checkpoint import append_log, save_checkpoint
from train.curves import draw_curves
from train.dataset import Slices
from train.feed import Feed, Memory
from train.recipe import Recipe
from train.sampling import draw_epoch
from train.state import TrainingState
from train.stop import Stopped, StopRequest
from train.validate import validate

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
    state = TrainingState(architecture, recipe, sides, run, accelerator, start, teacher)
    if resume:
        state.resume()
    learning, validation = (Feed(side, accelerator.device, memory) for side in sides)
    with StopRequest() as stop:
        for epoch in range(state.progress["epoch"] + 1, recipe.epochs + 1):
            state.began = time.monotonic()
            learned = _learn(state, epoch, learning, stop)
            found = validate(
                state.judged, architecture, validation, recipe.loss, state.pos_weight, accelerator
            )
            _finish(state, epoch, learned, found, watch)
            accelerator.wait_for_everyone()
            # After the last epoch too: another stage may follow, and a resume finds this one done.
            if _any_asked(stop, accelerator):
                raise Stopped(f"Stopped after epoch {epoch} of {recipe.epochs}; go on with --resume.")
    return state.progress


def _learn(state: TrainingState, epoch: int, learning: Feed, stop: StopRequest) -> dict[str, float]:
    """The steps of an epoch that are not done yet; its mean loss, and the share of its time spent waiting.

    Raises:
        Stopped: a signal asked for it; everything is saved.
    """
    recipe, progress, accelerator = state.recipe, state.progress, state.accelerator
    # Drawn from the epoch's own seed, as each step's augmentation is from the step's: a resumed run repeats
    # what an uninterrupted one would have drawn, without any generator's state to keep.
    seed = recipe.seed * 10_000 + epoch
    drawing, randomness = torch.Generator().manual_seed(seed), torch.Generator(learning.device)
    drawn = recipe.steps * recipe.batch_size
    order = draw_epoch(learning.slices.tumour, drawn, recipe.tumour_weight, drawing)
    batches = order.view(recipe.steps, -1)[
        progress["step"] :, accelerator.process_index :: accelerator.num_processes
    ]
    learning.seconds_waited = 0.0
    bar = tqdm(
        learning.batches(list(batches)),
        f"epoch {epoch}/{recipe.epochs}",
        recipe.steps,
        initial=progress["step"],
        disable=not accelerator.is_main_process,
    )
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
            _save(state)
            raise Stopped(
                f"Stopped in epoch {epoch} of {recipe.epochs} after step {progress['step']}; "
                "nothing is lost. Go on with --resume."
            )
    waiting = learning.seconds_waited / max(state.seconds, 1e-9)
    return {"train_loss": float(total) / recipe.steps, "waiting": round(waiting, 3)}


def _finish(
    state: TrainingState,
    epoch: int,
    learned: dict[str, float],
    found: dict[str, float],
    watch: Watch | None,
) -> None:
    """Judge a finished epoch by what validation found, and write down everything."""
    recipe, seconds = state.recipe, state.seconds
    state.keep_if_best(epoch, -found["loss"] if recipe.best_by == "loss" else found[recipe.best_by])
    state.progress |= {"epoch": epoch, "step": 0, "total": 0.0}
    if state.accelerator.is_main_process:
        row: dict[str, Any] = {"epoch": epoch, "seconds": round(seconds, 1)} | learned
        row |= {f"val_{name}": round(one, 5) for name, one in found.items()}
        append_log(state.run, row)  # before the checkpoint: a resume repeats, and replaces, what has none yet
        _save(state)
        draw_curves(state.run)
        tqdm.write(f"{row}  ({(recipe.epochs - epoch) * seconds / 60:.0f} minutes to go)")
        if watch:
            watch(row)
    state.progress["seconds"] += seconds


def _save(state: TrainingState) -> None:
    if state.accelerator.is_main_process:
        save_checkpoint(state.run, state.checkpoint())


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


def _any_asked(stop: StopRequest, accelerator: Accelerator) -> bool:
    """Whether any process was asked: all leave after the same step, or the others would wait forever."""
    if accelerator.num_processes == 1:
        return stop.asked
    if stop.asked:
        accelerator.set_trigger()
    return accelerator.check_trigger()
