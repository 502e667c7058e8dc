"""Grad-CAM by the published formula and in the right place; views and models that agree or do not."""

import numpy as np
import pytest
import torch
from torch import nn

from lgg.cascade import Cascade
from lgg.explain import agreement, flip_spread, grad_cam, in_words
from lgg.models import BUILDERS
from lgg.models.gate import LogitsAndEvidence
from lgg.preprocess import prepare
from lgg.types import FLAIR
from lgg.weights import ModelConfig


def resnet():
    torch.manual_seed(0)
    return BUILDERS["gate"]().eval()


def cascade(gate, segmenter=None):
    segmenter = segmenter or nn.Identity()
    return Cascade((gate, ModelConfig("gate", 64)), (segmenter, ModelConfig("unet", 64)), "cpu")


def pixels(count=2, height=60, width=44):
    return np.random.default_rng(0).normal(size=(count, height, width, 3)).astype("float32")


def published(gate, inputs):
    """Grad-CAM by its formula: channels weighted by the mean gradient of the logit, negative sums cut off."""
    kept = []
    handle = gate.layer4.register_forward_hook(lambda *parts: kept.append(parts[2]))
    logits = gate(inputs)
    handle.remove()
    (features,) = kept
    (gradient,) = torch.autograd.grad(logits.sum(), features)
    return (gradient.mean((2, 3), keepdim=True) * features).sum(1).relu().detach()


def test_the_map_is_that_of_the_published_formula():
    gate, inputs = resnet(), torch.randn(2, 3, 96, 96)
    (logits, ours), theirs = LogitsAndEvidence(gate)(inputs), published(gate, inputs)
    assert torch.equal(logits, gate(inputs))
    scale = ours.sum() / theirs.sum()
    torch.testing.assert_close(ours, theirs * scale, rtol=1e-3, atol=1e-5)


def test_without_evidence_the_map_is_zero():
    gate = resnet()
    nn.init.constant_(gate.fc.weight, -1.0)
    assert not grad_cam(cascade(gate), prepare(pixels(), "slice")).any()


class FlairGate(nn.Module):
    """A gate of ResNet18's outline that takes bright FLAIR for evidence."""

    def __init__(self):
        super().__init__()
        self.layer4, self.avgpool, self.fc = nn.AvgPool2d(8), nn.AdaptiveAvgPool2d(1), nn.Linear(3, 1)
        self.fc.weight.data[:] = torch.tensor([0.0, 1.0, 0.0])


@pytest.mark.parametrize("size", [(48, 96), (120, 80)], ids=str)
def test_the_map_has_the_slices_size_and_is_highest_where_the_evidence_is(size):
    slices, middle = pixels(1, *size) * 0.1, size[0] // 2
    slices[0, 4:-4, 4:-4] += 5  # the head
    slices[0, middle : middle + 12, 10:22, FLAIR] += 5
    (map_,) = grad_cam(cascade(FlairGate()), prepare(slices, "slice"))
    assert (map_.shape, map_.dtype, map_.min(), map_.max()) == (size, np.float32, 0, 1)
    row, column = np.unravel_index(map_.argmax(), size)
    assert abs(row - (middle + 6)) <= 8
    assert abs(column - 16) <= 8


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


@pytest.mark.parametrize(("segmenter", "std"), [(Pointwise, 0), (LeftOnly, 0.5)])
@pytest.mark.parametrize("size", [(64, 64), (50, 99)], ids=str)
def test_the_spread_is_how_far_the_segmenters_views_differ(segmenter, std, size):
    spread = flip_spread(cascade(resnet(), segmenter()), prepare(pixels(2, *size), "slice"))
    assert spread.shape == (2, *size)
    assert spread.dtype == np.float32
    # Where the halves meet, what lies off the middle by half a pixel is scaled into both.
    assert np.median(abs(spread - std)) < 0.02


def test_agreement_is_the_mean_dice_of_all_pairs():
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    first[0], second[0, :2] = True, True
    assert agreement([first, first]) == pytest.approx(1)
    assert agreement([first, second]) == pytest.approx(2 / 3, abs=1e-6)
    assert agreement([first, first, second]) == pytest.approx((1 + 2 / 3 + 2 / 3) / 3, abs=1e-6)
    assert agreement([first & ~first] * 2) == 1
    assert agreement([first]) is None


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.04, "Fewer than 1 in 20"), (0.12, "About 1 in 10"), (0.93, "About 9 in 10"), (0.97, "More than 19")],
)
def test_a_probability_in_plain_words_and_how_far_off_it_may_be(probability, words):
    assert in_words(probability).startswith(words)
    assert "nobody has measured" in in_words(probability)
    assert "off by 7 percentage points" in in_words(probability, 0.0689)
    assert "off by 1 percentage point on" in in_words(probability, 0.002)
