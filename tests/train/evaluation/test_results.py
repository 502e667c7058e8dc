"""Results as data: what a file holds, what is merged, what a config keeps."""

import json
from dataclasses import replace

import pytest

from lgg.errors import DataError
from train.evaluation.evaluate import Row
from train.evaluation.results import (
    GateSlices,
    PatientRow,
    PixelCounts,
    Results,
    load_results,
    save_results,
    summary,
)


def row(measure="volume_mean", value=0.5, model="unet-mini", cascade="hard", mode="volume", recipe="cpu"):
    return Row(model, "patient", cascade, mode, measure, value, value - 0.1, value + 0.1, 10, recipe)


def patient(name="TCGA_CS_1", volume=0.5, model="unet-mini", pixels=20_000, missing="none", recipe="cpu"):
    site = name.split("_")[1]
    return PatientRow(model, "patient", recipe, name, site, missing, 20, 8, pixels, volume, volume, 1, 0)


GATE = GateSlices("gate", "patient", "cpu", [0.5] * 6, [0.9, 0.8, 0.2, 0.6, 0.1, 0.3], [1, 1, 1, 0, 0, 0])
PIXELS = PixelCounts("unet-mini", "patient", "cpu", 0.5, [90] * 50 + [5] * 50, [2] * 50 + [40] * 50)
SEGMENTER = ("volume_mean", "volume_median", "slice_tumour", "slice_all_268_125", "pooled", "empty_kept")
RESULTS = Results(
    [row(name) for name in SEGMENTER]
    + [row(name, model="gate", cascade="none") for name in ("auroc", "accuracy", "recall_tumour", "ece")],
    [patient(), patient("TCGA_HT_2", 0.9, pixels=90_000, missing="post")],
    [GATE],
    [PIXELS],
)


class TestFile:
    def test_gives_back_what_was_saved(self, tmp_path):
        save_results(RESULTS, tmp_path / "results.json")
        assert load_results(tmp_path / "results.json") == RESULTS
        assert json.loads((tmp_path / "results.json").read_text())["rows"][0]["measure"] == "volume_mean"

    def test_that_is_not_there_holds_nothing(self, tmp_path):
        assert load_results(tmp_path / "results.json") == Results()

    @pytest.mark.parametrize("text", ["", "[]", '{"rows": [{"model": "unet"}]}', '{"rows": 3}'])
    def test_of_something_else_is_refused(self, tmp_path, text):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(DataError, match="not a results file"):
            load_results(tmp_path / "results.json")


class TestMerging:
    def test_replaces_the_same_network_protocol_and_recipe_and_keeps_all_others(self):
        other = replace(RESULTS.rows[0], recipe="gpu")
        merged = Results([*RESULTS.rows, other], RESULTS.patients).merged(Results([row(value=0.7)]))
        assert [line.value for line in merged.rows if line.model == "unet-mini"] == [0.7, other.value]
        assert sum(line.model == "gate" for line in merged.rows) == 4
        assert merged.patients == RESULTS.patients


class TestSummary:
    def test_is_the_headline_of_one_network(self):
        found = summary(RESULTS, "unet-mini", "patient", "cpu")
        assert (found["cascade"], found["mode"]) == ("hard", "volume")
        assert found["measures"]["volume_mean"] == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
        assert found["patients"] == {"TCGA_CS_1": 0.5, "TCGA_HT_2": 0.9}
        gate = summary(RESULTS, "gate", "patient", "cpu")
        assert gate["patients"] == {"TCGA_CS_1": None, "TCGA_HT_2": None}, "a gate has no Dice"
        assert set(gate["measures"]) == {"auroc", "accuracy", "recall_tumour", "ece"}

    def test_of_what_was_never_measured_is_empty(self):
        assert summary(RESULTS, "unet", "patient", "cpu") == {}
