"""Networks that load in milliseconds, and folders of their weights, for tests of everything around them."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from lgg.models import BUILDERS, GATE
from lgg.models.unet import UNet
from lgg.types import Thresholds
from lgg.weights import ModelConfig, save_model

#: As an evaluation of two patients would have left them.
METRICS = {
    "protocol": "patient",
    "cascade": "hard",
    "mode": "volume",
    "measures": {"volume_mean": {"value": 0.81234, "low": 0.7, "high": 0.9, "n": 2}},
    "patients": {"TCGA_CS_1_20000101": 0.9, "TCGA_DU_2_20000101": 0.72468},
}


def tiny_gate() -> nn.Module:
    """A gate of ResNet18's outline."""
    layers = {
        "layer4": nn.Conv2d(3, 2, 1),
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(2, 1),
    }
    return nn.Sequential(OrderedDict(layers))


def use_tiny_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put tiny networks under the names of a gate and two segmenters."""
    monkeypatch.setitem(BUILDERS, GATE, tiny_gate)
    monkeypatch.setitem(BUILDERS, "unet-mini", lambda: UNet(widths=(4, 8)))
    monkeypatch.setitem(BUILDERS, "unet", lambda: UNet(widths=(4, 12)))


def write_weights(folder: Path, names: tuple[str, ...] = (GATE, "unet-mini", "unet"), **config) -> Path:
    """Write untrained weights of the (tiny) networks; the gate lets every slice pass."""
    torch.manual_seed(0)
    for name in names:
        settings = {"date": "2026-11-22", "thresholds": Thresholds(gate=0), **config}
        save_model(folder / name, BUILDERS[name](), ModelConfig(name, 32, **settings))
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """Relative path → content of everything in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
