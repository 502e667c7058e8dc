"""Of a recipe's stages, the one that was best on the validation side is what ships."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from lgg.errors import LggError
from lgg.models import GATE, build
from lgg.weights import load_config, load_model
from tests.tiny_data import write_folder
from train import pipeline as jobs
from train.data.kaggle_3m import index_folder
from train.pipeline import Job, run_job, sides_of
from train.recipes import Overrides


@pytest.mark.parametrize(("scores", "kept"), [((0.9, 0.8), 1), ((0.8, 0.9), 2), ((0.9, 0.9), 2)])
def test_the_better_stage_is_kept(scores, kept, tmp_path, monkeypatch):
    """Two stages whose weights are told apart by the bias of the last layer."""
    patients = index_folder(write_folder(tmp_path / "data", 3))
    begun: list[float | None] = []

    def train(architecture, recipe, sides, run, *, start=None, **_):
        number = int(Path(run).name.removeprefix("stage"))
        begun.append(None if start is None else float(start["fc.bias"]))
        network = build(GATE)
        torch.nn.init.constant_(network.fc.bias, number)
        state = {"architecture": architecture, "recipe": asdict(recipe), "best": network.state_dict()}
        return state | {
            "best_epoch": 1, "best_score": scores[number - 1], "initialised": "scratch", "seconds": 60.0
        }  # fmt: skip

    monkeypatch.setattr(jobs, "train", train)
    monkeypatch.setattr(jobs, "choose", lambda job: "chosen")
    sides = sides_of(patients, "patient")
    job = Job(GATE, "cpu", Overrides(size=32), patients, sides, "patient", tmp_path / "run")
    run_job(job)
    folder = job.target / GATE
    model, config = load_model(folder)
    assert float(model.fc.bias.detach()) == kept
    assert len(config.recipe) == kept
    assert load_config(folder).training["minutes"] == 2, "what was tried in vain took its time too"
    assert begun == [None, 1.0]


@pytest.mark.parametrize(
    ("architecture", "recipe", "best_by"),
    [("unet-mini", "cpu", "slice_tumour"), ("gate", "cpu", "auroc"), ("unet-mini", "reference", "loss")],
)
def test_single_slices_are_no_volume_to_choose_an_epoch_by(architecture, recipe, best_by, tmp_path):
    job = Job(architecture, recipe, Overrides(), {}, {}, "slice", tmp_path)
    assert {stage.best_by for stage in job.stages} == {best_by}
    own = replace(job, changes=Overrides(best_by="loss"))
    assert {stage.best_by for stage in own.stages} == {"loss"}


@pytest.mark.parametrize("missing", ["side", "gate", "teacher"])
def test_a_restart_that_is_refused_throws_nothing_away(missing, tmp_path, monkeypatch):
    patients = index_folder(write_folder(tmp_path / "data", 3))
    sides = sides_of(patients, "patient") | ({"validation": []} if missing == "side" else {})
    if missing == "gate":
        monkeypatch.setattr(jobs, "REPOSITORY_WEIGHTS", tmp_path / "nowhere")
    teacher = tmp_path / "nobody" if missing == "teacher" else None
    run = tmp_path / "run"
    earlier = run / "stage1" / "checkpoint.pt"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"hours of work")
    job = Job("unet-mini", "cpu", Overrides(size=32), patients, sides, "patient", run, teacher=teacher)
    with pytest.raises(LggError):
        run_job(job, restart=True)
    assert earlier.read_bytes() == b"hours of work"
