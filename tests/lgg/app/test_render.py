"""What the page says about results: verdicts, facts, plots, scores."""

import logging
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from torch import nn

from lgg.app import render
from lgg.app.models import LoadedModels
from lgg.app.service import Progress
from lgg.cascade import Cascade
from lgg.errors import SliceError, WeightsError
from lgg.models import GATE, SEGMENTERS, TITLES
from lgg.postprocess import corrected
from lgg.types import Series, SeriesResult, Slice, Thresholds
from lgg.weights import ModelConfig
from lgg.weights.hub import Source
from tests.series_results import result

EVIL = "<img src=x onerror=alert(1)>.tif"
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


def lone(gate: float, area: int = 0, spacing: tuple[float, float] | None = None, **changes) -> SeriesResult:
    """The result for a 40 × 50 slice whose head covers 1000 pixels; the gate's threshold is 0.5."""
    pixels = np.arange(2000).reshape(40, 50)
    slice_ = Slice(np.ones((40, 50, 3), np.float32), "scan.tif", spacing=spacing)
    made = result([gate], [0], spacing).predictions[0]
    milliseconds = {"preprocess": 1.4, "gate": 20, "segment": 1000 if gate >= 0.5 else 0}
    changes = {"mask": pixels < area, "head": pixels < 1000, "milliseconds": milliseconds, **changes}
    return SeriesResult(Series.from_slice(slice_), (replace(made, **changes),))


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


def models(cascades, tmp_path, **reasons) -> LoadedModels:
    return LoadedModels(cascades, reasons, Source(tmp_path, "user/lgg", "a" * 40))


@pytest.mark.parametrize(
    ("outcome", "tone"),
    [
        (lone(0.97, 100), "likely"),
        (lone(0.97, 0), "unclear"),
        (lone(0.03, 0), "none"),
        (SERIES, "likely"),
        (VAIN, "unclear"),
        (EMPTY, "none"),
    ],
)
def test_the_verdict_is_the_decision(outcome, tone):
    assert render.tone(outcome) == tone


def test_it_says_when_the_gate_is_unsure():
    said = ["unsure" in render.detail(lone(gate, 10), lone=True) for gate in (0.05, 0.1, 0.49, 0.6, 0.9)]
    assert said == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (SERIES, ("2 of 4 slices, 2 to 3", "0.15\u00a0ml", "slice 3")),
        (result([0.9], [4]), ("slice 1",)),
        (VAIN, ("2 of 3 slices",)),
        (result([0.9] * 10, [0] * 10), ("neighbouring slice",)),
        (corrected(SERIES, SERIES.masks), ("Corrected by hand", "2 of 4 slices")),
        (corrected(SERIES, SERIES.masks & False), ("Corrected by hand", "Nothing is outlined")),
        (result([0.9] * 4, (4, 0, 4, 4)), ("1 and 3 to 4",)),
        (result([0.9] * 5, (4, 0, 4, 0, 4)), ("1, 3 and 5",)),
        (result([0.9] * 8, (4, 0) * 4), ("between 1 and 7",)),
    ],
)
def test_a_series_verdict_says_where_and_how_much(outcome, words):
    assert all(part in render.detail(outcome, lone=False) for part in words)


def test_without_distances_no_volume_or_area_is_invented(cascade):
    assert "ml" not in render.detail(UNSPACED, lone=False)
    assert "no ml" in render.facts_html(UNSPACED, cascade, lone=False)
    assert "0.75 × 0.5 mm, slices 5 mm apart" in texts(render.facts_html(SERIES, cascade, lone=False))
    assert "no pixel spacing" in render.facts_html(lone(0.9, 100), cascade, lone=True)
    assert "200 mm²" in texts(render.facts_html(lone(0.9, 100, (1.0, 2.0)), cascade, lone=True))


def test_percentages_never_round_to_a_certainty():
    said = [render.percent(share) for share in (0, 0.0004, 0.5, 0.973, 0.9996, 1)]
    assert said == [f"{text}\u00a0%" for text in ("0", "under 0.1", "50", "97.3", "over 99.9", "100")]


def test_the_gates_probability_is_as_good_as_it_was_measured(cascade):
    measured = {"measures": {"ece": {"value": 0.07}}}
    gate = (nn.Identity(), ModelConfig(GATE, 64, metrics=measured))
    known = Cascade(gate, (nn.Identity(), cascade.config), "cpu")
    assert "off by 7 percentage points" in render.verdict_html(lone(0.9), known, lone=True)
    assert "nobody has measured" in render.verdict_html(lone(0.9), cascade, lone=True)


def test_the_gates_bar_is_a_meter_with_its_threshold(cascade):
    html = render.verdict_html(lone(0.25, thresholds=Thresholds(gate=0.6)), cascade, lone=True)
    assert 'role="meter"' in html
    assert 'aria-valuenow="25.0"' in html
    assert 'class="fill" style="width:25.00%"' in html
    assert 'class="mark" style="left:60.00%"' in html
    assert "threshold 60\u00a0%" in html


def test_the_facts_name_model_device_and_time(cascade):
    facts = texts(render.facts_html(lone(0.9, 100), cascade, lone=True))
    for part in ("U-Net mini", "1.80 M", "1,021 ms on CPU", "50 × 40", "10 % of the head", "segment 1,000"):
        assert part in facts
    assert "segment " not in texts(render.facts_html(lone(0.1), cascade, lone=True)), "it did not run"


def test_progress_tells_what_is_left():
    said = [
        texts(render.html("progress", progress=progress))
        for progress in (Progress(), Progress(0, 100), Progress(24, 100, 3.8), Progress(10, 400, 10.0))
    ]
    for words, part in zip(
        said, ("Reading", "0 of 100 slices", "24 of 100 slices, about 13 s", "7 min"), strict=True
    ):
        assert part in words


def test_what_an_upload_brings_cannot_smuggle_markup(cascade, tmp_path):
    evil = SeriesResult(replace(SERIES.series, source=EVIL, notes=(EVIL,)), SERIES.predictions)
    pages = (
        render.verdict_html(replace(lone(0.9), series=replace(lone(0.9).series, source=EVIL)), cascade, True),
        render.verdict_html(evil, cascade, False),
        render.verdict_html(SERIES, cascade, False, [EVIL]),
        render.message_html("error", EVIL, f"{EVIL}: no"),
        render.html("unavailable", reasons={"unet": EVIL}),
        render.about_html(models({}, tmp_path, unet=EVIL), "architectures"),
        render.html("banner", models=replace(models({}, tmp_path), warning=EVIL)),
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


def test_a_slice_against_a_ground_truth_by_hand():
    said = texts(render.truth_html(columns(0, 1, 2), columns(1, 2, 3, 4)))
    assert "Dice 0.571" in said  # 2 × 16 of 24 + 32
    assert "IoU 0.400" in said  # 16 of 40
    assert "HD95 2.0 px" in said
    assert "16 agreed 16 missed, 8 invented" in said
    assert "one of them is empty" in texts(render.truth_html(columns(), columns(1)))
    assert "both are empty" in texts(render.truth_html(columns(), columns()))


def test_a_series_against_a_ground_truth_by_hand():
    outline = np.stack([columns(), columns(0), columns(0, 1), columns(5)])
    truth = np.stack([columns(), columns(0, 1), columns(7), columns()])
    said = texts(render.truth_html(outline, truth))
    assert "Dice 0.286" in said  # 2 × 8 of 32 + 24
    assert "Dice of slices 0.333 mean of the 2 slices" in said  # 2/3 and 0
    assert "1 agreed 1 missed, 1 invented" in said
    assert "HD95" not in said, "nobody knows the distances"
    assert "mm 95th percentile" in texts(render.truth_html(outline, truth, (5.0, 1.0, 1.0)))


def test_architectures_side_by_side(cascades):
    head = np.ones((8, 8), bool)
    masks = [columns(0, 1), columns(1, 2)]
    results = {name: lone(0.9, mask=mask, head=head) for name, mask in zip(cascades, masks, strict=True)}
    said = texts(render.comparison_html(results))
    assert "0.500 . They disagree" in said
    assert all(f"{TITLES[name]} Glioma likely 16 px 25 %" in said for name in cascades)
    assert "Mean Dice" not in render.comparison_html({"unet": results["unet-mini"]})


def test_all_architectures_are_listed_with_what_is_known_of_the_weights_that_run(
    cascades, monkeypatch, tmp_path
):
    monkeypatch.setattr(render, "benchmark_milliseconds", lambda: {"unet-mini": 84.7})
    said = texts(render.about_html(models(cascades, tmp_path, unet="no weights yet")))
    assert all(TITLES[name] in said for name in SEGMENTERS)
    for part in (
        "85 ms 0.81 0.77",
        "unavailable: no weights yet",
        "0.812 (0.700 to 0.900)",
        "2 test patients",
    ):
        assert part in said
    for bare in ({"unet-mini": cascade_of("unet-mini", {})}, {}):
        assert "not measured" in render.about_html(models(bare, tmp_path))
    said = texts(render.html("footer", models=models(cascades, tmp_path)))
    assert "user/lgg at revision aaaaaaa" in said
    assert "PyTorch fp32 on CPU" in said
    assert "revision" not in render.html("footer", models=models({}, tmp_path))


def test_a_missing_benchmark_costs_the_speeds_alone(tmp_path):
    assert render.benchmark_milliseconds(tmp_path / "none.json") == {}
    (tmp_path / "good.json").write_text('{"slice_ms": {"unet": {"gate": 1, "total": 12.5}}}')
    assert render.benchmark_milliseconds(tmp_path / "good.json") == {"unet": 12.5}


@pytest.fixture(scope="module")
def chart():
    """The plot along four slices, of which the third is shown."""
    found = result([0.1, 0.6, 0.9, 0.499], [0, 4, 8, 0], (0.5, 0.5), 5.0)
    return ElementTree.fromstring(render.html("chart", result=found, current=3).replace("\u00a0", " "))


def test_bars_are_as_high_as_probabilities_and_shares_of_the_largest_area(chart):
    gate, area = (
        [float(bar.get("height")) for bar in svg.findall("rect")] for svg in chart.findall(".//svg")
    )
    assert gate == pytest.approx([10, 60, 90, 49.9])
    assert area == pytest.approx([0, 25, 100, 0])
    for bar in chart.findall(".//svg/rect"):
        assert float(bar.get("y")) + float(bar.get("height")) == pytest.approx(100, abs=0.1)


def test_the_threshold_is_a_line_with_words_and_both_panels_are_described(chart):
    line = chart.find(".//line")
    assert float(line.get("y1")) == float(line.get("y2")) == 50
    assert "threshold 50 %" in "".join(chart.itertext())
    bars = chart.find(".//svg").findall("rect")
    assert [bar.get("class") for bar in bars] == ["below", None, None, "below"]
    for panel in chart.findall(".//svg[@role='img']"):
        assert "2 of 4 slices" in panel.find("desc").text
        assert panel.find("desc").text in panel.get("aria-label")


def test_each_slice_is_a_button_and_the_tab_key_stops_at_the_current_alone(chart):
    buttons = chart.findall(".//button")
    assert [button.get("data-slice") for button in buttons] == ["1", "2", "3", "4"]
    assert buttons[1].get("aria-label") == "Slice 2: gate 60 %, outlined 4 mm²"
    assert [button.get("tabindex") for button in buttons] == ["-1", "-1", "0", "-1"]
    assert [button.get("aria-current") for button in buttons] == [None, None, "true", None]
    rows = [["".join(cell.itertext()) for cell in row] for row in chart.findall(".//tbody/tr")]
    assert rows[2] == ["3", "90 %", "yes", "16"], "a table holds the same"
    assert len(rows) == 4


def test_a_plot_without_spacing_or_outline():
    html = render.html("chart", result=result([0.1, 0.0], [0, 0]), current=1)
    assert "0\u00a0px" in html
    assert not re.search("nan|inf|mm²", html)
