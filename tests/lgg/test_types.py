"""What a whole series says: volume, slices, words, and the plain values of the API."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lgg.app import render as series_report
from lgg.cascade import Cascade
from lgg.models.unet import UNet
from lgg.postprocess import redecide
from lgg.types import SeriesResult
from lgg.weights import ModelConfig
from tests.series_results import THRESHOLDS, result, series
from tests.tiny_weights import tiny_gate

FOUND = result([0.1, 0.9, 0.95, 0.2], [0, 4, 8, 0], (0.5, 0.75), 5.0, ["1 slice seems to be missing."])
UNSPACED = result([0.1, 0.9, 0.95, 0.2], [0, 4, 8, 0])
EMPTY = result([0.1, 0.3, 0.2], [0, 0, 0])
VAIN = result([0.1, 0.6, 0.7], [0, 0, 0])


@pytest.fixture(scope="module")
def cascade():
    gate, segmenter = ModelConfig("gate", 32, THRESHOLDS), ModelConfig("unet-mini", 32, THRESHOLDS)
    return Cascade((tiny_gate(), gate), (UNet(widths=(4, 8)), segmenter), device="cpu")


class TestResult:
    def test_volume_is_voxels_times_the_three_distances(self):
        assert FOUND.voxels == 16 + 64
        assert FOUND.volume_ml == pytest.approx(80 * 0.5 * 0.75 * 5 / 1000)

    def test_without_a_distance_there_is_no_volume(self):
        assert UNSPACED.volume_ml is None
        assert result([0.9], [4], (0.5, 0.5)).volume_ml is None

    def test_slices_count_from_one(self):
        assert FOUND.with_tumour == FOUND.suspected == (2, 3)
        assert FOUND.most_telling == 3
        assert EMPTY.most_telling == 2, "where nothing is outlined, the gate says where to look"

    def test_other_thresholds_decide_anew(self):
        stricter = redecide(FOUND, replace(THRESHOLDS, mask=0.8))
        assert stricter.voxels == 0
        looser = redecide(FOUND, replace(THRESHOLDS, mask=0.05))
        assert looser.areas == (0, 40 * 32, 40 * 32, 0), "what the gate does not pass stays empty"
        assert redecide(FOUND, THRESHOLDS) is FOUND

    def test_what_no_neighbour_confirms_is_left_out_by_whatever_thresholds(self):
        sides = [0, 0, 6, 6, 6, 0, 0, 6, 0, 0]
        made = redecide(result([0.9] * 10, sides), replace(THRESHOLDS, mask=0.6))
        assert made.with_tumour == (3, 4, 5)
        assert made.predictions[7].passed, "the gate's word is not changed by it"
        assert redecide(result([0.9] * 9, sides[:9]), replace(THRESHOLDS, mask=0.6)).with_tumour == (
            3,
            4,
            5,
            8,
        )

    def test_an_outline_in_one_slice_alone_is_no_verdict(self):
        made = redecide(result([0.9] * 10, [0] * 4 + [6] + [0] * 5), replace(THRESHOLDS, mask=0.6))
        said = series_report.series_verdict(made)
        assert said.headline == "Unclear"
        assert "outlines nothing that a neighbouring slice confirms." in said.detail

    def test_it_wants_a_prediction_for_each_slice(self):
        with pytest.raises(ValueError, match="each slice"):
            SeriesResult(series(2), FOUND.predictions)


class TestWords:
    def test_something_is_outlined(self):
        said = series_report.series_verdict(FOUND)
        assert (said.headline, said.tone) == ("Glioma likely", "likely")
        assert said.detail == (
            "Outlined in 2 of 4 slices, 2 to 3: 0.15\u00a0ml in all. The largest outline is in slice 3."
        )
        assert "ml" not in series_report.series_verdict(UNSPACED).detail
        assert series_report.series_verdict(result([0.9], [4])).detail == "Outlined in slice 1."

    def test_nothing_is_outlined(self):
        assert series_report.series_verdict(VAIN).headline == "Unclear"
        assert "2 of 3 slices" in series_report.series_verdict(VAIN).detail
        assert series_report.series_verdict(EMPTY).headline == "No glioma found"

    @pytest.mark.parametrize(
        ("sides", "words"),
        [((4, 0, 4, 4), "1 and 3 to 4"), ((4, 0, 4, 0, 4), "1, 3 and 5"), ((4, 0) * 4, "between 1 and 7")],
    )
    def test_slices_are_told_in_runs(self, sides, words):
        assert words in series_report.series_verdict(result([0.9] * len(sides), sides)).detail

    def test_the_upload_is_noted_and_its_name_escaped(self):
        html = series_report.series_verdict_html(FOUND)
        assert "1 slice seems to be missing." in html
        assert "scan &lt;b&gt;.zip" in html
        assert "<b>" not in html

    def test_facts_say_why_there_is_no_volume(self, cascade):
        assert "no ml" in series_report.series_facts_html(UNSPACED, cascade)
        assert "0.75 × 0.5\u00a0mm, slices 5\u00a0mm apart" in series_report.series_facts_html(FOUND, cascade)

    @pytest.mark.parametrize(
        ("done", "slices", "seconds", "words"),
        [
            (0, 0, 0.0, "Reading"),
            (0, 100, 0.0, "0 of 100 slices"),
            (24, 100, 3.8, "24 of 100 slices, about 13\u00a0s to go"),
            (10, 400, 10.0, "about 7\u00a0min to go"),
        ],
    )
    def test_progress_tells_what_is_left(self, done, slices, seconds, words):
        assert words in series_report.progress_html(done, slices, seconds)


class TestPlainValues:
    def test_they_are_json_and_agree_with_the_result(self, cascade):
        told = json.loads(json.dumps(series_report.series_as_json(FOUND, cascade)))
        assert (told["slices"], told["slices_with_tumour"], told["largest_slice"]) == (4, [2, 3], 3)
        assert told["volume_ml"] == pytest.approx(FOUND.volume_ml)
        assert [one["area_pixels"] for one in told["per_slice"]] == list(FOUND.areas)
        assert [one["gate_passed"] for one in told["per_slice"]] == [False, True, True, False]
        assert told["spacing_mm"] == [0.5, 0.75]
        assert "not a medical device" in told["notice"]

    def test_what_is_unknown_is_none(self, cascade):
        told = series_report.series_as_json(EMPTY, cascade)
        unknown = ("volume_ml", "largest_slice", "spacing_mm", "slice_distance_mm")
        assert {told[name] for name in unknown} == {None}
        assert np.isclose(told["milliseconds"], 18)
