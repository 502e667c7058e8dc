"""Grad-CAM of the gate: the published formula, in the place that mattered, at the upload's size."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from lgg.cascade import Cascade
from lgg.explain import _maps, grad_cam
from lgg.models import BUILDERS
from lgg.preprocess import prepare
from lgg.types import FLAIR
from lgg.weights import ModelConfig


def cascade(seed=0, size=64):
    torch.manual_seed(seed)
    gate = BUILDERS["gate"]()
    return Cascade(
        (gate, ModelConfig("gate", size)), (nn.Identity(), ModelConfig("unet", size)), device="cpu"
    )


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
    gate, inputs = cascade().gate, torch.randn(2, 3, 96, 96)
    ours, theirs = _maps(gate, inputs), published(gate, inputs)
    scale = ours.sum() / theirs.sum()
    torch.testing.assert_close(ours, theirs * scale, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [(60, 44), (44, 60), (97, 131), (64, 64)], ids=str)
def test_maps_have_the_slices_size_and_reach_from_zero_to_one(size):
    maps = grad_cam(cascade(), prepare(pixels(3, *size), "slice"))
    assert maps.shape == (3, *size)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    np.testing.assert_allclose(maps.max((1, 2)), 1, rtol=1e-6)


def test_without_evidence_the_map_is_zero():
    made = cascade()
    nn.init.constant_(made.gate.fc.weight, -1.0)
    assert not grad_cam(made, prepare(pixels(), "slice")).any()


def test_the_answer_does_not_depend_on_the_units():
    made = cascade()
    np.testing.assert_allclose(
        grad_cam(made, prepare(pixels() * 16, "slice")), grad_cam(made, prepare(pixels(), "slice")), atol=1e-3
    )


def test_threads_may_share_the_gate():
    made, inputs = cascade(), pixels()
    expected = grad_cam(made, prepare(inputs, "slice"))
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: grad_cam(made, prepare(inputs, "slice")), range(8)):
            np.testing.assert_array_equal(result, expected)


class FlairGate(nn.Module):
    """A gate of ResNet18's outline that takes bright FLAIR for evidence."""

    def __init__(self):
        super().__init__()
        self.layer4, self.avgpool, self.fc = nn.AvgPool2d(8), nn.AdaptiveAvgPool2d(1), nn.Linear(3, 1)
        self.fc.weight.data[:] = torch.tensor([0.0, 1.0, 0.0])


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (120, 80)], ids=str)
def test_the_map_is_highest_where_the_evidence_is(size):
    made = Cascade((FlairGate(), ModelConfig("gate", 64)), (nn.Identity(), ModelConfig("unet", 64)), "cpu")
    slices, middle = pixels(1, *size) * 0.1, size[0] // 2
    slices[0, 4:-4, 4:-4] += 5  # the head
    slices[0, middle : middle + 12, 10:22, FLAIR] += 5
    row, column = np.unravel_index(grad_cam(made, prepare(slices, "slice"))[0].argmax(), size)
    assert abs(row - (middle + 6)) <= 8
    assert abs(column - 16) <= 8
