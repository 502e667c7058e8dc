"""Figures side by side on the page."""

import re
from dataclasses import replace

import numpy as np
import pytest

from lgg.app import render as scorecard
from lgg.app.render import (
    about_html,
    architectures_html,
    benchmark_milliseconds,
    comparison_html,
    results_html,
    truth_html,
)
from lgg.cascade import Cascade
from lgg.models import SEGMENTERS, TITLES, build
from lgg.types import Prediction, Thresholds
from lgg.weights import ModelConfig

MEASURED = {
    "volume_mean": {"value": 0.8123, "low": 0.7, "high": 0.9, "n": 2},
    "slice_tumour": {"value": 0.7654, "low": 0.6, "high": 0.8, "n": 2},
}
METRICS = {"measures": MEASURED, "patients": {"A": 0.8, "B": 0.8}}


def texts(html):
    return " ".join(re.sub("<[^>]+>", " ", html).split())


def mask(*columns):
    made = np.zeros((8, 8), bool)
    made[:, list(columns)] = True
    return made


def prediction(found):
    return Prediction(
        0.9, True, found.astype(np.float32), found, np.ones_like(found), Thresholds(), {"gate": 5.0}
    )


@pytest.fixture(scope="module")
def cascades():
    gate = (build("gate"), ModelConfig("gate", 32, metrics={"measures": {}, "patients": {}}))
    made = {
        name: (build("unet-mini"), ModelConfig(name, 32, metrics=METRICS))
        for name in ("unet-mini", "unet-lite0")
    }
    return {name: Cascade(gate, one, "cpu") for name, one in made.items()}


def test_against_a_ground_truth_by_hand():
    said = texts(truth_html(prediction(mask(0, 1, 2)), mask(1, 2, 3, 4)))
    assert "Dice 0.571" in said  # 2 × 16 of 24 + 32
    assert "IoU 0.400" in said  # 16 of 40
    assert "HD95 2.0\u00a0px" in said or "HD95 2.0 px" in said
    assert "16 agreed 16 missed, 8 invented" in said


@pytest.mark.parametrize(("found", "truth", "words"), [((), (1,), "one of them"), ((), (), "both are empty")])
def test_a_distance_to_nothing_is_not_invented(found, truth, words):
    assert words in texts(truth_html(prediction(mask(*found)), mask(*truth)))


def test_architectures_side_by_side(cascades):
    first, second = cascades.values()
    html = comparison_html([(first, prediction(mask(0, 1))), (second, prediction(mask(1, 2)))])
    said = texts(html)
    assert "Mean Dice between their outlines: 0.500 . They disagree" in said
    for cascade in (first, second):
        assert TITLES[cascade.config.architecture] in said
    alone = comparison_html([(first, prediction(mask(0)))])
    assert "Mean Dice" not in alone


def test_all_architectures_are_listed_with_what_is_known(cascades, monkeypatch):
    monkeypatch.setattr(scorecard, "benchmark_milliseconds", lambda: {"unet-mini": 84.7})
    said = texts(architectures_html(cascades, {"unet": "no <weights> yet"}))
    assert all(TITLES[name] in said for name in SEGMENTERS)
    assert "85\u00a0ms" in said or "85 ms" in said
    assert "0.81 0.77" in said
    assert "unavailable: no &lt;weights&gt; yet" in said


def test_a_missing_or_damaged_benchmark_costs_the_speeds_alone(tmp_path):
    assert benchmark_milliseconds(tmp_path / "none.json") == {}
    for junk in ("", "[]", '{"slice_ms": 3}', '{"slice_ms": {"unet": {}}}'):
        (tmp_path / "junk.json").write_text(junk)
        assert benchmark_milliseconds(tmp_path / "junk.json") == {}
    (tmp_path / "good.json").write_text('{"slice_ms": {"unet": {"gate": 1, "total": 12.5}}}')
    assert benchmark_milliseconds(tmp_path / "good.json") == {"unet": 12.5}


def test_about_shows_the_figures_of_the_weights_that_run(cascades):
    said = texts(about_html(cascades, {}))
    assert "0.812 (0.700 to 0.900)" in said
    assert "2 test patients" in said
    assert "not a medical device" in said
    bare = {
        name: Cascade(
            (one.gate, replace(one.gate_config, metrics={})),
            (one._segmenter, replace(one.config, metrics={})),
        )
        for name, one in cascades.items()
    }
    assert "not measured" in results_html(bare)
    assert "not measured" in results_html({})
