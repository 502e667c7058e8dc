"""The command line as a practitioner uses it: train a gate and a segmenter, resume, evaluate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_data import write_folder

ROOT = Path(__file__).resolve().parents[1]
QUICK = ["--epochs", "1", "--slices-per-epoch", "16", "--batch-size", "8", "--size", "32"]


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
            "README.md",
        }
        stage = runs / name / "stage1"
        assert {"checkpoint.pt", "log.jsonl", "curves.png"} <= {path.name for path in stage.iterdir()}
        assert json.loads((stage / "log.jsonl").read_text())["epoch"] == 1
    config = json.loads((weights / "unet-mini" / "config.json").read_text())
    assert config["split"]["protocol"] == "patient"
    assert not set(config["split"]["train"]) & set(config["split"]["test"])


def test_evaluation_writes_rows_and_records_the_headline(trained, tmp_path):
    data, runs, weights = trained
    out = tmp_path / "rows.json"
    arguments = ["--data", data, "--patients", "CASE_00,CASE_01", "--weights", weights, "--out", out]
    done = train(runs, "evaluate", *arguments, "--record")
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())
    assert {row["cascade"] for row in rows} == {"none", "hard", "soft"}
    assert {row["mode"] for row in rows} == {"volume", "slice", "flair", "tta"}
    config = json.loads((weights / "unet-mini" / "config.json").read_text())
    assert set(config["metrics"]["patients"]) == {"CASE_00", "CASE_01"}
    assert "volume" in (weights / "unet-mini" / "README.md").read_text()


def test_resuming_a_finished_run_trains_nothing_more(trained):
    data, runs, weights = trained
    log = (runs / "gate" / "stage1" / "log.jsonl").read_text()
    done = train(runs, "gate", "--data", data, "--out", weights, *QUICK, "--resume")
    assert done.returncode == 0, done.stderr
    assert (runs / "gate" / "stage1" / "log.jsonl").read_text() == log


def test_resuming_with_another_recipe_says_so(trained):
    data, runs, _ = trained
    done = train(runs, "gate", "--data", data, *QUICK, "--lr", "0.5", "--resume")
    assert done.returncode != 0
    assert "another recipe" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_patients_says_what_was_expected(tmp_path):
    done = train(tmp_path, "gate", "--data", tmp_path)
    assert done.returncode != 0
    assert "kaggle_3m" in done.stderr
    assert "Traceback" not in done.stderr
