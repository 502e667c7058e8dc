"""What the page says about a prediction."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from lgg.app import render as report
from lgg.app.models import load_cascades
from lgg.cascade import Cascade
from lgg.errors import SliceError, WeightsError
from lgg.models import GATE, SEGMENTERS
from lgg.types import Prediction, Slice, Thresholds
from lgg.weights import ModelConfig

SLICE = Slice(np.ones((40, 50, 3), np.float32), "scan.tif")


def prediction(gate: float, area: int = 0, spacing: tuple[float, float] | None = None) -> Prediction:
    """A prediction about a 40 × 50 slice whose head covers 1000 pixels; the gate's threshold is 0.5."""
    mask = np.arange(2000).reshape(40, 50) < area
    head = np.arange(2000).reshape(40, 50) < 1000
    return Prediction(
        gate_probability=gate,
        passed=gate >= 0.5,
        probability=mask.astype(np.float32),
        mask=mask,
        head=head,
        thresholds=Thresholds(),
        milliseconds={"preprocess": 1.4, "gate": 20, "segment": 1000 if gate >= 0.5 else 0},
        spacing=spacing,
    )


@pytest.fixture
def cascade() -> Cascade:
    return Cascade(
        (nn.Identity(), ModelConfig(GATE, 64, parameters=11_177_025)),
        (nn.Identity(), ModelConfig("unet-mini", 64, parameters=1_800_000)),
        "cpu",
    )


@pytest.mark.parametrize(
    ("gate", "area", "headline", "tone"),
    [
        (0.97, 100, "Glioma likely", "likely"),
        (0.97, 0, "Unclear", "unclear"),
        (0.03, 0, "No glioma found", "none"),
    ],
)
def test_the_headline_is_the_decision(gate, area, headline, tone):
    said = report.verdict(prediction(gate, area))
    assert (said.headline, said.tone) == (headline, tone)


@pytest.mark.parametrize(
    ("gate", "unsure"), [(0.05, False), (0.1, True), (0.49, True), (0.6, True), (0.9, False)]
)
def test_it_says_when_the_gate_is_unsure(gate, unsure):
    assert ("unsure" in report.verdict(prediction(gate, 10)).detail) == unsure


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0"), (0.0004, "under 0.1"), (0.5, "50"), (0.973, "97.3"), (0.9996, "over 99.9"), (1, "100")],
)
def test_percentages_never_round_to_a_certainty(share, text):
    assert report.percent(share) == f"{text}\u00a0%"


def test_the_bar_is_a_meter_with_its_threshold():
    bar = report.gate_bar(0.25, 0.6)
    assert 'role="meter"' in bar
    assert 'aria-valuenow="25.0"' in bar
    assert 'class="fill" style="width:25.00%"' in bar
    assert 'class="mark" style="left:60.00%"' in bar
    assert "threshold 60\u00a0%" in bar


def test_square_millimetres_only_where_the_file_states_its_spacing(cascade):
    assert "no pixel spacing" in report.facts_html(SLICE, prediction(0.9, 100), cascade)
    assert "200\u00a0mm²" in report.facts_html(SLICE, prediction(0.9, 100, (1.0, 2.0)), cascade)


def test_the_facts_name_model_device_and_time(cascade):
    facts = report.facts_html(SLICE, prediction(0.9, 100), cascade)
    for part in (
        "U-Net mini",
        "1.80\u00a0M",
        "11.18\u00a0M",
        "1,021\u00a0ms on CPU",
        "50 × 40",
        "10\u00a0% of the head",
    ):
        assert part in facts
    assert "segment" not in report.facts_html(SLICE, prediction(0.1), cascade), "it did not run"


def test_the_api_gets_plain_values(cascade):
    values = report.as_json(SLICE, prediction(0.9, 100), cascade)
    assert (values["gate_probability"], values["area_pixels"], values["head_percent"]) == (0.9, 100, 10.0)
    assert values["area_mm2"] is None
    assert values["architecture"] == "unet-mini"
    assert "not a medical device" in values["notice"]


def test_names_of_files_cannot_smuggle_markup(cascade):
    evil = replace(SLICE, source="<img src=x onerror=alert(1)>.tif")
    assert "<img" not in report.verdict_html(evil, prediction(0.9, 100))
    assert "<img" not in report.error_html("Cannot read this file", f"{evil.source}: no")


def test_only_errors_meant_for_visitors_reach_them(caplog):
    assert report.explain(SliceError("scan.tif: too small")) == (
        "Cannot read this file",
        "scan.tif: too small",
    )
    assert report.explain(WeightsError("none here"))[0] == "No model to run"
    with caplog.at_level(logging.ERROR):
        title, message = report.explain(RuntimeError("CUDA failed in /home/someone"))
    assert "CUDA" not in title + message
    assert "CUDA failed" in caplog.text, "but the server's log has it"


def test_architectures_without_weights_are_named_with_the_reason():
    said = report.unavailable({"unet": "no weights yet", "unet-resnext50": "no weights yet"})
    assert "U-Net, U-Net ResNeXt50: no weights yet" in said


def test_a_shelf_without_a_gate_runs_nothing_and_says_why(tmp_path):
    cascades, reasons = load_cascades(tmp_path)
    assert cascades == {}
    assert set(reasons) == set(SEGMENTERS)
    assert all("gate" in reason and str(tmp_path) not in reason for reason in reasons.values())
