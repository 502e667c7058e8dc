"""Stages at different resolutions are compared at the slices' own."""

import numpy as np
import pytest
import torch

from lgg.models import BUILDERS, build
from lgg.models.unet import UNet
from train.data.kaggle_3m import Volume
from train.fit.trainer import TrainResult
from train.fit.validate import validate_at_full_resolution
from train.pipeline import better
from train.recipes import Recipe

#: A bright square on a dark ground, with a tumour in its middle.
PIXELS = np.zeros((3, 32, 32, 3), np.float32)
PIXELS[:, 4:28, 4:28] = 100
PIXELS[:, 12:20, 12:20] = 200
MASKS = np.zeros((3, 32, 32), bool)
MASKS[1, 12:20, 12:20] = True
VOLUME = Volume("A", PIXELS, MASKS)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(BUILDERS, "unet-mini", lambda: UNet(widths=(4, 8)))


def weights(bias: float) -> dict[str, torch.Tensor]:
    """Of a network that says the same of every pixel."""
    state = build("unet-mini").state_dict()
    last = list(state)[-1]
    assert last.endswith("bias")
    zeros = {name: torch.zeros_like(value) for name, value in state.items()}
    return zeros | {last: torch.full_like(state[last], bias)}


def stage(score: float, size: int, bias: float, best_by: str = "dice") -> TrainResult:
    recipe = Recipe(best_by=best_by, size=size)
    return TrainResult("unet-mini", recipe, weights(bias), 1, score, "scratch", 1.0)


def unread():
    raise AssertionError("on one scale nothing has to be read")


def test_a_network_is_judged_by_whole_volumes_and_by_slices_with_tumour():
    stats = validate_at_full_resolution("unet-mini", 16, weights(9), [VOLUME])
    assert stats.volume["volume"] == [pytest.approx(2 * 64 / (64 + 3 * 32 * 32), abs=1e-5)]
    assert stats.slice_tumour["volume"] == pytest.approx(2 * 64 / (64 + 32 * 32), abs=1e-5)
    empty = validate_at_full_resolution("unet-mini", 16, weights(-9), [VOLUME])
    assert (empty.volume, empty.slice_tumour) == ({"volume": [0.0]}, {"volume": 0.0})


@pytest.mark.parametrize("best_by", ["dice", "slice_tumour"])
def test_at_different_resolutions_the_one_that_is_better_at_the_slices_own_is_kept(best_by):
    """Each says of itself, on its own scale, that it is the better one."""
    finds, misses = stage(0.1, 32, 9, best_by), stage(0.9, 16, -9, best_by)
    assert better(finds, misses, lambda: [VOLUME])
    assert not better(misses, finds, lambda: [VOLUME])


def test_at_one_resolution_what_chose_the_epochs_decides():
    assert better(stage(0.9, 32, -9), stage(0.9, 32, 9), unread), "the later one, if they are as good"
    assert not better(stage(0.8, 32, 9), stage(0.9, 32, -9), unread)


def test_a_gates_auroc_is_on_one_scale_at_all_resolutions():
    assert not better(stage(0.8, 32, 9, "auroc"), stage(0.9, 16, 9, "auroc"), unread)


def test_the_first_stage_and_one_judged_by_another_measure_are_kept():
    first = stage(0.1, 32, 9)
    assert better(first, first, unread)
    assert better(first, stage(0.9, 32, 9, "loss"), unread)
