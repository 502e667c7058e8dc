"""A process that is killed while it downloads or uploads leaves nothing half done behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from lgg.models import GATE
from lgg.weights import load_model
from lgg.weights.hub import download
from tests.hub_server import TOKEN, Fault
from tests.tiny_weights import METRICS, files_of, use_tiny_networks, write_weights
from train.publish.hub import model_files, publish_models

#: `huggingface_hub` hands files to its HTTP library in a way that the latter would like changed.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
REPO = "user/lgg"
ROOT = Path(__file__).resolve().parents[3]
DOWNLOAD = """
from lgg.weights.hub import download
download("user/lgg", ("gate",), "main")
"""
UPLOAD = """
import sys
from pathlib import Path
import pytest
from huggingface_hub import HfApi
from tests.tiny_weights import use_tiny_networks
from train.publish.hub import model_files, publish_models
use_tiny_networks(pytest.MonkeyPatch())
publish_models(HfApi(), "user/lgg", model_files(Path(sys.argv[1]), "user/lgg"), "v1", "message", False)
"""


@pytest.fixture
def weights(tmp_path, monkeypatch):
    use_tiny_networks(monkeypatch)
    return write_weights(tmp_path / "weights", metrics=METRICS)


def kill_when(happened, hub, script, *arguments):
    """Run a script in a process of its own and kill it without warning at a moment."""
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_CACHE": constants.HF_HUB_CACHE,
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": TOKEN,
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], env=environment)
    try:
        deadline = time.monotonic() + 120
        while not happened():
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL


def test_a_killed_download_is_never_taken_for_weights(hub, weights):
    commit = hub.store.publish(REPO, files_of(weights))
    hub.faults.append(Fault("GET /large", cut=100, delay=60))
    kill_when(lambda: list(Path(constants.HF_HUB_CACHE).rglob("*.incomplete")), hub, DOWNLOAD)
    assert not list(Path(constants.HF_HUB_CACHE).rglob("model.safetensors"))
    hub.faults.clear()
    folder, _ = download(REPO, (GATE,), commit)
    assert load_model(folder / GATE)


def test_a_killed_upload_publishes_nothing_and_goes_on_the_next_time(hub, weights, monkeypatch):
    hub.faults.append(Fault("PUT", delay=60))
    kill_when(lambda: any("PUT" in request for request in hub.seen), hub, UPLOAD, weights)
    repository = hub.store.repositories["models", REPO]
    assert repository.messages == ["initial commit"]
    hub.faults.clear()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    commit = publish_models(HfApi(), REPO, model_files(weights, REPO), "v1", "message", private=False)
    assert repository.messages == ["initial commit", "message"]
    assert repository.tags == {"v1": commit}
