"""A real local Ray of two workers: one is killed in the middle, and one study always kills its own."""

import os
import signal
import time
from pathlib import Path

import pytest

from lgg.studies import Settings, collect
from lgg.studies.find import find_studies
from tests.small_studies import write_study
from tests.tiny_weights import use_tiny_networks, write_weights

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]


def prepare_worker():
    """In each worker: tiny networks, a study that ends its process, and one that tells who examines it."""
    import lgg.studies
    from lgg.models import BUILDERS, GATE
    from lgg.models.unet import UNet
    from tests.tiny_weights import tiny_gate

    BUILDERS |= {GATE: tiny_gate, "unet-mini": lambda: UNet(widths=(4, 8))}
    read_study = lgg.studies.read_study

    def read(paths, **choices):
        (folder,) = paths
        if folder.name == "poison":
            os._exit(1)
        if folder.name == "slow" and not (folder.parent.parent / "killed").exists():
            (folder.parent.parent / "worker").write_text(str(os.getpid()))
            time.sleep(600)
        return read_study(paths, **choices)

    lgg.studies.read_study = read


@pytest.fixture
def ray(monkeypatch, tmp_path):
    """Ray on two cores; that of `$LGG_TEST_RAY` where starting one takes too long."""
    ray = pytest.importorskip("ray")
    use_tiny_networks(monkeypatch)
    told = {
        "LGG_WEIGHTS": str(write_weights(tmp_path / "weights")),
        "LGG_ENGINE": "torch",
        "PYTHONPATH": str(ROOT),
    }
    environment = {"env_vars": told, "worker_process_setup_hook": prepare_worker}
    address = os.environ.get("LGG_TEST_RAY")
    own = {} if address else {"num_cpus": 2, "include_dashboard": False}
    ray.init(address=address, runtime_env=environment, log_to_driver=False, **own)
    yield ray
    ray.shutdown()


def test_a_poisonous_study_and_a_killed_worker_cost_no_other_study(ray, tmp_path):
    from lgg.studies.cluster import run

    for number, name in enumerate(["poison", "slow", *(f"patient{number}" for number in range(8))]):
        write_study(tmp_path / "studies" / name, seed=number)
    studies, outcomes = find_studies(tmp_path / "studies"), {}
    for outcome in run(studies, tmp_path / "out", Settings("unet-mini"), "auto", "cpu"):
        outcomes[outcome.study.name] = outcome
        worker = tmp_path / "worker"
        if worker.exists() and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(int(worker.read_text()), signal.SIGKILL)
    assert len(outcomes) == 10
    assert {name for name, outcome in outcomes.items() if outcome.reason} == {"poison"}
    assert collect(tmp_path / "out") == (9, 1)
