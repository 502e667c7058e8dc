"""What the page says about results, and the plain values that the API gives of them."""

import json
import logging
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from torch import nn

from lgg.app import render
from lgg.cascade import Cascade
from lgg.errors import SliceError, WeightsError
from lgg.models import GATE, SEGMENTERS, TITLES
from lgg.types import Prediction, Series, SeriesResult, Slice, Thresholds
from lgg.weights import ModelConfig
from tests.series_results import result

EVIL = "<img src=x onerror=alert(1)>.tif"
SLICE = Slice(np.ones((40, 50, 3), np.float32), "scan.tif")
MEASURED = {
    "volume_mean": {"value": 0.8123, "low": 0.7, "high": 0.9, "n": 2},
    "slice_tumour": {"value": 0.7654, "low": 0.6, "high": 0.8, "n": 2},
}
METRICS = {"measures": MEASURED, "patients": {"A": 0.8, "B": 0.8}}

SERIES = result([0.1, 0.9, 0.95, 0.2], [0, 4, 8, 0], (0.5, 0.75), 5.0, ["1 slice seems to be missing."])
UNSPACED = result([0.1, 0.9, 0.95, 0.2], [0, 4, 8, 0])
EMPTY = result([0.1, 0.3, 0.2], [0, 0, 0])
VAIN = result([0.1, 0.6, 0.7], [0, 0, 0])


def texts(html: str) -> str:
    """What is read, with plain spaces."""
    return " ".join(unescape(re.sub("<[^>]+>", " ", html)).split())


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


def columns(*numbers: int) -> np.ndarray:
    """An (8, 8) mask of whole columns."""
    mask = np.zeros((8, 8), bool)
    mask[:, list(numbers)] = True
    return mask


def cascade_of(architecture: str, metrics: dict) -> Cascade:
    return Cascade(
        (nn.Identity(), ModelConfig(GATE, 64, parameters=11_177_025)),
        (nn.Identity(), ModelConfig(architecture, 64, parameters=1_800_000, metrics=metrics)),
        "cpu",
    )


@pytest.fixture(scope="module")
def cascades() -> dict[str, Cascade]:
    return {name: cascade_of(name, METRICS) for name in ("unet-mini", "unet-lite0")}


@pytest.fixture(scope="module")
def cascade(cascades) -> Cascade:
    return cascades["unet-mini"]


@pytest.mark.parametrize(
    ("outcome", "tone"),
    [
        (prediction(0.97, 100), "likely"),
        (prediction(0.97, 0), "unclear"),
        (prediction(0.03, 0), "none"),
        (SERIES, "likely"),
        (VAIN, "unclear"),
        (EMPTY, "none"),
    ],
)
def test_the_verdict_is_the_decision(outcome, tone):
    assert render.verdict(outcome).tone == tone


@pytest.mark.parametrize(
    ("gate", "unsure"), [(0.05, False), (0.1, True), (0.49, True), (0.6, True), (0.9, False)]
)
def test_it_says_when_the_gate_is_unsure(gate, unsure):
    assert ("unsure" in render.verdict(prediction(gate, 10)).detail) == unsure


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (SERIES, ("2 of 4 slices, 2 to 3", "0.15\u00a0ml", "slice 3")),
        (result([0.9], [4]), ("slice 1",)),
        (VAIN, ("2 of 3 slices",)),
        (result([0.9] * 10, [0] * 10), ("neighbouring slice",)),
        (result([0.9] * 4, (4, 0, 4, 4)), ("1 and 3 to 4",)),
        (result([0.9] * 5, (4, 0, 4, 0, 4)), ("1, 3 and 5",)),
        (result([0.9] * 8, (4, 0) * 4), ("between 1 and 7",)),
    ],
)
def test_a_series_verdict_says_where_and_how_much(outcome, words):
    assert all(part in render.verdict(outcome).detail for part in words)


def test_without_distances_no_volume_is_invented(cascade):
    assert "ml" not in render.verdict(UNSPACED).detail
    assert "no ml" in render.series_facts_html(UNSPACED, cascade)
    assert "0.75 × 0.5 mm, slices 5 mm apart" in texts(render.series_facts_html(SERIES, cascade))


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0"), (0.0004, "under 0.1"), (0.5, "50"), (0.973, "97.3"), (0.9996, "over 99.9"), (1, "100")],
)
def test_percentages_never_round_to_a_certainty(share, text):
    assert render.percent(share) == f"{text}\u00a0%"


def test_the_gates_bar_is_a_meter_with_its_threshold():
    html = render.verdict_html(SLICE, replace(prediction(0.25), thresholds=Thresholds(gate=0.6)))
    assert 'role="meter"' in html
    assert 'aria-valuenow="25.0"' in html
    assert 'class="fill" style="width:25.00%"' in html
    assert 'class="mark" style="left:60.00%"' in html
    assert "threshold 60\u00a0%" in html


def test_square_millimetres_only_where_the_file_states_its_spacing(cascade):
    assert "no pixel spacing" in render.facts_html(SLICE, prediction(0.9, 100), cascade)
    assert "200 mm²" in texts(render.facts_html(SLICE, prediction(0.9, 100, (1.0, 2.0)), cascade))


def test_the_facts_name_model_device_and_time(cascade):
    facts = texts(render.facts_html(SLICE, prediction(0.9, 100), cascade))
    for part in ("U-Net mini", "1.80 M", "11.18 M", "1,021 ms on CPU", "50 × 40", "10 % of the head"):
        assert part in facts
    assert "segment" not in render.facts_html(SLICE, prediction(0.1), cascade), "it did not run"


@pytest.mark.parametrize(
    ("done", "slices", "seconds", "words"),
    [
        (0, 0, 0.0, "Reading"),
        (0, 100, 0.0, "0 of 100 slices"),
        (24, 100, 3.8, "24 of 100 slices, about 13\u00a0s"),
        (10, 400, 10.0, "about 7\u00a0min"),
    ],
)
def test_progress_tells_what_is_left(done, slices, seconds, words):
    assert words in render.progress_html(done, slices, seconds)


def test_a_slices_plain_values(cascade):
    lone = SeriesResult(Series.from_slice(SLICE), (prediction(0.9, 100),))
    values = json.loads(json.dumps(render.as_json(lone, cascade)))
    assert (values["gate_probability"], values["area_pixels"], values["head_percent"]) == (0.9, 100, 10.0)
    assert (values["height"], values["width"], values["area_mm2"]) == (40, 50, None)
    assert values["architecture"] == "unet-mini"
    assert "not a medical device" in values["notice"]


def test_a_series_plain_values_agree_with_the_result(cascade):
    values = json.loads(json.dumps(render.series_as_json(SERIES, cascade)))
    assert (values["slices"], values["slices_with_tumour"], values["largest_slice"]) == (4, [2, 3], 3)
    assert values["volume_ml"] == pytest.approx(SERIES.volume_ml)
    assert [row["area_pixels"] for row in values["per_slice"]] == list(SERIES.areas)
    assert [row["gate_passed"] for row in values["per_slice"]] == [False, True, True, False]
    assert values["spacing_mm"] == [0.5, 0.75]
    assert "not a medical device" in values["notice"]


def test_what_is_unknown_of_a_series_is_none(cascade):
    values = render.series_as_json(EMPTY, cascade)
    unknown = ("volume_ml", "largest_slice", "spacing_mm", "slice_distance_mm")
    assert {values[name] for name in unknown} == {None}
    assert values["milliseconds"] == pytest.approx(18)


def test_what_an_upload_brings_cannot_smuggle_markup():
    evil = replace(SERIES.series, source=EVIL, notes=(EVIL,))
    pages = (
        render.verdict_html(replace(SLICE, source=EVIL), prediction(0.9, 100), EVIL),
        render.series_verdict_html(replace(SERIES, series=evil)),
        render.error_html(EVIL, f"{EVIL}: no"),
        render.warning_html([EVIL]),
        render.unavailable({"unet": EVIL}),
        render.architectures_html({}, {"unet": EVIL}),
    )
    for html in pages:
        assert "&lt;img" in html
        assert "<img" not in html


def test_only_errors_meant_for_visitors_reach_them(caplog):
    assert render.explain(SliceError("scan.tif: too small"))[1] == "scan.tif: too small"
    assert render.explain(WeightsError("none here"))[1] == "none here"
    with caplog.at_level(logging.ERROR):
        title, message = render.explain(RuntimeError("CUDA failed in /home/someone"))
    assert "CUDA" not in title + message
    assert "CUDA failed" in caplog.text, "but the server's log has it"


def test_architectures_without_weights_are_named_with_the_reason():
    said = render.unavailable({"unet": "no weights yet", "unet-resnext50": "no weights yet"})
    assert "U-Net, U-Net ResNeXt50: no weights yet" in said


def test_a_slice_against_a_ground_truth_by_hand():
    said = texts(render.truth_html(columns(0, 1, 2), columns(1, 2, 3, 4)))
    assert "Dice 0.571" in said  # 2 × 16 of 24 + 32
    assert "IoU 0.400" in said  # 16 of 40
    assert "HD95 2.0 px" in said
    assert "16 agreed 16 missed, 8 invented" in said


def test_a_series_against_a_ground_truth_by_hand():
    outline = np.stack([columns(), columns(0), columns(0, 1), columns(5)])
    truth = np.stack([columns(), columns(0, 1), columns(7), columns()])
    said = texts(render.truth_html(outline, truth))
    assert "Dice 0.286" in said  # 2 × 8 of 32 + 24
    assert "Dice of slices 0.333 mean of the 2 slices" in said  # 2/3 and 0
    assert "1 agreed 1 missed, 1 invented" in said


@pytest.mark.parametrize(("outline", "truth", "words"), [((), (1,), "one of them"), ((), (), "both are")])
def test_a_distance_to_nothing_is_not_invented(outline, truth, words):
    assert words in texts(render.truth_html(columns(*outline), columns(*truth)))


def test_architectures_side_by_side(cascades):
    first, second = (replace(prediction(0.9), mask=columns(*numbers)) for numbers in ((0, 1), (1, 2)))
    first, second = (replace(made, head=np.ones_like(made.mask)) for made in (first, second))
    said = texts(render.comparison_html(list(zip(cascades.values(), (first, second), strict=True))))
    assert "0.500 . They disagree" in said
    assert all(TITLES[name] in said for name in cascades)
    assert "Mean Dice" not in render.comparison_html([(cascades["unet-mini"], first)])


def test_all_architectures_are_listed_with_what_is_known(cascades, monkeypatch):
    monkeypatch.setattr(render, "benchmark_milliseconds", lambda: {"unet-mini": 84.7})
    said = texts(render.architectures_html(cascades, {"unet": "no weights yet"}))
    assert all(TITLES[name] in said for name in SEGMENTERS)
    assert "85 ms 0.81 0.77" in said
    assert "unavailable: no weights yet" in said


def test_a_missing_or_damaged_benchmark_costs_the_speeds_alone(tmp_path):
    assert render.benchmark_milliseconds(tmp_path / "none.json") == {}
    for junk in ("", "[]", '{"slice_ms": 3}', '{"slice_ms": {"unet": {}}}'):
        (tmp_path / "junk.json").write_text(junk)
        assert render.benchmark_milliseconds(tmp_path / "junk.json") == {}
    (tmp_path / "good.json").write_text('{"slice_ms": {"unet": {"gate": 1, "total": 12.5}}}')
    assert render.benchmark_milliseconds(tmp_path / "good.json") == {"unet": 12.5}


def test_about_shows_the_figures_of_the_weights_that_run(cascades):
    said = texts(render.about_html(cascades, {}))
    assert "0.812 (0.700 to 0.900)" in said
    assert "2 test patients" in said
    assert "not a medical device" in said
    for bare in ({"unet-mini": cascade_of("unet-mini", {})}, {}):
        assert "not measured" in render.about_html(bare, {})
