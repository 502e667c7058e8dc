"""What runs networks: both engines give the same answers, and OpenVINO's converted graphs survive damage."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lgg import engine
from lgg.cascade import Cascade
from lgg.engine import BATCH, OpenVinoEngine, TorchEngine, best_device, choose_engine, make_engine, threads
from lgg.errors import LggError
from lgg.examples import SHIPPED
from lgg.io import read_slice
from lgg.metrics import dice
from lgg.models import GATE, SEGMENTERS
from lgg.models.unet import UNet
from lgg.preprocess import prepare
from lgg.weights import DeferredModel, ModelConfig, defer_model
from tests.tiny_weights import use_tiny_networks, write_weights

INPUTS = np.random.default_rng(0).normal(size=(BATCH + 1, 3, 32, 32)).astype(np.float32)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of converted graphs."""
    monkeypatch.setenv("LGG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A tiny network's weights on disk, not read yet, and its config."""
    use_tiny_networks(monkeypatch)
    return defer_model(write_weights(tmp_path / "weights", (GATE, "unet-mini")) / "unet-mini")


def test_engines_give_the_same_logits(network):
    fast, plain = OpenVinoEngine(*network, precision="fp32"), TorchEngine(network[0], "cpu")
    logits = fast(INPUTS)
    assert logits.shape == (BATCH + 1, 1, 32, 32)
    np.testing.assert_allclose(logits, plain(INPUTS), atol=1e-4, rtol=1e-4)


def test_engines_find_the_gates_evidence_in_the_same_places(tmp_path, monkeypatch):
    use_tiny_networks(monkeypatch)
    gate = defer_model(write_weights(tmp_path / "weights", (GATE,)) / GATE)
    fast, plain = OpenVinoEngine(*gate, precision="fp32"), TorchEngine(gate[0], "cpu")
    evidence = fast.evidence(INPUTS)
    assert evidence.shape == (BATCH + 1, 32, 32)
    assert 0 < np.count_nonzero(evidence) < evidence.size
    np.testing.assert_allclose(evidence, plain.evidence(INPUTS), atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(fast(INPUTS), plain(INPUTS), atol=1e-4, rtol=1e-4)


def test_pytorch_is_asked_for_a_gpu_only_where_there_may_be_one(monkeypatch):
    if sys.platform != "linux":
        pytest.skip("elsewhere it is always asked")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(engine, "GPU_FILES", ("no such device",))
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert best_device() == "cpu"
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert best_device() == "cuda"
    monkeypatch.delenv("SPACES_ZERO_GPU")
    monkeypatch.setattr(engine, "GPU_FILES", ("null",))
    assert best_device() == "cuda"


@pytest.mark.parametrize(("said", "expected"), [("3", 3), ("0", None), ("many", None), ("", None)])
def test_threads_are_those_that_are_asked_for_or_all_cores(said, expected, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    assert threads() == (expected or cores)


def test_where_networks_were_converted_before_pytorch_is_not_imported(monkeypatch):
    """Everything that the page does on a CPU: it starts seconds earlier, and half a gigabyte smaller."""
    script = (
        "import sys; from lgg.app import build_page; from lgg.app.models import load_models; "
        "from lgg.io import read_series; from lgg.explain import flip_spread, grad_cam; "
        "from lgg.export import export_zip, provenance_of; from lgg.preprocess import prepare; "
        "models = load_models(); build_page(models); cascade = models.cascades['unet-lite0']; "
        f"series = read_series([{str(SHIPPED / 'large-lesion.tif')!r}]); result = cascade.predict(series); "
        "[look(cascade, prepare(series.pixels, 'volume')) for look in (grad_cam, flip_spread)]; "
        "export_zip(result, provenance_of(cascade)); print(result.masks.sum(), 'torch' in sys.modules)"
    )
    monkeypatch.setenv("LGG_ENGINE", "openvino")
    command = [sys.executable, "-c", script]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    area = runs[0].split()[0]
    assert int(area) > 0
    assert runs[1].split() == [area, "False"]


def test_threads_share_an_engine(network):
    fast = OpenVinoEngine(*network, precision="fp32")
    expected = [fast(INPUTS[number : number + 1]) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: fast(INPUTS[number % 4 : number % 4 + 1]), range(40)))
    assert all(np.array_equal(answer, expected[number % 4]) for number, answer in enumerate(answers))


def test_the_converted_graph_is_kept_and_the_weights_are_not_read_again(network, cache, monkeypatch):
    expected = OpenVinoEngine(*network, precision="fp32")(INPUTS)
    assert [path.name[:64] for path in cache.iterdir()] == [network[1].sha256]
    monkeypatch.setattr(DeferredModel, "load", lambda *_: pytest.fail("the weights were read"))
    assert np.array_equal(OpenVinoEngine(*network, precision="fp32")(INPUTS), expected)


@pytest.mark.parametrize("file", ["graph.bin", "graph.xml", "sha256"])
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"\0" + data[1:], None])
def test_a_damaged_graph_is_made_anew(network, cache, file, damage):
    expected = OpenVinoEngine(*network, precision="fp32")(INPUTS)
    (path,) = cache.glob(f"*/{file}")
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    assert np.array_equal(OpenVinoEngine(*network, precision="fp32")(INPUTS), expected)
    assert path.exists()


def test_without_a_folder_to_write_to_it_works(network, cache, caplog):
    cache.write_text("a file stands in the way")
    assert OpenVinoEngine(*network)(INPUTS).shape == (BATCH + 1, 1, 32, 32)
    assert "is not kept" in caplog.text


def test_openvino_runs_on_cpus_where_it_is_installed(monkeypatch):
    monkeypatch.delenv("LGG_ENGINE", raising=False)
    assert choose_engine("cpu") == "openvino"
    assert choose_engine("cuda:1") == "torch"
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert choose_engine("cpu") == "torch"


def test_an_argument_decides_before_the_environment(monkeypatch):
    monkeypatch.setenv("LGG_ENGINE", "openvino")
    assert choose_engine("cpu", "torch") == "torch"
    monkeypatch.setenv("LGG_ENGINE", "tensorrt")
    with pytest.raises(LggError, match="tensorrt"):
        choose_engine("cpu")


def test_networks_without_weights_on_disk_are_pytorchs_unless_asked():
    handed_over = UNet(widths=(4, 8)).eval(), ModelConfig("unet", 32)
    assert make_engine(*handed_over, "cpu").name == "torch"
    assert make_engine(*handed_over, "cpu", "openvino").name == "openvino"


@pytest.mark.parametrize(
    "architecture",
    [name if name == "unet-lite0" else pytest.param(name, marks=pytest.mark.slow) for name in SEGMENTERS],
)
def test_the_shipped_networks_outline_the_phantoms_alike(architecture):
    slices = [read_slice(path).pixels for path in sorted(SHIPPED.glob("*.tif"))]
    outputs = {}
    for name in ("torch", "openvino"):
        cascade = Cascade.from_pretrained(architecture=architecture, device="cpu", engine=name)
        assert cascade.engine.name == name
        outputs[name] = [cascade.raw(prepare(pixels[None], "slice")) for pixels in slices]
    masks = {
        name: np.concatenate([output.probability.ravel() >= cascade.thresholds.mask for output in found])
        for name, found in outputs.items()
    }
    assert masks["torch"].any()
    assert dice(masks["openvino"], masks["torch"]) >= 0.998
    gates = {name: np.concatenate([output.gate for output in found]) for name, found in outputs.items()}
    np.testing.assert_allclose(gates["openvino"], gates["torch"], atol=0.02)
