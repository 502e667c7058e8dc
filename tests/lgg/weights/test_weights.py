"""Weights on disk: what is written, what is refused, and that a message never tells a path."""

import hashlib
import json
import os
from dataclasses import replace
from itertools import product

import pytest
import torch
from safetensors.torch import load_file, save_file

from lgg.errors import DiskError, WeightsError
from lgg.files import write_atomically
from lgg.models import BUILDERS, parameters
from lgg.models.unet import UNet
from lgg.types import Thresholds
from lgg.weights import (
    FORMAT,
    ModelConfig,
    available,
    check_model,
    load_config,
    load_model,
    save_config,
    save_model,
)

THRESHOLDS = Thresholds(gate=0.31, mask=0.42, low=0.05, high=0.8, keep=0.6)
CONFIG = ModelConfig(
    "unet-mini", 64, THRESHOLDS, split={"protocol": "patient", "test": ["TCGA_X"]}, metrics={"dice": 0.9}
)


def tiny():
    return UNet(widths=(4, 8))


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch):
    monkeypatch.setitem(BUILDERS, "unet-mini", tiny)
    monkeypatch.setitem(BUILDERS, "unet", lambda: UNet(widths=(4, 8, 16)))


@pytest.fixture
def model():
    """A network with running statistics that fp16 could hold neither exactly nor at all."""
    torch.manual_seed(0)
    model = tiny()
    model.train()(torch.randn(2, 3, 32, 32))
    model.stem[1].running_var[0] = 1e6
    model.stem[1].running_var[1] = 1e-9
    return model.eval()


@pytest.fixture
def folder(tmp_path, model):
    save_model(tmp_path / "unet-mini", model, CONFIG)
    return tmp_path / "unet-mini"


def edit(folder, **changes):
    """Change entries of config.json; a value of ... removes the entry."""
    path = folder / "config.json"
    stored = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in stored.items() if value is not ...}))


def put(folder, data):
    """Other bytes as the weights, with a config that vouches for them."""
    (folder / "model.safetensors").write_bytes(data)
    edit(folder, sha256=hashlib.sha256(data).hexdigest())


def put_tensors(folder, tensors):
    save_file(tensors, folder / "other.safetensors", {"format": "pt"})
    put(folder, (folder / "other.safetensors").read_bytes())


def refuse(folder, word, ways=(load_model, check_model)):
    """Loading and checking fail with a message that holds `word` and no path."""
    for way in ways:
        with pytest.raises(WeightsError, match=word) as caught:
            way(folder)
        message = str(caught.value)
        assert str(folder.parent) not in message
        assert os.sep not in message
        assert "\\" not in message


class TestRoundTrip:
    def test_config_comes_back_with_sum_and_parameter_count(self, folder, model):
        loaded, config = load_model(folder)
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        assert config == load_config(folder) == replace(CONFIG, sha256=digest, parameters=parameters(model))
        assert parameters(loaded) == parameters(model)

    def test_floats_are_fp16_in_the_file_and_running_statistics_fp32(self, folder, model):
        kinds = {
            "running_mean": torch.float32,
            "running_var": torch.float32,
            "num_batches_tracked": torch.int64,
        }
        stored = load_file(folder / "model.safetensors")
        assert stored.keys() == model.state_dict().keys()
        for name, value in stored.items():
            assert value.dtype == kinds.get(name.rsplit(".", 1)[-1], torch.float16), name

    def test_loaded_networks_are_fp32_in_evaluation_mode(self, folder, model):
        loaded, _ = load_model(folder)
        assert not any(module.training for module in loaded.modules())
        assert {tensor.dtype for tensor in loaded.parameters()} == {torch.float32}
        running = loaded.stem[1].running_var
        assert torch.equal(running, model.stem[1].running_var), "though fp16 could not hold it"

    def test_saving_again_or_what_was_loaded_gives_the_same_bytes(self, folder, model, tmp_path):
        save_model(tmp_path / "again", model, CONFIG)
        save_model(tmp_path / "loaded", *load_model(folder))
        for name, copy in product(("model.safetensors", "config.json"), ("again", "loaded")):
            assert (folder / name).read_bytes() == (tmp_path / copy / name).read_bytes()

    def test_saving_keeps_the_card_and_leaves_no_other_file(self, folder, model):
        (folder / "README.md").write_text("card")
        save_model(folder, model, CONFIG)
        assert (folder / "README.md").read_text() == "card"
        assert sorted(os.listdir(folder)) == ["README.md", "config.json", "model.safetensors"]  # noqa: PTH208

    def test_new_thresholds_do_not_touch_the_weights(self, folder):
        edit(folder, series_thresholds=...)  # as before a series had thresholds of its own
        assert load_model(folder)[1].series_thresholds is None
        new = {"thresholds": Thresholds(mask=0.75), "series_thresholds": Thresholds(gate=0.125)}
        save_config(folder, replace(load_config(folder), **new))
        config = load_model(folder)[1]
        assert (config.thresholds, config.series_thresholds) == tuple(new.values())

    def test_available_lists_what_has_weights_in_the_registrys_order(self, folder, model):
        save_model(folder.parent / "gate", model, CONFIG)
        (folder.parent / "unet").mkdir()
        assert available(folder.parent) == ["gate", "unet-mini"]


class TestDamagedWeights:
    @pytest.mark.parametrize("file", ["config.json", "model.safetensors", ""], ids=str)
    def test_missing(self, folder, file):
        if file:
            (folder / file).unlink()
        refuse(folder if file else folder.parent / "unet-lite0", "missing")

    @pytest.mark.parametrize("place", [9, 700, -1])
    @pytest.mark.parametrize("how", ["one flipped bit", "truncated"])
    def test_altered(self, folder, place, how):
        path = folder / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data if how == "one flipped bit" else data[:place])
        refuse(folder, "truncated, altered")

    @pytest.mark.parametrize("data", [b"", b"junk", b"\xff" * 64], ids=["empty", "junk", "huge header"])
    def test_no_safetensors_though_the_sum_fits(self, folder, data):
        put(folder, data)
        refuse(folder, "not a safetensors file")

    def test_a_pickle_is_never_opened(self, folder, model):
        class Bomb:
            def __reduce__(self):
                return (pytest.fail, ("unpickled",))

        torch.save({"state": model.state_dict(), "bomb": Bomb()}, folder / "model.pt")
        put(folder, (folder / "model.pt").read_bytes())
        refuse(folder, "not a safetensors file")

    @pytest.mark.parametrize(
        "change",
        [
            lambda tensors: UNet(widths=(4, 8, 16)).state_dict(),
            lambda tensors: UNet(widths=(4, 12)).state_dict(),
            lambda tensors: tensors | {"extra": torch.zeros(1)},
            lambda tensors: {name: value for name, value in tensors.items() if name != "head.bias"},
        ],
        ids=["another architecture", "another width", "one too many", "one too few"],
    )
    def test_tensors_that_do_not_fit(self, folder, model, change):
        put_tensors(folder, change(model.state_dict()))
        refuse(folder, "do not fit")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_values_that_are_not_finite(self, folder, model, value):
        tensors = model.state_dict()
        tensors["head.weight"][0, 0] = value
        put_tensors(folder, tensors)
        refuse(folder, "not finite", [load_model])
        assert check_model(folder) == load_config(folder), "which leaves the values to whoever runs them"


class TestDamagedConfig:
    @pytest.mark.parametrize("data", [b"", b"{", b"not json", b"\0", b"[1]", b"null", b"{}", b"\xff\xfe\x80"])
    def test_junk(self, folder, data):
        (folder / "config.json").write_bytes(data)
        refuse(folder, "config.json")

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"format": FORMAT + 1}, "newer"),
            ({"format": FORMAT - 1}, "older"),
            ({"architecture": "unet-huge"}, "another network"),
            ({"architecture": ["unet-mini"]}, "another network"),
        ]
        + [
            ({key: ...}, "entry")
            for key in ("architecture", "input_size", "thresholds", "sha256", "channels")
        ]
        + [
            ({name: junk}, "entry")
            for name in ("thresholds", "series_thresholds")
            for junk in ([], {"mask": "high"}, {"mask": None}, {"other": 0.5}, {"mask": [0.5]}, "0.5")
        ],
        ids=str,
    )
    def test_an_entry_that_is_missing_or_another(self, folder, changes, word):
        edit(folder, **changes)
        refuse(folder, word)

    @pytest.mark.parametrize(
        ("entry", "value"),
        [("input_size", size) for size in (0, 31, -256, 10**9, 256.5, "256", None)]
        + [("temperature", value) for value in (0, -1.0, float("nan"), float("inf"), "1", None)]
        + [(name, {"gate": 1.5}) for name in ("thresholds", "series_thresholds")],
    )
    def test_senseless_values(self, folder, entry, value):
        edit(folder, **{entry: value})
        refuse(folder, "no sensible")


class TestAtomicWriting:
    @pytest.mark.parametrize(
        ("error", "told"),
        [(OSError(28, "No space left"), DiskError), (KeyboardInterrupt(), KeyboardInterrupt)],
    )
    def test_a_failure_in_the_middle_keeps_the_old_file_and_leaves_nothing(self, tmp_path, error, told):
        path = tmp_path / "file"
        path.write_text("old")

        def half(partial):
            partial.write_text("half")
            assert path.read_text() == "old"
            raise error

        with pytest.raises(told):
            write_atomically(path, half)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_others_may_read_what_the_umask_lets_them(self, tmp_path):
        umask = os.umask(0o022)
        try:
            write_atomically(tmp_path / "file", lambda path: path.write_text("text"))
        finally:
            os.umask(umask)
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
