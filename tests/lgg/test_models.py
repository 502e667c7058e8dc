"""Every registered network, one suite: size, shapes, logits, gradients, and the way to disk and back."""

import subprocess
import sys

import pytest
import torch

from lgg.models import BUILDERS, GATE, SEGMENTERS, TITLES, build, parameters
from lgg.weights import ModelConfig, load_model, save_model

MILLIONS = {
    "gate": "11.18",
    "unet": "31.0",
    "unet-mini": "1.80",
    "unet-resnext50": "32.0",
    "unet-lite0": "5.61",
}


@pytest.fixture(scope="module", params=BUILDERS)
def trained(request):
    """Name, network and gradients after one backward pass, so running statistics are not the initial ones."""
    torch.manual_seed(0)
    model = build(request.param)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 + 1
    model.train()(images).square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    return request.param, model.eval(), gradients


@torch.inference_mode()
def answer(model, *shape, seed=0):
    return model(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)))


def test_every_network_has_a_title_and_an_expected_size():
    assert set(TITLES) == {GATE, *SEGMENTERS} == set(BUILDERS) == set(MILLIONS)
    assert GATE not in SEGMENTERS


def test_parameter_count(trained):
    name, model, _ = trained
    digits = len(MILLIONS[name].split(".")[1])
    assert f"{parameters(model) / 1e6:.{digits}f}" == MILLIONS[name]


@pytest.mark.parametrize("size", [(64, 64), (100, 75), (33, 47)], ids=str)
def test_output_has_the_inputs_size_odd_ones_too(trained, size):
    name, model, _ = trained
    assert answer(model, 2, 3, *size).shape == ((2, 1) if name == GATE else (2, 1, *size))


def test_answers_are_logits_not_probabilities(trained):
    _, model, _ = trained
    # A last bias of ±5 moves logits by ±5; a probability could not leave 0 to 1.
    bias = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")][-1]
    with torch.no_grad():
        before, kept = answer(model, 1, 3, 64, 64), bias.clone()
        for shift in (5.0, -5.0):
            bias.copy_(kept + shift)
            torch.testing.assert_close(answer(model, 1, 3, 64, 64), before + shift, atol=1e-4, rtol=1e-4)
        bias.copy_(kept)


def test_gradients_reach_every_parameter_and_are_finite(trained):
    _, _, gradients = trained
    without = {name for name, gradient in gradients.items() if gradient is None}
    # smp keeps the classifier's last convolution in the encoder, and nothing reads it.
    assert {name.removeprefix("encoder.").split(".")[0] for name in without} <= {"conv_head", "bn2"}
    gradients = {name: gradient for name, gradient in gradients.items() if name not in without}
    assert [name for name, gradient in gradients.items() if not gradient.isfinite().all()] == []
    assert all(gradient.any() for name, gradient in gradients.items() if name.endswith("conv.weight"))


def test_a_slice_is_answered_the_same_alone_and_in_a_batch(trained):
    _, model, _ = trained
    batch = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        torch.testing.assert_close(model(batch)[1:2], model(batch[1:2]), atol=1e-4, rtol=1e-4)


def test_save_and_load_give_the_fp16_rounded_network_exactly(trained, tmp_path):
    name, model, _ = trained
    save_model(tmp_path, model, ModelConfig(name, 64))
    loaded, _ = load_model(tmp_path)
    source, target = model.state_dict(), loaded.state_dict()
    assert list(source) == list(target)
    for key, value in source.items():
        exact = key.endswith(("running_mean", "running_var")) or not value.is_floating_point()
        assert torch.equal(target[key], value if exact else value.half().float()), key
    assert answer(loaded, 2, 3, 64, 64).isfinite().all()


def test_importing_the_registry_is_light():
    slow = ("segmentation_models_pytorch", "timm", "torchvision")
    code = f"import sys, lgg.models; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
