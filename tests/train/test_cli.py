"""The command line as a practitioner uses it: train a gate and a segmenter, resume, evaluate."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_data import write_folder
from train.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--recipe", "cpu", "--epochs", "1", "--slices-per-epoch", "16", "--batch-size", "8", "--size", "32"]


def train(runs: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LGG_RUNS": str(runs), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "train", *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Data, runs and weights after training both networks on twelve made-up patients."""
    root = tmp_path_factory.mktemp("cli")
    data, runs, weights = write_folder(root / "data", 12), root / "runs", root / "weights"
    for command in (["gate"], ["segment", "--model", "unet-mini"]):
        done = train(runs, *command, "--data", data, "--out", weights, *QUICK)
        assert done.returncode == 0, done.stderr
    return data, runs, weights


def test_training_leaves_weights_config_card_log_and_curves(trained):
    _, runs, weights = trained
    for name in ("gate", "unet-mini"):
        assert {path.name for path in (weights / name).iterdir()} == {
            "model.safetensors",
            "config.json",
            "training.jsonl",
            "README.md",
        }
        stage = runs / name / "stage1"
        assert {"checkpoint.pt", "log.jsonl", "curves.png"} <= {path.name for path in stage.iterdir()}
        assert json.loads((stage / "log.jsonl").read_text())["epoch"] == 1
    config = json.loads((weights / "unet-mini" / "config.json").read_text())
    assert config["split"]["protocol"] == "patient"
    assert not set(config["split"]["train"]) & set(config["split"]["test"])
    changed = "epochs 1, slices per epoch 16, batch size 8, size 32"
    assert config["training"]["recipe"] == f"cpu ({changed})", "it does not pass for the recipe itself"
    log = [json.loads(line) for line in (weights / "unet-mini" / "training.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["epoch"]) for row in log] == [
        (number, 1) for number, _ in enumerate(RECIPES["cpu"]["unet-mini"], 1)
    ]
    assert all(0 <= row["waiting"] < 1 for row in log)


def test_the_report_measures_and_writes_results_configs_cards_and_figures_and_changes_nothing_twice(trained):
    data, runs, weights = trained
    done = train(runs, "report", "--data", data, "--weights", weights)
    assert done.returncode == 0, done.stderr
    stored = json.loads((weights / "results.json").read_text())
    own = [row for row in stored["rows"] if row["model"] == "unet-mini"]
    assert {row["cascade"] for row in own} == {"none", "hard", "soft"}
    assert {row["mode"] for row in own} == {"volume", "apart", "slice", "flair", "tta"}
    config = json.loads((weights / "unet-mini" / "config.json").read_text())
    assert set(config["metrics"]["patients"]) == {row["patient"] for row in stored["patients"]}
    assert "volume" in (weights / "unet-mini" / "README.md").read_text()
    tables = (weights / "results.md").read_text()
    assert "## By patient" in tables
    assert "](figures/gate.png)" in tables
    assert str(weights / "results.md") in done.stdout
    figures = {path.name for path in (weights / "figures").iterdir()}
    assert figures == {"training.png", "gate.png", "patients.png", "threshold.png"}
    written = {path: path.read_bytes() for path in weights.rglob("*") if path.is_file()}
    assert train(runs, "report", "--weights", weights).returncode == 0
    assert {path: path.read_bytes() for path in weights.rglob("*") if path.is_file()} == written


def test_evaluation_works_on_any_patients(trained, tmp_path):
    data, runs, weights = trained
    out = tmp_path / "rows.json"
    arguments = ["--data", data, "--patients", "CASE_00,CASE_01", "--weights", weights, "--out", out]
    done = train(runs, "evaluate", *arguments)
    assert done.returncode == 0, done.stderr
    assert {row["patient"] for row in json.loads(out.read_text())["patients"]} == {"CASE_00", "CASE_01"}
    assert "volume_mean" in done.stdout
    tables = out.with_suffix(".md").read_text()
    assert "## By patient" in tables
    assert "| CASE_00 |" in tables


@pytest.mark.slow
def test_results_of_patients_that_were_trained_on_say_so_and_are_not_recorded(trained, tmp_path):
    data, runs, weights = trained
    out, record = tmp_path / "rows.json", tmp_path / "results.json"
    everybody = ["evaluate", "--data", data, "--patients", "all", "--weights", weights]
    done = train(runs, *everybody, "--out", out)
    assert done.returncode == 0, done.stderr
    for text in (done.stderr, out.with_suffix(".md").read_text()):
        assert "Of these 12 patients, 10 were trained or chosen on" in text
    done = train(runs, *everybody, "--record", record)
    assert done.returncode == 1
    assert "takes no results of patients that were trained or chosen on" in done.stderr
    assert "Traceback" not in done.stderr
    assert not record.exists()
    done = train(runs, "evaluate", "--data", data, "--weights", weights, "--record", record)
    assert done.returncode == 0, done.stderr
    assert "trained or chosen on" not in done.stderr
    assert json.loads(record.read_text())["rows"]


def test_a_damaged_slice_is_named_and_the_weights_stay(trained, tmp_path):
    data, runs, weights = trained
    before = (weights / "gate" / "model.safetensors").read_bytes()
    broken = shutil.copytree(data, tmp_path / "data")
    (broken / "CASE_03" / "CASE_03_2.tif").write_bytes(b"junk")
    done = train(runs, "gate", "--data", broken, "--out", weights, *QUICK, "--restart")
    assert done.returncode == 1
    assert "CASE_03_2.tif" in done.stderr
    assert "Traceback" not in done.stderr
    assert (weights / "gate" / "model.safetensors").read_bytes() == before
