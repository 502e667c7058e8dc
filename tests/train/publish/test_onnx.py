"""ONNX: any batch, the same logits as torch, and nothing is written that differs."""

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from lgg.cascade import Cascade
from lgg.errors import WeightsError
from lgg.examples import SHIPPED
from lgg.io import read_slice
from lgg.models import GATE
from lgg.weights import load_model
from tests.tiny_weights import use_tiny_networks, write_weights
from train.publish import onnx as module
from train.publish.onnx import convert


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Weights and the ONNX files made from them."""
    root = tmp_path_factory.mktemp("onnx")
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_tiny_networks(monkeypatch)
        weights = write_weights(root / "weights", (GATE, "unet-mini"))
        convert(weights=weights, out=root / "onnx")
        models = {name: load_model(weights / name)[0] for name in (GATE, "unet-mini")}
    return models, root / "onnx"


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("name", [GATE, "unet-mini"])
def test_any_batch_has_torchs_logits(exported, name, batch):
    models, folder = exported
    slices = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    (logits,) = onnxruntime.InferenceSession(folder / f"{name}.onnx").run(
        ["logits"], {"slices": slices.numpy()}
    )
    assert logits.dtype == np.float32
    with torch.inference_mode():
        np.testing.assert_allclose(logits, models[name](slices).numpy(), atol=1e-4)


def test_the_file_carries_its_config(exported):
    session = onnxruntime.InferenceSession(exported[1] / "unet-mini.onnx")
    config = json.loads(session.get_modelmeta().custom_metadata_map["config"])
    assert config["architecture"] == "unet-mini"
    assert config["thresholds"]["mask"] == 0.5


def test_the_file_tells_nothing_of_the_machine_that_made_it(exported):
    for path in exported[1].iterdir():
        assert not re.search(rb"site-packages|File \"|\.py", path.read_bytes())


def test_what_the_docs_do_with_a_file_gives_the_librarys_probability(tmp_path, monkeypatch):
    use_tiny_networks(monkeypatch)
    weights = write_weights(tmp_path, (GATE, "unet-mini"), temperature=3.0)
    convert((GATE,), weights, tmp_path / "onnx")
    docs = (Path(__file__).resolve().parents[3] / "docs" / "hub.md").read_text()
    (code,) = re.findall("```python\n(import json.*?)```", docs, re.DOTALL)
    places = {"onnx/gate.onnx": tmp_path / "onnx" / "gate.onnx", "slice.tif": SHIPPED / "large-lesion.tif"}
    for name, place in places.items():
        code = code.replace(f'"{name}"', repr(str(place)))
    names: dict = {}
    exec(code, names)
    cascade = Cascade.from_pretrained(weights, "unet-mini", "cpu", engine="torch")
    expected = cascade.predict(read_slice(places["slice.tif"]))
    assert names["probability"].item() == pytest.approx(expected.gate_probability, abs=1e-5)


def test_a_graph_that_differs_is_refused_and_not_written(tmp_path, monkeypatch):
    use_tiny_networks(monkeypatch)
    weights = write_weights(tmp_path / "weights", (GATE,))
    monkeypatch.setattr(module, "difference", lambda *_: 2e-4)
    with pytest.raises(WeightsError, match="differ by 2"):
        convert(weights=weights, out=tmp_path / "onnx")
    assert not list((tmp_path / "onnx").iterdir())
