"""A run that is killed at any moment, and one over two hundred studies: `make test-all` runs these."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import psutil
import pytest

from lgg.cascade import Cascade
from lgg.studies import Examiner, Settings, collect
from lgg.studies.find import find_studies
from tests.small_studies import write_study
from tests.tiny_weights import use_tiny_networks, write_weights

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
COUNT = 12
#: The command with tiny networks in place of those that take seconds to load.
COMMAND = """
import sys
from lgg.cli import main
from lgg.models import BUILDERS, GATE
from lgg.models.unet import UNet
from tests.tiny_weights import tiny_gate
BUILDERS |= {GATE: tiny_gate, "unet-mini": lambda: UNet(widths=(4, 8))}
options = ["--model", "unet-mini", "--format", "mesh", "--probability"]
main(["segment", *options, "--studies", *sys.argv[1:]])
"""


@pytest.fixture
def weights(tmp_path, monkeypatch):
    use_tiny_networks(monkeypatch)
    return write_weights(tmp_path / "weights")


def write_studies(root, count):
    for number in range(count):
        write_study(root / f"patient{number:03}", seed=number)
    return root


def start(studies, out, weights):
    environment = os.environ | {"LGG_WEIGHTS": str(weights), "LGG_ENGINE": "torch", "OMP_NUM_THREADS": "1"}
    call, quiet = [sys.executable, "-c", COMMAND, str(studies), "--out", str(out)], subprocess.DEVNULL
    return subprocess.Popen(call, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet)


def finished(out):
    return [path.parent for path in out.glob("*/statistics.json") if not path.parent.name.startswith(".")]


def check_whole(folder):
    numbers = json.loads((folder / "statistics.json").read_text())
    for name, size in numbers["files"].items():
        assert (folder / name).stat().st_size == size
    assert nib.load(folder / "mask.nii.gz").get_fdata().sum() == numbers["voxels"]


def test_what_a_killed_run_left_is_whole_and_the_rest_is_done_later(tmp_path, weights):
    studies, out = write_studies(tmp_path / "studies", COUNT), tmp_path / "out"
    moments, kills = random.Random(0), 0
    for _ in range(8):
        process = start(studies, out, weights)
        before = len(finished(out))
        while process.poll() is None and len(finished(out)) == before:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.15))  # into the writing of the next one
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        for folder in finished(out):
            check_whole(folder)
    assert kills >= 3
    assert start(studies, out, weights).wait() == 0
    assert len(finished(out)) == COUNT
    assert collect(out) == (COUNT, 0)


def test_memory_stays_flat_over_two_hundred_studies(tmp_path, weights):
    studies = find_studies(write_studies(tmp_path / "studies", 200))
    examiner = Examiner(
        Cascade.from_pretrained(weights, "unet-mini"), tmp_path / "out", Settings("unet-mini")
    )
    process, used = psutil.Process(), []
    for outcome in examiner.run(studies):
        assert outcome.statistics
        used.append(process.memory_info().rss)
    assert max(used[100:]) - max(used[20:100]) < 20 * 2**20
