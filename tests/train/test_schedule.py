"""How the learning rate moves over a run's steps."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from train.fit.trainer import make_schedule
from train.recipes import Recipe

RECIPE = Recipe(epochs=2, slices_per_epoch=24, batch_size=8)


@pytest.mark.parametrize(
    ("schedule", "shape"), [("constant", [1, 1, 1]), ("cosine", [1, 0.5, 0]), ("one_cycle", None)]
)
def test_turns_the_learning_rate_as_the_schedule_says(schedule, shape):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    turning = make_schedule(optimizer, replace(RECIPE, lr=1.0, schedule=schedule))
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(6):
        optimizer.step()
        if turning.last_epoch < 6 - (schedule == "one_cycle"):
            turning.step()
        rates.append(optimizer.param_groups[0]["lr"])
    if shape:
        assert [rates[0], rates[3], rates[6]] == pytest.approx(shape)
    else:
        assert max(rates) == pytest.approx(1, abs=0.1)
        assert rates[0] < 0.1
        assert rates[-1] < 0.01


@pytest.mark.parametrize("steps", range(1, 15))
@pytest.mark.parametrize("warm_up", [0, 0.15, 0.5, 1])
def test_turns_the_learning_rate_over_however_few_steps(steps, warm_up):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    recipe = replace(
        RECIPE,
        lr=1.0,
        schedule="one_cycle",
        warm_up=warm_up,
        epochs=1,
        slices_per_epoch=8 * steps,
        batch_size=8,
    )
    turning = make_schedule(optimizer, recipe)
    for _ in range(steps - 1):
        optimizer.step()
        turning.step()
    assert optimizer.param_groups[0]["lr"] < 0.01
