"""The training loop on a tiny network: what it writes, that it learns, and that a resume is no restart."""

import json
import signal
import sqlite3
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import train.fit.trainer
from lgg.errors import DataError
from lgg.models import BUILDERS, build
from lgg.models.unet import UNet
from train.data.dataset import volume_slices
from train.data.kaggle_3m import Volume
from train.fit.checkpoint import LOG, draw_curves, read_log, tracking
from train.fit.trainer import Stopped, make_schedule
from train.recipes import PLAIN, Recipe

RECIPE = Recipe(epochs=2, slices_per_epoch=24, batch_size=8, size=32, lr=1e-2, seed=3)


class TinyGate(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.ELU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 1))


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch):
    monkeypatch.setitem(BUILDERS, "unet-mini", lambda: UNet(widths=(4, 8)))
    monkeypatch.setitem(BUILDERS, "gate", TinyGate)
    # Drawing takes longer than a tiny epoch; the test of the curves draws them itself.
    monkeypatch.setattr(train.fit.trainer, "draw_curves", lambda folder: None)


def slices(count, seed):
    """A patient whose every second slice holds a bright blob: its tumour."""
    random = np.random.default_rng(seed)
    pixels, masks = random.normal(100, 10, (count, 32, 32, 3)), np.zeros((count, 32, 32), bool)
    for number in range(0, count, 2):
        row, column = random.integers(4, 20, 2)
        masks[number, row : row + 8, column : column + 8] = True
    pixels[..., 1] += 80 * masks
    pixels[:, :3] = 0
    return volume_slices(Volume("CASE", pixels.astype(np.float32), masks), 0, 32)


SPLITS = slices(24, 0), slices(8, 1)


def run(folder, architecture="unet-mini", recipe=RECIPE, splits=SPLITS, **options):
    """Train, and give the last checkpoint, which holds the result."""
    result = train.fit.trainer.train(architecture, recipe, splits, folder, **options)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    for name in ("best_epoch", "best_score", "initialised", "architecture"):
        assert getattr(result, name) == state[name]
    same(result.best, state["best"])
    return state


def weights(state):
    return {name.removeprefix("network."): value for name, value in state["learner"].items()}


def same(state, other):
    assert state.keys() == other.keys()
    for name, value in state.items():
        assert torch.equal(value, other[name]), name


class TestRun:
    def test_leaves_a_checkpoint_a_log_and_curves(self, monkeypatch, tmp_path):
        monkeypatch.setattr(train.fit.trainer, "draw_curves", draw_curves)
        state = run(tmp_path / "run")
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
            "checkpoint.pt",
            "curves.png",
            "log.jsonl",
        ]
        rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
        assert [row["epoch"] for row in rows] == [1, 2]
        for row in rows:
            assert {"train_loss", "val_loss", "val_dice", "val_slice_tumour", "seconds"} <= set(row)
        with Image.open(tmp_path / "run" / "curves.png") as curves:
            assert curves.size[0] > 500
        assert state["epoch"] == 2
        assert state["seconds"] > 0

    @pytest.mark.parametrize("best_by", ["dice", "last"])
    def test_keeps_the_best_epoch(self, tmp_path, best_by):
        state = run(tmp_path / "run", recipe=replace(RECIPE, epochs=4, best_by=best_by))
        rows = read_log(tmp_path / "run" / LOG)
        scores = [row["val_dice" if best_by == "dice" else "epoch"] for row in rows]
        assert state["best_epoch"] == 1 + int(np.argmax(scores))
        assert state["best_score"] == pytest.approx(max(scores), abs=1e-5)
        model = build("unet-mini")
        model.load_state_dict(state["best"])

    @pytest.mark.parametrize(
        ("architecture", "loss", "best_by"),
        [("unet-mini", "dice_bce", "dice"), ("unet-mini", "bce", "loss"), ("gate", "bce", "auroc")],
    )
    def test_learns_an_easy_task(self, tmp_path, architecture, loss, best_by):
        recipe = replace(RECIPE, epochs=10, slices_per_epoch=48, lr=3e-2, ema=0, augmentation=PLAIN)
        run(tmp_path / "run", architecture, replace(recipe, loss=loss, best_by=best_by))
        rows = read_log(tmp_path / "run" / LOG)
        assert rows[-1]["train_loss"] < 0.6 * rows[0]["train_loss"]
        assert rows[-1]["val_loss"] < rows[0]["val_loss"]
        assert rows[-1]["val_auroc" if architecture == "gate" else "val_dice"] > 0.8

    def test_averages_the_weights_of_its_steps(self, monkeypatch, tmp_path):
        steps = []
        monkeypatch.setattr(
            train.fit.trainer, "save_checkpoint", lambda folder, state: steps.append(dict(state))
        )
        train.fit.trainer.train(
            "unet-mini", replace(RECIPE, slices_per_epoch=8, ema=0.25), SPLITS, tmp_path / "run"
        )
        first, second = (weights(step)["head.weight"] for step in steps)
        average = steps[-1]["average"]["module.head.weight"]
        assert not torch.equal(first, second)
        torch.testing.assert_close(average, 0.25 * first + 0.75 * second)

    @pytest.mark.parametrize("ema", [0, 0.5])
    def test_keeps_the_average_or_without_one_the_weights(self, tmp_path, ema):
        state = run(tmp_path / "run", recipe=replace(RECIPE, epochs=1, ema=ema))
        assert torch.equal(state["best"]["head.weight"], weights(state)["head.weight"]) == (ema == 0)

    def test_tells_a_tracker_what_it_logs(self, tmp_path):
        rows = []
        run(tmp_path / "run", watch=rows.append)
        assert rows == read_log(tmp_path / "run" / LOG)

    def test_repeats_itself_by_its_seed(self, tmp_path):
        one, two = (run(tmp_path / name) for name in ("one", "two"))
        same(one["learner"], two["learner"])
        other = weights(run(tmp_path / "three", recipe=replace(RECIPE, seed=4)))
        assert not torch.equal(other["head.weight"], weights(one)["head.weight"])

    def test_begins_with_the_weights_given(self, tmp_path):
        start = build("unet-mini").state_dict()
        frozen = replace(RECIPE, epochs=1, lr=1e-12, weight_decay=0)
        state = run(tmp_path / "run", recipe=frozen, start={k: v.clone() for k, v in start.items()})
        assert state["initialised"] == "weights"
        torch.testing.assert_close(weights(state)["head.weight"], start["head.weight"], atol=1e-6, rtol=0)


class TestResume:
    # By the loss, each epoch is better than the one before, so `best` changes after the resume.
    RECIPE = replace(RECIPE, epochs=3, best_by="loss")

    def interrupt(self, monkeypatch, folder, call, epoch):
        """Run until `call` of train.fit.trainer, in this epoch, dies before it has done anything."""
        calls, kept = [], getattr(train.fit.trainer, call)

        def dying(*arguments):
            calls.append(1)
            if len(calls) == epoch:
                raise KeyboardInterrupt
            return kept(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(train.fit.trainer, call, dying)
            with pytest.raises(KeyboardInterrupt):
                run(folder, recipe=self.RECIPE)

    @pytest.mark.parametrize("call", ["validate", "save_checkpoint", "append_log", "draw_curves"])
    def test_gives_what_an_uninterrupted_run_gives(self, monkeypatch, tmp_path, call):
        whole = run(tmp_path / "whole", recipe=self.RECIPE)
        self.interrupt(monkeypatch, tmp_path / "cut", call, epoch=2)
        resumed = run(tmp_path / "cut", recipe=self.RECIPE, resume=True)
        same(resumed["learner"], whole["learner"])
        same(resumed["best"], whole["best"])
        same(resumed["average"], whole["average"])
        assert resumed["best_epoch"] == whole["best_epoch"] == resumed["epoch"] == 3
        logs = [
            [
                {name: value for name, value in row.items() if name not in ("seconds", "waiting")}
                for row in read_log(tmp_path / name / LOG)
            ]
            for name in ("whole", "cut")
        ]
        assert logs[0] == logs[1]

    def test_of_a_finished_run_trains_no_more(self, tmp_path):
        done = run(tmp_path / "run")
        same(run(tmp_path / "run", resume=True)["learner"], done["learner"])

    def test_without_a_checkpoint_is_refused(self, tmp_path):
        with pytest.raises(DataError, match=r"There is no .*run/checkpoint\.pt") as caught:
            run(tmp_path / "run", resume=True)
        assert str(tmp_path) not in str(caught.value)

    def test_with_another_recipe_network_data_set_or_teacher_is_refused(self, tmp_path):
        begun = {"teacher": build("unet-mini")}
        run(tmp_path / "run", **begun)
        run(tmp_path / "run", **begun, resume=True)
        gate = {"architecture": "gate", "recipe": replace(RECIPE, loss="bce", best_by="auroc")}
        for what, change in (
            ("recipe", {"recipe": replace(RECIPE, lr=1e-3)}),
            ("recipe", {"recipe": replace(RECIPE, augmentation=PLAIN)}),
            ("architecture", gate),
            ("data set", {"splits": (slices(23, 0), SPLITS[1])}),
            ("teacher", {"teacher": build("unet-mini")}),
            ("teacher", {"teacher": None}),
        ):
            with pytest.raises(DataError, match=f"another {what}"):
                run(tmp_path / "run", **begun | change, resume=True)

    def test_a_stop_in_the_last_epochs_validation_is_heard(self, monkeypatch, tmp_path):
        """Or the stage after it would begin, for hours, although somebody asked to stop."""
        validate = train.fit.trainer.validate

        def interrupted(*arguments):
            # As Python would, not by a signal: if nobody listened, that would end the tests' own process.
            signal.getsignal(signal.SIGTERM)(signal.SIGTERM, None)
            return validate(*arguments)

        monkeypatch.setattr(train.fit.trainer, "validate", interrupted)
        with pytest.raises(Stopped, match="after epoch 1 of 1"):
            run(tmp_path / "run", recipe=replace(RECIPE, epochs=1))
        monkeypatch.setattr(train.fit.trainer, "validate", validate)
        assert run(tmp_path / "run", recipe=replace(RECIPE, epochs=1), resume=True)["epoch"] == 1

    def test_a_criterion_that_validation_does_not_measure_is_refused_before_training(self, tmp_path):
        with pytest.raises(DataError, match="best-by"):
            run(tmp_path / "run", recipe=replace(RECIPE, best_by="auroc"))
        with pytest.raises(DataError, match="best-by"):
            run(tmp_path / "run", "gate", replace(RECIPE, loss="bce", best_by="slice_tumour"))
        assert not (tmp_path / "run").exists()


class TestSchedule:
    def rates(self, steps, **recipe):
        """The learning rate of each step of an epoch."""
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
        recipe = Recipe(lr=1.0, epochs=1, slices_per_epoch=8 * steps, batch_size=8, **recipe)
        schedule, rates = make_schedule(optimizer, recipe), []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if len(rates) < steps:
                schedule.step()
        return rates

    def test_constant_stays(self):
        assert self.rates(6, schedule="constant") == [1] * 6

    @pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 14])
    @pytest.mark.parametrize("warm_up", [0, 0.15, 1])
    def test_one_cycle_rises_and_ends_near_zero_over_however_few_steps(self, steps, warm_up):
        rates = self.rates(steps, warm_up=warm_up)
        assert rates[-1] < 0.01
        if steps >= 4:
            assert max(rates) > 0.8
            assert rates[0] < 0.1


def test_tracking_keeps_each_epochs_figures_on_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    trackio = pytest.importorskip("trackio")
    monkeypatch.setattr(trackio.utils, "TRACKIO_DIR", tmp_path, raising=False)
    with tracking("a-run", {"lr": 0.1}, wanted=True) as watch:
        watch({"epoch": 1, "val_dice": 0.25})
        watch({"epoch": 2, "val_dice": 0.5})
    databases = list(tmp_path.rglob("*.db"))
    assert databases
    with sqlite3.connect(databases[0]) as database:
        rows = database.execute("select metrics from metrics").fetchall()
    assert any("0.5" in str(row) for row in rows)


def test_tracking_without_trackio_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(DataError, match="pip install trackio"), tracking("a-run", {}, wanted=True):
        pass
