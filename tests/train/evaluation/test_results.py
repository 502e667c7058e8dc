"""Results as data, and the tables and figures drawn from them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lgg.errors import DataError
from lgg.weights import ModelConfig, save_config
from train.ablation import ABLATIONS, BASE, Run, save_run
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
from train.report import FIGURES, repository_page, with_times, write_report
from train.report.figures import draw_figures
from train.report.tables import (
    gate_mode_table,
    gate_report,
    group_tables,
    headline_tables,
    leak,
    mode_table,
    patient_table,
    published_table,
    threshold_table,
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
CONFIGS = [
    ModelConfig("gate", 128, parameters=11_177_025),
    ModelConfig("unet-mini", 128, parameters=1_800_000),
]


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
        assert [one.value for one in merged.rows if one.model == "unet-mini" and one.recipe == "cpu"] == [0.7]
        assert other in merged.rows
        assert sum(one.model == "gate" for one in merged.rows) == 4
        assert merged.patients == RESULTS.patients


class TestSummary:
    def test_is_the_headline_of_one_network(self):
        found = summary(RESULTS, "unet-mini", "patient", "cpu")
        assert (found["cascade"], found["mode"]) == ("hard", "volume")
        assert found["measures"]["volume_mean"] == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
        assert found["patients"] == {"TCGA_CS_1": 0.5, "TCGA_HT_2": 0.9}
        gate = summary(RESULTS, "gate", "patient", "cpu")
        assert gate["patients"] == {"TCGA_CS_1": None, "TCGA_HT_2": None}, "a gate has no Dice"
        assert set(gate["measures"]) == {
            "auroc",
            "accuracy",
            "recall_tumour",
            "ece",
        }

    def test_of_what_was_never_measured_is_empty(self):
        assert summary(RESULTS, "unet", "patient", "cpu") == {}


class TestTables:
    def test_headline_has_a_line_for_each_network_with_its_interval(self):
        text = headline_tables(RESULTS, CONFIGS)
        assert "| U-Net mini (`unet-mini`) | 1.80 M | 0.500 (0.400–0.600) |" in text
        assert "| ResNet18 gate (`gate`) | 11.18 M | 0.500 (0.400–0.600) |" in text

    def test_of_a_protocol_without_results_are_empty(self):
        assert headline_tables(RESULTS, CONFIGS, "fold") == ""

    def test_modes_have_a_line_each(self):
        rows = [row(name, cascade=gate) for name in SEGMENTER for gate in ("hard", "soft")]
        text = mode_table(Results(rows), "unet-mini", "patient")
        assert [line.split("|")[2].strip() for line in text.splitlines()[2:]] == ["hard gate", "soft gate"]

    def test_the_gates_modes_have_a_line_each_but_none_of_neighbours_it_does_not_look_at(self):
        rows = [
            row(name, value, "gate", "none", mode)
            for name in ("auroc", "accuracy", "recall_tumour", "ece")
            for mode, value in (("volume", 0.5), ("apart", 0.5), ("slice", 0.6), ("flair", 0.7))
        ]
        lines = gate_mode_table(Results(rows), "patient", "cpu").splitlines()[2:]
        assert [line.split("|")[1].strip() for line in lines] == [
            "volume statistics",
            "slice statistics",
            "FLAIR only",
        ]
        assert lines[1].endswith("| 0.600 (0.500–0.700) |")

    def test_the_masks_threshold_is_compared_with_a_half_and_with_the_best(self):
        low = replace(RESULTS, pixels=[replace(PIXELS, threshold=0.25)])
        # Above 0.25 lie 2050 pixels of tumour and 2500 others, above 0.5 2000 and 250, of 2100 in all.
        expected = "| U-Net mini | 0.25 | 0.920 | 0.617 | 0.920 (threshold 0.5) |"
        assert threshold_table(low, "patient").splitlines()[2] == expected
        assert threshold_table(low, "slice") == ""

    def test_the_worst_patient_stands_on_top(self):
        lines = patient_table(RESULTS, "patient").splitlines()[2:]
        assert [line.split("|")[1].strip() for line in lines] == ["TCGA_CS_1", "TCGA_HT_2"]

    def test_groups_are_sites_sizes_and_missing_sequences(self):
        text = group_tables(RESULTS, "patient")
        for line in (
            "| CS | 1 | 0.500 |",
            "| HT | 1 | 0.900 |",
            "| post | 1 | 0.900 |",
            "| none | 1 | 0.500 |",
        ):
            assert line in text
        assert "| medium, to 45,000 px | 1 | 0.500 |" in text
        assert "| large, above | 1 | 0.900 |" in text

    def test_the_gates_report_has_the_references_form(self):
        lines = gate_report(GATE).splitlines()
        assert lines[2].split() == ["no", "tumour", "0.67", "0.67", "0.67", "3"]
        assert lines[3].split() == ["tumour", "0.67", "0.67", "0.67", "3"]
        assert lines[5].split() == ["accuracy", "0.67", "6"]

    def test_recipes_of_one_protocol_have_a_line_each_and_their_name(self):
        other = [replace(one, recipe="reference", value=0.25) for one in RESULTS.rows]
        text = headline_tables(Results([*RESULTS.rows, *other]), CONFIGS)
        assert "| U-Net mini, cpu recipe (`unet-mini`) | 1.80 M | 0.500" in text
        assert "| U-Net mini, reference recipe (`unet-mini`) | 1.80 M | 0.250" in text
        assert "recipe" not in headline_tables(RESULTS, CONFIGS)

    def test_a_network_without_shipped_weights_is_counted(self):
        rows = [replace(one, protocol="slice") for one in RESULTS.rows if one.model == "unet-mini"]
        text = headline_tables(Results(rows), [], "slice")
        assert "| U-Net mini (`unet-mini`) | 1.80 M | 0.500" in text
        assert "volume" not in text, "of single slices there is none"

    def test_how_far_a_network_falls_is_told_where_it_was_measured_both_ways(self):
        leaky = [replace(one, protocol="slice", value=0.875) for one in RESULTS.rows]
        apart = [replace(one, mode="apart") for one in RESULTS.rows if one.mode == "volume"]
        words = leak(Results([*RESULTS.rows, *apart, *leaky]))
        assert "U-Net mini falls from 0.875 to 0.500 (slice-tumour)" in words
        assert "ResNet18 gate falls from 0.875 to 0.500 (accuracy)" in words
        assert "an all-empty prediction scores 68.2%" in words
        assert "falls" not in leak(Results(leaky))

    @pytest.mark.parametrize(
        ("by_loss", "by_dice"),
        [
            ("reference", "reference (best by dice)"),
            ("reference (size 128)", "reference (size 128, best by dice)"),
            ("reference (seed 1)", "reference (best by dice, seed 1)"),
        ],
    )
    def test_a_reference_network_whose_epoch_was_kept_otherwise_too_is_told(self, by_loss, by_dice):
        alone = [replace(one, protocol="slice", cascade="none") for one in RESULTS.rows]
        own = [replace(one, value=0.25, recipe=by_loss) for one in alone]
        other = [replace(one, value=0.75, recipe=by_dice) for one in alone]
        words = leak(Results([*own, *other]))
        assert "U-Net mini kept by Dice gets 0.750 instead of 0.250 (slice-tumour, no gate)" in words
        assert "kept by" not in leak(Results(own))
        assert "kept by" not in leak(Results(other)), "there is nothing to compare it with"

    def test_published_figures_stand_under_their_own_protocol(self):
        assert "Buda et al. 2019" in published_table("patient")
        assert "Buda" not in published_table("slice")
        assert "0.7915" in published_table("slice")


class TestFigures:
    def test_are_drawn_and_the_same_each_time(self, tmp_path):
        (tmp_path / "unet-mini").mkdir()
        (tmp_path / "unet-mini" / "model.safetensors").touch()
        log = [{"stage": 1, "epoch": n, "val_loss": 1 / n, "val_dice": 1 - 1 / n} for n in range(1, 5)]
        text = "".join(json.dumps(one) + "\n" for one in log)
        (tmp_path / "unet-mini" / "training.jsonl").write_text(text)
        paths = draw_figures(RESULTS, tmp_path, tmp_path / "figures")
        assert [path.stem for path in paths] == ["training", "gate", "patients", "threshold"]
        before = [path.read_bytes() for path in paths]
        for path in paths:
            with Image.open(path) as picture:
                assert np.asarray(picture.convert("L")).std() > 5
        draw_figures(RESULTS, tmp_path, tmp_path / "figures")
        assert [path.read_bytes() for path in paths] == before

    def test_with_nothing_to_show_are_left_out(self, tmp_path):
        assert draw_figures(Results(), tmp_path, tmp_path / "figures") == []


def test_milliseconds_come_from_the_benchmark_and_are_replaced_not_added(tmp_path):
    for total in (59.0, 45.0):
        speed = {"hardware": "x CPU, 2 threads", "torch": "2", "first_answer_s": None, "page_mb": None}
        speed["slice_ms"] = {"unet-mini": {"preprocess": 10.0, "gate": 15.0, "segment": 20.0, "total": total}}
        (tmp_path / "benchmark.json").write_text(json.dumps(speed))
        found = with_times(with_times(RESULTS, tmp_path), tmp_path)
        times = [one for one in found.rows if one.measure == "ms_per_slice_cpu"]
        assert [(one.model, one.cascade, one.value) for one in times] == [
            ("gate", "none", 25.0),
            ("unet-mini", "hard", total),
        ]


def test_the_report_writes_readme_and_page_and_changes_nothing_the_second_time(tmp_path, monkeypatch):
    weights, readme, page = tmp_path / "weights", tmp_path / "README.md", tmp_path / "docs" / "results.md"
    for config in CONFIGS:
        save_config(weights / config.architecture, config)
        (weights / config.architecture / "model.safetensors").touch()
    save_results(RESULTS, weights / "results.json")
    volumes = {mode: [0.5, 0.7] for mode in ("volume", "slice", "flair")}
    save_run(
        Run(BASE, 0, "cpu", 8, 128, 10.0, volumes, dict.fromkeys(volumes, 0.6)), weights / ABLATIONS.name
    )
    readme.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    monkeypatch.setattr("train.report.README", readme)
    monkeypatch.setattr("train.report.PAGE", page)
    write_report(weights)
    text = readme.read_text()
    assert text.startswith("before\n<!-- results -->\n**Patient split**")
    assert text.endswith("<!-- /results -->\nafter\n")
    assert "| U-Net mini (`unet-mini`) | 1.80 M | 0.500 (0.400–0.600)" in text
    assert "Buda et al. 2019" in text
    assert "What each part of the recipe is worth" in page.read_text()
    assert page.read_text() == repository_page(
        RESULTS, weights, [name for name in FIGURES if name != "training"]
    ), "of weights without a log there are no curves"
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_report(weights)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == written
