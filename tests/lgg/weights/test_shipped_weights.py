"""What ships: the weights against the phantoms and, where the data is present, against their own figures."""

from pathlib import Path

import pytest

from lgg.cascade import Cascade
from lgg.examples import load_examples
from lgg.io import read_mask, read_slice
from lgg.metrics import dice
from lgg.models import GATE
from lgg.weights import REPOSITORY_WEIGHTS, available, load_config, load_model
from train.data.kaggle_3m import index_folder
from train.data.splits import fixed
from train.evaluation.evaluate import HEADLINE, evaluate_patients
from train.report.model_card import card_text

DATA = Path(__file__).resolve().parents[3] / "data"
SEGMENTERS = [name for name in available() if name != GATE]


def test_a_gate_and_two_segmenters_ship():
    assert {GATE, "unet-mini", "unet-lite0"} <= set(available())


@pytest.mark.parametrize("name", available())
def test_shipped_weights_load_and_their_card_says_what_the_config_says(name):
    model, config = load_model(REPOSITORY_WEIGHTS / name)
    assert not model.training
    assert config.architecture == name
    assert (REPOSITORY_WEIGHTS / name / "README.md").read_text() == card_text(config)


@pytest.mark.parametrize("name", available())
def test_shipped_weights_were_measured_on_patients_they_never_saw(name):
    config = load_config(REPOSITORY_WEIGHTS / name)
    assert config.split["protocol"] == "patient"
    seen = set(config.split["train"]) | set(config.split["validation"])
    assert config.metrics["patients"]
    assert not seen & set(config.metrics["patients"])


@pytest.mark.parametrize("example", load_examples(), ids=lambda example: example.name)
@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenter_outlines_each_phantom_lesion_and_leaves_the_healthy_ones_empty(name, example):
    prediction = Cascade.from_pretrained(architecture=name, device="cpu").predict(read_slice(example.image))
    truth = read_mask(example.mask)
    if truth.any():
        assert prediction.passed
        assert dice(prediction.mask, truth) >= 0.6
    else:
        assert prediction.area == 0


@pytest.mark.skipif(not DATA.is_dir(), reason="the data set is not here")
@pytest.mark.parametrize("name", SEGMENTERS)
def test_regression_patients_score_what_the_config_says(name):
    patients = index_folder(DATA)
    patients = {name: patients[name] for name in fixed()["regression"]}
    recorded = load_config(REPOSITORY_WEIGHTS / name).metrics["patients"]
    cascade = Cascade.from_pretrained(architecture=name, device="cpu")
    scores = [result.scores[HEADLINE] for result in evaluate_patients(cascade, patients, ("volume",))]
    assert {score.patient for score in scores} == set(patients)
    for score in scores:
        assert score.volume == pytest.approx(recorded[score.patient], abs=0.005), score.patient
