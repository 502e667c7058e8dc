"""Tables, figures and pages drawn from results; a second report changes nothing."""

import json
from dataclasses import replace

import numpy as np
from PIL import Image

from lgg.weights import ModelConfig, save_config
from tests.train.evaluation.test_results import GATE, RESULTS, row
from train.ablation import ABLATIONS, BASE, Run, save_run
from train.evaluation.results import Results, save_results
from train.report import FIGURES, results_page, write_report
from train.report.figures import draw_figures
from train.report.tables import (
    confusion,
    group_table,
    headline_tables,
    modes_table,
    patient_table,
    published_table,
)

CONFIGS = [
    ModelConfig("gate", 128, parameters=11_177_025),
    ModelConfig("unet-mini", 128, parameters=1_800_000),
]


class TestTables:
    def test_headline_has_a_line_for_each_network_with_its_interval(self):
        text = headline_tables(RESULTS)
        assert "| U-Net mini (`unet-mini`) | 1.80 M | 0.500 (0.400–0.600) |" in text
        assert "| ResNet18 gate (`gate`) | 11.18 M | 0.500 (0.400–0.600) |" in text

    def test_of_a_protocol_without_results_are_empty(self):
        assert headline_tables(RESULTS, "fold") == ""

    def test_other_modes_stand_beside_the_headline_and_the_gates_auroc_above_them(self):
        rows = [row(value=0.5), row(value=0.6, cascade="soft"), row(value=0.4, mode="flair")]
        gates = [
            row("auroc", value, "gate", "none", mode) for mode, value in (("volume", 0.9), ("apart", 0.8))
        ]
        text = modes_table(Results([*rows, *gates]), "patient")
        assert text.splitlines()[2:] == [
            "| ResNet18 gate | 0.900 |  |  |  |  |  |  |",
            "| U-Net mini | 0.500 | 0.600 |  |  |  | 0.400 |  |",
        ]

    def test_the_worst_patient_stands_on_top_with_what_the_best_network_gets_wrong(self):
        lines = patient_table(RESULTS, "patient").splitlines()[2:]
        assert [line.split("|")[1].strip() for line in lines] == ["TCGA_CS_1", "TCGA_HT_2"]
        assert lines[0].endswith("| 0.500 | 1 | 0 |")
        assert patient_table(RESULTS, "slice") == ""

    def test_groups_are_sites_sizes_and_missing_sequences(self):
        text = group_table(RESULTS, "patient")
        for line in (
            "| site: CS | 1 | 0.500 |",
            "| tumour: medium, to 45,000 px | 1 | 0.500 |",
            "| tumour: large, above | 1 | 0.900 |",
            "| missing sequence: post | 1 | 0.900 |",
        ):
            assert line in text

    def test_the_gates_decisions_are_counted_as_the_reference_does(self):
        assert "TN 2, FP 1, FN 1, TP 2" in confusion(GATE)

    def test_recipes_of_one_protocol_have_a_line_each_and_their_name(self):
        other = [replace(line, recipe="reference", value=0.25) for line in RESULTS.rows]
        text = headline_tables(Results([*RESULTS.rows, *other]))
        assert "| U-Net mini, cpu recipe (`unet-mini`) | 1.80 M | 0.500" in text
        assert "| U-Net mini, reference recipe (`unet-mini`) | 1.80 M | 0.250" in text
        assert "recipe" not in headline_tables(RESULTS)

    def test_a_network_without_shipped_weights_is_counted(self):
        rows = [replace(line, protocol="slice") for line in RESULTS.rows if line.model == "unet-mini"]
        text = headline_tables(Results(rows), "slice")
        assert "| U-Net mini (`unet-mini`) | 1.80 M | 0.500" in text
        assert "volume" not in text, "of single slices there is none"

    def test_published_figures_stand_under_their_own_protocol(self):
        assert "Buda et al. 2019" in published_table("patient")
        assert "Buda" not in published_table("slice")
        assert "0.7915" in published_table("slice")


class TestFigures:
    def test_are_drawn_and_the_same_each_time(self, tmp_path):
        (tmp_path / "unet-mini").mkdir()
        (tmp_path / "unet-mini" / "model.safetensors").touch()
        log = [{"stage": 1, "epoch": n, "val_loss": 1 / n, "val_dice": 1 - 1 / n} for n in range(1, 5)]
        text = "".join(json.dumps(epoch) + "\n" for epoch in log)
        (tmp_path / "unet-mini" / "training.jsonl").write_text(text)
        paths = draw_figures(RESULTS, tmp_path)
        assert [path.stem for path in paths] == ["training", "gate", "patients", "threshold"]
        before = [path.read_bytes() for path in paths]
        for path in paths:
            with Image.open(path) as picture:
                assert np.asarray(picture.convert("L")).std() > 5
        draw_figures(RESULTS, tmp_path)
        assert [path.read_bytes() for path in paths] == before

    def test_with_nothing_to_show_are_left_out(self, tmp_path):
        assert draw_figures(Results(), tmp_path) == []


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
    for name, place in {
        "ROOT": tmp_path,
        "REPOSITORY_WEIGHTS": weights,
        "README": readme,
        "PAGE": page,
    }.items():
        monkeypatch.setattr(f"train.report.{name}", place)
    write_report(weights)
    text = readme.read_text()
    assert text.startswith("before\n<!-- results -->\nBy patient: 2 test patients")
    assert text.endswith("<!-- /results -->\nafter\n")
    assert "| U-Net mini (`unet-mini`) | 1.80 M | 0.500 (0.400–0.600)" in text
    assert "Buda et al. 2019" in text
    assert "What each part of the recipe is worth" in page.read_text()
    drawn = [name for name in FIGURES if name != "training"]  # of weights without a log there are no curves
    assert page.read_text() == results_page(RESULTS, weights, drawn, folder="../weights/figures")
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_report(weights)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == written
