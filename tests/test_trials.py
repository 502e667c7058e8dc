"""Trials: runs that did not ship are kept with what they reached."""

import json

import pytest

from lgg.errors import DataError
from lgg.models import BUILDERS, GATE, build
from lgg.models.unet import UNet
from lgg.weights import ModelConfig, save_model
from tests.tiny_data import write_folder
from train import trials
from train.checkpoint import append_log, save_checkpoint
from train.learn import trial
from train.trials import load_trials, trial_table


def run_of(home, architecture, *stages, size=128):
    """A run's folder: of each stage a checkpoint, and an epoch of 90 seconds a figure."""
    measure = "val_auroc" if architecture == GATE else "val_dice"
    for number, figures in enumerate(stages, 1):
        folder = home / f"stage{number}"
        folder.mkdir(parents=True)
        save_checkpoint(folder, {"architecture": architecture, "recipe": {"size": size * number}})
        for epoch, figure in enumerate(figures, 1):
            append_log(folder, {"epoch": epoch, "seconds": 90, measure: figure})


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.setenv("LGG_RUNS", str(tmp_path / "runs"))
    return tmp_path / "trials.json"


def test_a_run_is_kept_with_all_its_stages_and_the_best_of_their_epochs(record, tmp_path, capsys):
    run_of(tmp_path / "runs" / "bold", "unet-lite0", (0.25, 0.75), (0.5,))
    trial("bold", "bent more", record=record)
    (kept,) = load_trials(record)
    assert (kept.architecture, kept.what) == ("unet-lite0", "bent more")
    assert (kept.epochs, kept.sizes, kept.minutes, kept.best) == ([2, 1], [128, 256], 4.5, 0.75)
    assert "bold: 0.7500 on the validation side after 3 epochs" in capsys.readouterr().out


def test_the_table_stands_beside_what_ships(record, tmp_path):
    run_of(tmp_path / "runs" / "bold", "unet-lite0", (0.25, 0.75), (0.5,))
    run_of(tmp_path / "runs" / "long", GATE, (0.875,))
    weights = tmp_path / "weights"
    (weights / "unet-lite0").mkdir(parents=True)
    log = [{"val_dice": 0.8125}, {"val_dice": 0.5}]
    (weights / "unet-lite0" / "training.jsonl").write_text("".join(json.dumps(one) + "\n" for one in log))
    for name, what in (("bold", "bent more"), ("long", "twice as long")):
        trial(name, what, record=record)
    assert trial_table(load_trials(record), weights).splitlines()[2:] == [
        "| ResNet18 gate | twice as long | 1 | 128 | 2 | 0.875 |  |",
        "| U-Net Lite0 | bent more | 2 + 1 | 128 + 256 | 4 | 0.750 | 0.812 |",
    ]
    assert trial_table([], weights) == ""


def test_the_same_run_again_takes_its_own_place(record, tmp_path):
    run_of(tmp_path / "runs" / "bold", "unet", (0.25,))
    trial("bold", "bent more", record=record)
    trial("bold", "bent twice as far", record=record)
    assert [one.what for one in load_trials(record)] == ["bent twice as far"]


def test_a_run_that_is_not_there_and_a_foreign_file_are_told(record, tmp_path):
    (tmp_path / "runs" / "none" / "stage1").mkdir(parents=True)
    with pytest.raises(DataError, match="The run 'none' has no finished epoch"):
        trial("none", "nothing", record=record)
    record.write_text('[{"run": 1}]')
    with pytest.raises(DataError, match=r"trials\.json is not a file of trials"):
        load_trials(record)


def test_a_run_at_another_resolution_is_measured_beside_what_ships_at_the_slices_own(
    record, tmp_path, monkeypatch
):
    monkeypatch.setitem(BUILDERS, "unet-mini", lambda: UNet(widths=(4, 8)))
    judged = []

    def judge(architecture, size, weights, volumes):
        judged.append((architecture, size, [one.patient for one in volumes]))
        return {"volume": [0.5, 0.25] if size == 48 else [0.5, 0.5]}, {}

    monkeypatch.setattr(trials, "judge", judge)
    monkeypatch.setattr(trials.at_own_resolution, "__defaults__", (tmp_path / "weights",))
    save_model(tmp_path / "weights" / "unet-mini", build("unet-mini"), ModelConfig("unet-mini", 32))
    home = tmp_path / "runs" / "fine"
    run_of(home, "unet-mini", (0.75,), size=48)
    state = {"architecture": "unet-mini", "recipe": {"size": 48}, "best": build("unet-mini").state_dict()}
    save_checkpoint(home / "stage1", state)
    data = write_folder(tmp_path / "data", 3)
    trial("fine", "full resolution", data, record)
    (kept,) = load_trials(record)
    assert (kept.best, kept.own) == (0.75, [0.375, 0.5])
    assert [one[:2] for one in judged] == [("unet-mini", 48), ("unet-mini", 32)]
    assert all(len(one[2]) == 1 for one in judged), "the validation side's volumes"
    (line,) = trial_table([kept], tmp_path / "weights").splitlines()[2:]
    assert line.endswith("| 0.375\\* | 0.500\\* |")


def test_a_gate_needs_no_common_resolution(record, tmp_path):
    run_of(tmp_path / "runs" / "long", GATE, (0.875,))
    with pytest.raises(DataError, match="leave --data out"):
        trial("long", "twice as long", write_folder(tmp_path / "data", 3), record)
    assert not record.exists()
