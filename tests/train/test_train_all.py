"""All networks by one command: in which order, and who teaches whom."""

import json
from dataclasses import replace

import pytest

from lgg.models import BUILDERS, GATE
from lgg.models.unet import UNet
from lgg.weights import load_config
from tests.tiny_data import write_folder
from train import pipeline as module
from train.__main__ import Kept, everything
from train.data.kaggle_3m import index_folder
from train.pipeline import ORDER, TEACHER, Job, choose_on, sides_of, train_everything
from train.recipes import Overrides

ORDERED = ["unet-lite0", "gate", "unet", "unet-mini", "unet-resnext50"]


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that were run, and the networks whose thresholds were chosen once more."""
    run, chosen = [], []

    def run_job(job, resume, restart, watch):
        run.append((job, resume, restart))
        (job.target / job.architecture).mkdir(parents=True, exist_ok=True)
        return "made"

    monkeypatch.setattr(module, "run_job", run_job)
    monkeypatch.setattr(module, "choose_on", lambda name, *_: chosen.append(name) or "thresholds")
    return run, chosen


def pattern(tmp_path, recipe="gpu", **rest) -> Job:
    return Job(GATE, recipe, Overrides(), {}, {"validation": []}, "patient", tmp_path / "all", **rest)


def test_lite0_comes_first_and_teaches_the_others(jobs, tmp_path):
    train_everything(pattern(tmp_path), resume=True)
    run, chosen = jobs
    assert [job.architecture for job, _, _ in run] == ORDERED == list(ORDER)
    assert set(ORDER) == set(BUILDERS)
    weights = tmp_path / "all" / "weights"
    assert [job.teacher for job, _, _ in run] == [None] + 4 * [weights / TEACHER]
    assert {job.target for job, _, _ in run} == {weights}
    assert [job.home.name for job, _, _ in run] == ORDERED, "a folder for each"
    assert all((resume, restart) == (True, False) for _, resume, restart in run)
    assert chosen == [TEACHER], "its thresholds were chosen before there was the gate"


def test_the_weights_go_where_they_were_asked_for(jobs, tmp_path):
    train_everything(pattern(tmp_path, out=tmp_path / "mine"))
    assert {job.target for job, _, _ in jobs[0]} == {tmp_path / "mine"}
    assert jobs[0][1][0].teacher == tmp_path / "mine" / TEACHER


def test_the_reference_had_no_teacher(jobs, tmp_path):
    train_everything(pattern(tmp_path, "reference"))
    assert {job.teacher for job, _, _ in jobs[0]} == {None}


def test_some_alone_are_taught_by_what_was_trained_before(jobs, tmp_path):
    train_everything(pattern(tmp_path), ["unet-mini"])
    assert [(job.architecture, job.teacher) for job, _, _ in jobs[0]] == [("unet-mini", None)]
    train_everything(pattern(tmp_path), [TEACHER])
    train_everything(pattern(tmp_path), ["unet-mini", GATE])
    taught = [(job.architecture, bool(job.teacher)) for job, _, _ in jobs[0][2:]]
    assert taught == [(GATE, True), ("unet-mini", True)]
    assert jobs[1] == [], "no new gate came after its thresholds"


def test_the_command_leaves_a_folder_of_weights_and_goes_on_where_it_was(tmp_path, monkeypatch):
    for name in ("unet-lite0", "unet-mini"):
        monkeypatch.setitem(BUILDERS, name, lambda: UNet(widths=(4, 8)))
    monkeypatch.setenv("LGG_RUNS", str(tmp_path / "runs"))
    data, out = write_folder(tmp_path / "data", 3), tmp_path / "weights"
    quick = Overrides(epochs=1, slices_per_epoch=8, batch_size=4, size=32, initialise="scratch")
    run = Kept(data, recipe="cpu", stages=1, out=out)
    models = ("unet-mini", "gate", "unet-lite0")
    everything(run, quick, models)
    assert {one.name for one in out.iterdir()} == set(models)
    assert load_config(out / "unet-mini").training["teacher"] == TEACHER
    assert load_config(out / GATE).training["teacher"] == TEACHER
    chosen, patients = load_config(out / TEACHER), index_folder(data)
    choose_on(TEACHER, patients, sides_of(patients, "patient")["validation"], out, out)
    assert load_config(out / TEACHER) == chosen, "its thresholds are those behind the gate trained after it"
    logs = tmp_path / "runs" / "all" / "unet-mini" / "stage1" / "log.jsonl"
    before, weights = logs.read_text(), (out / "unet-mini" / "model.safetensors").read_bytes()
    assert json.loads(before)["epoch"] == 1
    everything(replace(run, resume=True), quick, models)
    assert logs.read_text() == before
    assert (out / "unet-mini" / "model.safetensors").read_bytes() == weights
