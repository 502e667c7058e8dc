"""The benchmark of training steps."""

import json
import platform

import pytest
import torch
from torch import nn

from lgg.models import BUILDERS
from lgg.models.unet import UNet
from train.__main__ import speed
from train.fit.losses import NetworkWithLoss
from train.hardware import hardware


@pytest.mark.parametrize("compile", [False, True])
def test_steps_are_timed_beside_the_matrix_product(monkeypatch, tmp_path, capsys, compile):
    """What is compiled is the whole step: a gate with a mask head is never called as a network alone."""
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(type(module)))
    monkeypatch.setitem(BUILDERS, "unet-mini", lambda: UNet(widths=(4, 8)))
    for name, value in {"MATRIX": {"cpu": 100}, "LONG": 0.1, "SHORT": 0.01}.items():
        monkeypatch.setattr(f"train.evaluation.step_speed.{name}", value)
    speed(("gate", "unet-mini"), size=32, batch_size=2, compile=compile, out=tmp_path / "speed.json")
    assert compiled == 2 * compile * [NetworkWithLoss]
    printed, found = capsys.readouterr().out, json.loads((tmp_path / "speed.json").read_text())
    assert [row["model"] for row in found] == ["gate", "unet-mini"]
    for row in found:
        assert row["slices_per_second"] == pytest.approx(2000 / row["ms_per_step"], rel=0.05)
        assert row["share"] == pytest.approx(row["teraflops"] / row["matmul_teraflops"], rel=0.05, abs=2e-4)
        assert f"| {row['model']} | {row['ms_per_step']:.0f} |" in printed
    assert f"{platform.machine()} CPU, {torch.get_num_threads()} threads" in printed, "which device it was"


def test_the_device_is_the_gpus_own_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    assert hardware() == "NVIDIA H100"
