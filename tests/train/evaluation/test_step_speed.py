"""The benchmark of training steps, and tracking."""

import platform
import sqlite3
import sys

import pytest
import torch
from torch import nn

from lgg.errors import DataError
from lgg.models import BUILDERS
from lgg.models.unet import UNet
from train.evaluation.step_speed import measure, step_table
from train.fit.checkpoint import tracking
from train.fit.losses import NetworkWithLoss
from train.hardware import hardware


@pytest.mark.parametrize("name", ["gate", "unet-mini"])
def test_a_step_is_timed_beside_the_matrix_product(name, monkeypatch):
    """Steps of a quarter of a second, between matrix products of two milliseconds and of one."""
    monkeypatch.setitem(BUILDERS, "unet-mini", lambda: UNet(widths=(4, 8)))
    monkeypatch.setattr("train.evaluation.step_speed.MATRIX", {"cpu": 100})
    timed, seconds = [], iter([2e-3, 0.25, 1e-3])

    def median_seconds(work, device, repeats, warm_up):
        work()
        timed.append(repeats)
        return next(seconds)

    monkeypatch.setattr("train.evaluation.step_speed._median_seconds", median_seconds)
    (speed,) = measure([name], size=32, batch_size=2, steps=7)
    assert timed == [10, 7, 10]
    assert (speed.ms_per_step, speed.slices_per_second) == (250, 8)
    assert speed.matmul_teraflops == pytest.approx(2 * 100**3 / 1e-3 / 1e12, rel=1e-3)
    assert speed.share == pytest.approx(speed.teraflops / speed.matmul_teraflops, abs=0.01)
    text = step_table([speed])
    assert f"| {name} | 250 | 8.0 |" in text
    assert f"{platform.machine()} CPU, {torch.get_num_threads()} threads" in text, "which device it was"


def test_what_is_compiled_is_the_whole_step(monkeypatch):
    """A gate with a mask head, or whatever has a teacher, is never called as a network alone."""
    compiled = []
    monkeypatch.setattr("train.evaluation.step_speed.MATRIX", {"cpu": 64})
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(type(module)))
    measure(["gate"], size=32, batch_size=2, steps=1, compiled=True)
    assert compiled == [NetworkWithLoss]


def test_the_device_is_the_gpus_own_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    assert hardware() == "NVIDIA H100"


def test_the_count_of_operations_is_that_of_the_convolutions(monkeypatch):
    """A 1×1 convolution of 3 channels to one: 2·3·1 a pixel forward, and as much backward for its weights."""
    monkeypatch.setitem(BUILDERS, "unet-mini", lambda: nn.Conv2d(3, 1, 1, bias=False))
    monkeypatch.setattr("train.evaluation.step_speed.MATRIX", {"cpu": 64})
    monkeypatch.setattr("train.evaluation.step_speed._median_seconds", lambda *rest: 1e-6)
    (found,) = measure(["unet-mini"], size=16, batch_size=2, steps=1)
    forward = 2 * 3 * 1 * 16 * 16 * 2
    assert found.teraflops * 1e12 * 1e-6 == pytest.approx(2 * forward, rel=0.2)


def test_tracking_keeps_each_epochs_figures_on_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    trackio = pytest.importorskip("trackio")
    monkeypatch.setattr(trackio.utils, "TRACKIO_DIR", tmp_path, raising=False)
    with tracking("a-run", {"lr": 0.1}, wanted=True) as watch:
        watch({"epoch": 1, "val_dice": 0.25})
        watch({"epoch": 2, "val_dice": 0.5})
    databases = list(tmp_path.rglob("*.db"))
    assert databases
    with sqlite3.connect(databases[0]) as database:
        rows = database.execute("select metrics from metrics").fetchall()
    assert any("0.5" in str(row) for row in rows)


def test_tracking_without_trackio_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(DataError, match="pip install trackio"), tracking("a-run", {}, wanted=True):
        pass
