"""How sure: views and models that agree, and those that do not."""

import numpy as np
import pytest
import torch
from torch import nn

from lgg.cascade import Cascade
from lgg.explain import agreement, calibration_error, disagreement, flip_spread, in_words
from lgg.preprocess import prepare
from lgg.weights import ModelConfig


class Gate(nn.Module):
    def forward(self, x):
        return x[:, 1, :, : x.shape[-1] // 2].mean((1, 2))[:, None]  # looks at the left half only


class Pointwise(nn.Module):
    """A segmenter that a mirror does not confuse."""

    def forward(self, x):
        return x[:, 1:2]


class LeftOnly(nn.Module):
    """A segmenter that sees tumour on the left alone."""

    def forward(self, x):
        logits = torch.full_like(x[:, :1], -20.0)
        logits[..., : x.shape[-1] // 2] = 20.0
        return logits


def cascade(segmenter):
    return Cascade((Gate(), ModelConfig("gate", 64)), (segmenter, ModelConfig("unet", 64)), device="cpu")


def pixels(count=2, height=64, width=64):
    return np.random.default_rng(0).normal(size=(count, height, width, 3)).astype("float32")


def test_a_segmenter_that_a_mirror_does_not_confuse_is_sure():
    spread = flip_spread(
        cascade(Pointwise()), prepare(pixels(), "slice"), flips=("none", "left-right", "up-down")
    )
    assert spread.std.max() < 0.02
    assert spread.mean.std() > 0.05


def test_a_segmenter_of_one_side_is_unsure_everywhere():
    spread = flip_spread(cascade(LeftOnly()), prepare(pixels(), "slice"))
    np.testing.assert_allclose(spread.std, 0.5, atol=1e-6)
    np.testing.assert_allclose(spread.mean, 0.5, atol=1e-6)


def test_a_view_from_above_tells_it_nothing():
    spread = flip_spread(cascade(LeftOnly()), prepare(pixels(), "slice"), flips=("none", "up-down"))
    assert spread.std.max() < 1e-6


def test_the_gate_answers_for_every_view():
    inputs = pixels()
    inputs[:, :, :32] += 3
    spread = flip_spread(cascade(Pointwise()), prepare(inputs, "slice"))
    assert spread.gate.shape == (2, 2)
    assert (spread.gate[0] > spread.gate[1]).all()


@pytest.mark.parametrize("size", [(64, 64), (50, 99), (99, 50)], ids=str)
def test_maps_have_the_slices_size(size):
    spread = flip_spread(cascade(Pointwise()), prepare(pixels(3, *size), "slice"))
    assert spread.mean.shape == spread.std.shape == (3, *size)
    assert spread.std.dtype == np.float32


def test_disagreement_is_the_standard_deviation():
    maps = np.random.default_rng(0).uniform(size=(3, 5, 7)).astype("float32")
    np.testing.assert_allclose(disagreement(list(maps)), maps.std(0), rtol=1e-6)
    assert not disagreement([maps[0], maps[0]]).any()


def test_agreement_is_the_mean_dice_of_all_pairs():
    one, other = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    one[0], other[0, :2] = True, True
    assert agreement([one, one]) == pytest.approx(1)
    assert agreement([one, other]) == pytest.approx(2 / 3, abs=1e-6)
    assert agreement([one, one, other]) == pytest.approx((1 + 2 / 3 + 2 / 3) / 3, abs=1e-6)
    assert agreement([one & ~one, one & ~one]) == 1


@pytest.mark.parametrize("compare", [disagreement, agreement])
def test_one_model_alone_cannot_disagree(compare):
    with pytest.raises(ValueError, match="two models"):
        compare([np.zeros((4, 4), bool)])


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (0.0, "Fewer than 1 in 20"),
        (0.04, "Fewer than 1 in 20"),
        (0.12, "About 1 in 10"),
        (0.5, "About 5 in 10"),
        (0.93, "About 9 in 10"),
        (0.97, "More than 19 in 20"),
    ],
)
def test_a_probability_in_plain_words(probability, words):
    assert in_words(probability).startswith(words)


def test_plain_words_say_how_far_off_they_may_be():
    assert "off by 7 percentage points" in in_words(0.8, 0.0689)
    assert "off by 1 percentage point on" in in_words(0.8, 0.002)
    assert "nobody has measured" in in_words(0.8)


def test_the_calibration_error_is_the_recorded_one():
    measured = ModelConfig("gate", 64, metrics={"measures": {"ece": {"value": 0.07}}})
    assert calibration_error(measured) == 0.07
    assert calibration_error(ModelConfig("gate", 64)) is None
