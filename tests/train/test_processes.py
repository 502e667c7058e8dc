"""Several processes do together what one does alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.utils import set_seed

from lgg.models import build
from tests.tiny_data import write_folder

ROOT = Path(__file__).resolve().parents[2]
TWO = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "-m", "train"]
ONE = ["-m", "train"]
#: Three steps of eight slices, nothing random about them but their order.
#: A low rate, as Adam turns the rounding of gradients near zero into steps as large as any other.
STEPS = "--epochs 1 --slices-per-epoch 24 --batch-size 8 --size 32 --lr 2e-4 --recipe cpu --stages 1"
PLAIN = [*STEPS.split(), "--freeze-batchnorm", "True", "--augment", "False", "--ema", "0"]


def run(root: Path, launcher: list[str], *arguments: object) -> subprocess.CompletedProcess[str]:
    # Full precision: bf16 would round two halves of a batch otherwise than the whole.
    plain = {"ACCELERATE_USE_CPU": "true", "ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1"}
    environment = os.environ | plain | {"LGG_RUNS": str(root / "runs"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *launcher, *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder with data."""
    root = tmp_path_factory.mktemp("processes")
    write_folder(root / "data", 12)
    return root


@pytest.fixture(scope="module")
def trained(root) -> Path:
    """The same with a gate and a segmenter trained by one process and by two."""
    for name, launcher in (("one", ONE), ("two", TWO)):
        shared = ["--data", root / "data", "--out", root / name, *PLAIN]
        run(root, launcher, "gate", *shared, "--name", f"gate-{name}", "--mask-head", "0.5")
        run(root, launcher, "segment", "--model", "unet-mini", *shared, "--name", f"unet-mini-{name}")
    return root


def learned(root: Path, model: str, name: str) -> dict[str, torch.Tensor]:
    path = root / "runs" / f"{model}-{name}" / "stage1" / "checkpoint.pt"
    return torch.load(path, weights_only=True)["learner"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gate", "unet-mini"])
def test_two_processes_learn_what_one_learns_from_the_same_batches(trained, model):
    for name, processes in (("one", 1), ("two", 2)):
        config = json.loads((trained / name / model / "config.json").read_text())
        assert config["training"]["processes"] == processes
    alone, two = learned(trained, model, "one"), learned(trained, model, "two")
    assert len(alone) > 10
    torch.testing.assert_close(alone, two, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_training_moved_the_weights(trained):
    """Or the comparison above would hold for two networks that never learned."""
    set_seed(0)
    fresh, kept = build("unet-mini").state_dict(), learned(trained, "unet-mini", "two")
    moved = max(float((value - kept[f"network.{name}"]).abs().max()) for name, value in fresh.items())
    assert moved > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gate", "unet-mini"])
def test_two_processes_validate_on_every_slice_once(trained, model):
    """What chooses the best epoch is what one process would find."""
    logs = [trained / "runs" / f"{model}-{name}" / "stage1" / "log.jsonl" for name in ("one", "two")]
    alone, two = (json.loads(path.read_text()) for path in logs)
    names = [name for name in alone if name.startswith("val_")]
    assert len(names) == 3
    assert [two[name] for name in names] == pytest.approx([alone[name] for name in names], abs=0.01)


@pytest.mark.slow
def test_two_processes_evaluate_every_slice_once(trained):
    everything = ["--data", trained / "data", "--patients", "all", "--weights", trained / "one"]
    alone, shared = trained / "alone.json", trained / "shared.json"
    run(trained, ONE, "evaluate", *everything, "--out", alone)
    done = run(trained, TWO, "evaluate", *everything, "--out", shared)
    assert alone.read_bytes() == shared.read_bytes()
    assert len(json.loads(shared.read_text())["gates"][0]["tumour"]) == 12 * 6
    assert done.stdout.count("volume_mean") == 1, "one process speaks"


def test_a_batch_that_cannot_be_shared_evenly_is_refused(root):
    shared = ["gate", "--data", root / "data", "--name", "uneven", *PLAIN, "--batch-size", "7"]
    with pytest.raises(AssertionError, match="cannot be shared evenly by 2 processes"):
        run(root, TWO, *shared)
