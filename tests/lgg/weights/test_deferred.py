"""Networks that are read when they are first run: not before, once, and only what was checked."""

import hashlib
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from torch import nn

import lgg.weights
from lgg.app.models import load_cascades
from lgg.cascade import DEFAULT_ARCHITECTURE, Cascade
from lgg.engine import TorchEngine
from lgg.errors import WeightsError
from lgg.examples import load_examples
from lgg.io import read_slice
from lgg.models import GATE
from lgg.weights import REPOSITORY_WEIGHTS, defer_model, load_model

INPUTS = np.linspace(-2, 2, 2 * 3 * 64 * 64, dtype=np.float32).reshape(2, 3, 64, 64)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(REPOSITORY_WEIGHTS / "unet-mini", tmp_path / "unet-mini")


@pytest.fixture
def read(monkeypatch):
    """Names of the folders that were read, in order."""
    names = []

    def load(folder, device):
        names.append(folder.name)
        return load_model(folder, device)

    monkeypatch.setattr(lgg.weights, "load_model", load)
    return names


def test_it_is_read_once_when_it_is_first_run_and_says_what_the_network_says(folder, read):
    deferred, config = defer_model(folder)
    assert read == []
    network, same = load_model(folder)
    assert config == same
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(TorchEngine(deferred, "cpu"), [INPUTS] * 4))
    assert read == ["unet-mini"]
    wanted = TorchEngine(network, "cpu")(INPUTS)
    assert all(np.array_equal(answer, wanted) for answer in answers)


def test_reading_does_not_count_as_the_networks_time(folder, monkeypatch):
    def slowly(folder, device):
        time.sleep(1)
        return load_model(folder, device)

    monkeypatch.setattr(lgg.weights, "load_model", slowly)
    cascade = Cascade(load_model(REPOSITORY_WEIGHTS / GATE), defer_model(folder), "cpu")
    prediction = cascade.predict(read_slice(load_examples()[0].image))
    assert prediction.mask.any()
    assert prediction.milliseconds["segment"] < 1000


def test_a_file_that_is_checked_and_then_read_is_hashed_once(folder, monkeypatch):
    hashed, digest = [], hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, name: hashed.append(file.name) or digest(file, name)
    )
    deferred, _ = defer_model(folder)
    deferred.load()
    load_model(folder)
    assert hashed == [str(folder / "model.safetensors")]


def test_weights_that_were_replaced_meanwhile_are_not_run_with_the_old_thresholds(folder):
    deferred, _ = defer_model(folder)
    shutil.copytree(REPOSITORY_WEIGHTS / DEFAULT_ARCHITECTURE, folder, dirs_exist_ok=True)
    with pytest.raises(WeightsError, match="replaced"):
        TorchEngine(deferred, "cpu")(INPUTS)


def test_what_was_damaged_meanwhile_is_refused_and_runs_once_it_is_whole(folder):
    deferred, _ = defer_model(folder)
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(WeightsError, match="truncated"):
        TorchEngine(deferred, "cpu")(INPUTS)
    path.write_bytes(whole)
    assert TorchEngine(deferred, "cpu")(INPUTS).shape == (2, 1, 64, 64)


@pytest.fixture
def two(tmp_path):
    """A folder with the gate, the default segmenter and another."""
    for name in (GATE, DEFAULT_ARCHITECTURE, "unet-mini"):
        shutil.copytree(REPOSITORY_WEIGHTS / name, tmp_path / name)
    return tmp_path


def test_on_a_cpu_the_page_reads_gate_and_default_at_once_and_checks_the_others(
    two, read, tmp_path, monkeypatch
):
    monkeypatch.setenv("LGG_CACHE", str(tmp_path / "nothing is converted yet"))
    cascades, _ = load_cascades(two)
    assert read == [GATE, DEFAULT_ARCHITECTURE]
    path = two / "unet-mini" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    cascades, reasons = load_cascades(two)
    assert list(cascades) == [DEFAULT_ARCHITECTURE]
    assert "truncated" in reasons["unet-mini"]


def test_with_openvino_the_page_reads_no_network_that_was_converted_before(two, read, tmp_path, monkeypatch):
    monkeypatch.setenv("LGG_ENGINE", "openvino")
    monkeypatch.setenv("LGG_CACHE", str(tmp_path / "cache"))
    load_cascades(two)
    read.clear()
    cascades, _ = load_cascades(two)
    assert cascades[DEFAULT_ARCHITECTURE].predict(read_slice(load_examples()[0].image)).mask.any()
    assert read == []
    assert len({id(cascade.gate_engine) for cascade in cascades.values()}) == 1, "one compiled gate for all"


def test_on_a_gpu_everything_is_read_before_the_first_request(tmp_path, monkeypatch):
    for name in (GATE, "unet-mini"):
        shutil.copytree(REPOSITORY_WEIGHTS / name, tmp_path / name)
    monkeypatch.setattr("lgg.app.models.best_device", lambda: "meta")
    cascades, _ = load_cascades(tmp_path)
    engines = cascades["unet-mini"].gate_engine, cascades["unet-mini"].engine
    assert all(isinstance(engine.network, nn.Module) for engine in engines)
