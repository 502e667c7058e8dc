"""Of a recipe's stages, the one that was best on the validation side is what ships."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from lgg.errors import DataError, LggError
from lgg.models import GATE, build
from lgg.weights import ModelConfig, load_config, load_model
from tests.tiny_data import write_folder
from train import job as jobs
from train.index import index_folder
from train.job import Job, load_teacher, run_job, sides_of, validated_on
from train.recipe import Changes


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
    job = Job(GATE, "cpu", Changes(size=32), patients, sides, "patient", tmp_path / "run")
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
    job = Job(architecture, recipe, Changes(), {}, {}, "slice", tmp_path)
    assert {stage.best_by for stage in job.stages} == {best_by}
    own = replace(job, changes=Changes(best_by="loss"))
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
    job = Job("unet-mini", "cpu", Changes(size=32), patients, sides, "patient", run, teacher=teacher)
    with pytest.raises(LggError):
        run_job(job, restart=True)
    assert earlier.read_bytes() == b"hours of work"


def test_a_teacher_of_the_slice_split_teaches_the_same_slices_only(tmp_path, monkeypatch):
    keys = [f"TCGA_CS_1_{number}" for number in range(30)]
    sides = {"train": keys[:24], "validation": keys[24:27], "test": keys[27:]}
    teacher = build("unet-mini")

    def train(architecture, recipe, slices, folder, **how):
        return {
            "architecture": architecture, "recipe": asdict(recipe), "best": teacher.state_dict(),
            "best_epoch": 1, "best_score": 1.0, "initialised": "scratch", "seconds": 60.0,
        }  # fmt: skip

    for name in ("choose", "load_keys"):
        monkeypatch.setattr(jobs, name, lambda *_: "")
    monkeypatch.setattr(jobs, "train", train)
    job = Job("unet-mini", "cpu", Changes(), {}, sides, "slice", tmp_path, stage_limit=1)
    run_job(job)
    folder = job.target / "unet-mini"
    assert load_config(folder).split["train"] == 24, "a number, not two thousand names"
    assert load_teacher(folder, keys[23::-1]) is not None
    for others in (keys[1:25], ["TCGA_CS_1"]):
        with pytest.raises(DataError, match="would leak"):
            load_teacher(folder, others)


def test_thresholds_are_chosen_again_on_what_the_model_was_validated_on(tmp_path):
    patients = index_folder(write_folder(tmp_path / "data", 4))
    name, *_ = patients
    by_fold = ModelConfig("unet-mini", 32, split={"protocol": "fold", "validation": [name, "somebody else"]})
    assert validated_on(by_fold, patients) == [name]
    by_slice = validated_on(
        ModelConfig("unet-mini", 32, split={"protocol": "slice", "validation": 3}), patients
    )
    assert by_slice == sides_of(patients, "slice")["validation"]
    assert all(key.rpartition("_")[0] in patients for key in by_slice)
    with pytest.raises(DataError, match="trained from"):
        validated_on(ModelConfig("unet-mini", 32, split={"validation": ["somebody else"]}), patients)
