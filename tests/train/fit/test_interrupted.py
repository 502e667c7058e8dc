"""Nothing is lost: signals, kill -9 at any moment, a full disk, and checkpoints of something else."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from lgg.errors import DataError
from tests.tiny_data import write_folder
from train.fit.checkpoint import load_checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[3]
EPOCHS = 4
STEPS = f"--epochs {EPOCHS} --slices-per-epoch 64 --batch-size 8 --size 32"
QUICK = [*STEPS.split(), "--stages", "1", "--recipe", "cpu"]


def command(data: Path, run: str, *more: str) -> list[str]:
    whole = [sys.executable, "-m", "train", "gate", "--data", str(data), "--name", run, *QUICK, *more]
    return [*whole, "--mask-head", "0.5"]


def environment(root: Path) -> dict[str, str]:
    return os.environ | {"LGG_RUNS": str(root / "runs"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def finish(root: Path, run: str, *more: str, **options: object) -> subprocess.CompletedProcess[str]:
    arguments = command(root / "data", run, *more)
    return subprocess.run(
        arguments, env=environment(root), cwd=ROOT, capture_output=True, text=True, timeout=300, **options
    )


def start(root: Path, run: str, *more: str) -> subprocess.Popen[bytes]:
    arguments = command(root / "data", run, *more)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(arguments, env=environment(root), cwd=ROOT, **quiet)


def checkpoint(root: Path, run: str) -> Path:
    return root / "runs" / run / "stage1" / "checkpoint.pt"


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, "it ended before its first checkpoint"
        assert time.monotonic() < until
        time.sleep(0.01)


def learned(root: Path, run: str) -> dict[str, torch.Tensor]:
    state = torch.load(checkpoint(root, run), weights_only=True)
    assert (state["epoch"], state["step"]) == (EPOCHS, 0)
    return state["learner"] | {f"best.{name}": value for name, value in state["best"].items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with data, and a run that nothing disturbed."""
    root = tmp_path_factory.mktemp("interrupted")
    write_folder(root / "data", 12)
    done = finish(root, "whole")
    assert done.returncode == 0, done.stderr
    return root


def same(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert state.keys() == other.keys()
    assert [name for name in state if not torch.equal(state[name], other[name])] == []


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_bit_for_bit_as_if_undisturbed(whole, kills):
    """The moments, in seconds from the first checkpoint on, are drawn from the number of kills."""
    run, moments = f"killed{kills}", random.Random(kills)
    process = start(whole, run)
    wait_for(checkpoint(whole, run), process)
    for _ in range(kills):
        # A step takes some 30 ms and an epoch half a second: this hits steps, validation and writing alike.
        time.sleep(moments.uniform(0, 0.6))
        process.kill()
        process.wait()
        before = checkpoint(whole, run).stat().st_mtime_ns
        process = start(whole, run, "--resume")
        while process.poll() is None and checkpoint(whole, run).stat().st_mtime_ns == before:
            time.sleep(0.01)
    process.kill()
    process.wait()
    done = finish(whole, run, "--resume")
    assert done.returncode == 0, done.stderr
    same(learned(whole, run), learned(whole, "whole"))


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_asked_to_stop_it_finishes_the_step_saves_and_goes_on_from_there(whole, number):
    run = f"asked{number}"
    process = start(whole, run)
    wait_for(checkpoint(whole, run), process)
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(60) == 128 + signal.SIGTERM
    state = torch.load(checkpoint(whole, run), weights_only=True)
    assert 0 < state["epoch"] < EPOCHS
    done = finish(whole, run, "--resume")
    assert done.returncode == 0, done.stderr
    same(learned(whole, run), learned(whole, "whole"))


def test_a_stop_within_an_epoch_keeps_its_steps(whole, monkeypatch, tmp_path):
    """The same in one process, where the step that is asked to stop is known."""
    import train.fit.trainer
    from tests.train.fit.test_trainer import RECIPE, SPLITS
    from train.fit.trainer import Stopped

    monkeypatch.setattr(train.fit.trainer, "draw_curves", lambda folder: None)
    asked = []

    class AtTheFifth:
        def is_set(self):
            asked.append(1)
            return len(asked) == 5

    monkeypatch.setattr(train.fit.trainer, "listen_for_stop", lambda: nullcontext(AtTheFifth()))
    with pytest.raises(Stopped, match="epoch 2 of 2 after step 1"):
        train.fit.trainer.train("unet-mini", RECIPE, SPLITS, tmp_path / "run")
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert (state["epoch"], state["step"]) == (1, 1)


@pytest.mark.parametrize(
    ("name", "share"), [("checkpoint.pt", 0.5), pytest.param("log.jsonl", 1e-6, marks=pytest.mark.slow)]
)
def test_a_full_disk_names_the_file_and_keeps_the_last_checkpoint(whole, name, share):
    # The few bytes with which torch looks for a temporary folder fit into the smaller one too.
    limit = int(checkpoint(whole, "whole").stat().st_size * share)

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    run = f"full-{name}"
    stopped = start(whole, run)
    wait_for(checkpoint(whole, run), stopped)
    stopped.kill()
    stopped.wait()
    before = checkpoint(whole, run).read_bytes()
    done = finish(whole, run, "--resume", preexec_fn=small_disk)
    assert done.returncode == 1
    assert f"{run}/stage1: {name} cannot be written" in done.stderr
    assert "--resume" in done.stderr
    assert "Traceback" not in done.stderr
    assert checkpoint(whole, run).read_bytes() == before
    assert [path.name for path in checkpoint(whole, run).parent.glob(".*")] == [], "no half file is left"


def test_a_second_run_of_the_same_name_overwrites_nothing(whole):
    before = checkpoint(whole, "whole").read_bytes()
    done = finish(whole, "whole")
    assert done.returncode == 1
    assert all(word in done.stderr for word in ("--resume", "--name", "--restart"))
    assert checkpoint(whole, "whole").read_bytes() == before


@pytest.mark.slow
def test_restart_throws_the_old_run_away(whole):
    assert finish(whole, "again", "--epochs", "1").returncode == 0
    done = finish(whole, "again", "--epochs", "2", "--restart")
    assert done.returncode == 0, done.stderr
    log = (whole / "runs" / "again" / "stage1" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [1, 2]


class TestCheckpoint:
    def test_that_is_damaged_says_so(self, tmp_path):
        save_checkpoint(tmp_path, {"epoch": 1, "weights": torch.ones(100)})
        path = tmp_path / "checkpoint.pt"
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(DataError, match="damaged"):
            load_checkpoint(tmp_path, {})

    def test_that_would_run_code_is_refused(self, tmp_path):
        torch.save({"epoch": 1, "code": Path("x")}, tmp_path / "checkpoint.pt")
        with pytest.raises(DataError, match="cannot be read"):
            load_checkpoint(tmp_path, {})

    def test_of_another_recipe_is_named_and_says_what_is_another(self, tmp_path):
        before = {"lr": 0.1, "ema": 0, "augmentation": {"flip": 0.5, "drop": 0}}
        now = {"lr": 0.2, "ema": 0, "augmentation": {"flip": 0, "drop": 0}}
        save_checkpoint(tmp_path / "mine" / "stage2", {"recipe": before})
        words = r"^mine/stage2/checkpoint\.pt .* recipe: lr was 0\.1, is 0\.2, flip was 0\.5, is 0\."
        with pytest.raises(DataError, match=words):
            load_checkpoint(tmp_path / "mine" / "stage2", {"recipe": now})
