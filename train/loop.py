"""The training loop, for one process or many: Accelerate spreads each step's batch over them."""

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
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from lgg.errors import DataError
from lgg.models import GATE, build
from train.augment import augment
from train.checkpoint import append_log, load_checkpoint, save_checkpoint
from train.curves import draw_curves
from train.dataset import Slices
from train.initialise import initialise_encoder
from train.losses import loss_of
from train.recipe import Recipe
from train.sampling import draw_epoch, pixel_weight, slice_weight
from train.validate import validate

log = logging.getLogger(__name__)


def make_accelerator() -> Accelerator:
    """bf16 where the hardware multiplies it natively: every CUDA device of today, and some CPUs."""
    native = torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()
    return Accelerator(mixed_precision="bf16" if native else "no")


def train(
    architecture: str,
    recipe: Recipe,
    sides: tuple[Slices, Slices],
    run: Path,
    *,
    start: dict[str, Tensor] | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train a network and keep the epoch that was best on the validation side.

    Args:
        architecture: a name of `lgg.models.BUILDERS`.
        recipe: how.
        sides: the slices to learn from, and those that choose the best epoch.
        run: the run's folder; gets `checkpoint.pt`, `log.jsonl` and `curves.png`.
        start: weights to begin with (a finish at full resolution begins with those of half); else fresh.
        resume: go on from the run's checkpoint.

    Raises:
        DataError: the recipe's `best_by` is not measured for this network, or resuming is not possible.

    Returns:
        The final checkpoint: `best` (state dict on the CPU, float32), `best_epoch`, `initialised`, `seconds`.
    """
    wrong = "dice" if architecture == GATE else "auroc"
    if recipe.best_by == wrong:
        raise DataError(f"--best-by {wrong} does not fit {architecture}: its validation does not measure it.")
    accelerator = make_accelerator()
    device = accelerator.device
    set_seed(recipe.seed)
    model = build(architecture)
    initialised = recipe.initialise if start is None else "weights"
    if start is not None:
        model.load_state_dict(start)
    elif recipe.initialise == "imagenet" and not initialise_encoder(model, architecture):
        initialised = "scratch"
    # Channels last is how convolutions are fastest on both CPUs and tensor cores.
    model = model.to(device).to(memory_format=torch.channels_last)

    learning, validation = (side.to(device) for side in sides)
    weight = slice_weight(learning.tumour) if architecture == GATE else pixel_weight(learning.masks)
    steps = math.ceil(recipe.slices_per_epoch / recipe.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps * recipe.epochs)
    # What is validated and kept: a running average of the weights where the recipe wants one, which is far
    # steadier from epoch to epoch while the learning rate is high. BatchNorm's statistics are averaged too.
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
    model, optimizer = accelerator.prepare(model, optimizer)
    bare = accelerator.unwrap_model(model)
    judged = average.module if recipe.ema else bare

    state: dict[str, Any] = {
        "epoch": 0,
        "best": None,
        "best_epoch": 0,
        "best_score": -math.inf,
        "seconds": 0.0,
    }
    state |= {"architecture": architecture, "recipe": asdict(recipe), "initialised": initialised}
    if resume:
        state = load_checkpoint(run, architecture, recipe)
        bare.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        average.load_state_dict(state["average"])
        log.info("Resumed after epoch %d of %d.", state["epoch"], recipe.epochs)

    for epoch in range(state["epoch"] + 1, recipe.epochs + 1):
        began = time.monotonic()
        # Drawn from the epoch's own seed: a resumed run repeats what an uninterrupted one would have drawn.
        seed = recipe.seed * 10_000 + epoch
        order = draw_epoch(
            learning.tumour,
            recipe.slices_per_epoch,
            recipe.tumour_weight,
            torch.Generator().manual_seed(seed),
        )
        share = order[accelerator.process_index :: accelerator.num_processes].to(device)
        randomness = torch.Generator(device).manual_seed(seed * 100 + accelerator.process_index)
        batches = share.split(max(1, recipe.batch_size // accelerator.num_processes))
        bar = tqdm(batches, f"epoch {epoch}/{recipe.epochs}", disable=not accelerator.is_main_process)

        model.train()
        total = torch.zeros((), device=device)
        for index in bar:
            batch = learning[index]
            inputs, masks = augment(batch, recipe.augmentation, randomness)
            logits = model(inputs.contiguous(memory_format=torch.channels_last))
            target = batch.tumour.float()[:, None] if architecture == GATE else masks
            loss = loss_of(recipe.loss, logits.float(), target, weight)
            optimizer.zero_grad(set_to_none=True)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if recipe.ema:
                average.update_parameters(bare)
            total += loss.detach()

        with accelerator.autocast():
            found = validate(judged, architecture, validation, recipe.loss, weight)
        seconds = time.monotonic() - began
        state["epoch"], state["seconds"] = epoch, state["seconds"] + seconds
        score = -found["loss"] if recipe.best_by == "loss" else found[recipe.best_by]
        # A side of one class alone has no AUROC (NaN): then the latest epoch is as good as any.
        if math.isnan(score) or score > state["best_score"]:
            state |= {"best": _on_cpu(judged), "best_epoch": epoch}
            state["best_score"] = -math.inf if math.isnan(score) else score
        if accelerator.is_main_process:
            row = {"epoch": epoch, "train_loss": float(total) / len(batches), "seconds": round(seconds, 1)}
            row |= {f"val_{name}": round(value, 5) for name, value in found.items()}
            state |= {"model": _on_cpu(bare), "optimizer": optimizer.state_dict()}
            state |= {"schedule": schedule.state_dict(), "average": average.state_dict()}
            append_log(run, row)  # before the checkpoint: a resume repeats, and replaces, what has none yet
            save_checkpoint(run, state)
            draw_curves(run)
            left = (recipe.epochs - epoch) * seconds / 60
            tqdm.write(f"{row}  ({left:.0f} minutes to go)")
        accelerator.wait_for_everyone()
    return state


def _on_cpu(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
