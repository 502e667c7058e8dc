"""From stages to weights: the best stage ships, all networks in order, folds that judge what is done."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lgg import metrics
from lgg.errors import DataError, LggError
from lgg.models import BUILDERS, GATE, build
from lgg.models.unet import UNet
from lgg.weights import ModelConfig, load_config, load_model, save_model
from tests.tiny_data import write_folder
from tests.train.evaluation.test_results import patient
from train import __main__ as command
from train import pipeline
from train.data.kaggle_3m import index_folder, load_volumes
from train.evaluation.results import Results, load_results, save_results
from train.fit.trainer import TrainResult
from train.folds import compare_runs
from train.pipeline import LOG_FILE, ORDER, TEACHER, Cohort, calibrate, run_job, splits_of, stages_of
from train.recipes import Job, Overrides, Run

ORDERED = ["unet-lite0", "gate", "unet", "unet-mini", "unet-resnext50"]
QUICK = Overrides(epochs=1, slices_per_epoch=8, batch_size=4, size=32, initialise="scratch")


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch) -> Path:
    """The folder of runs."""
    monkeypatch.setenv("LGG_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def cohort(tmp_path) -> Cohort:
    patients = index_folder(write_folder(tmp_path / "data", 3))
    return Cohort(patients, splits_of(patients, "patient"))


def job(name="run", recipe="cpu", **rest) -> Job:
    return Job(Path("data"), recipe, name, **rest)


class TestStages:
    @pytest.mark.parametrize(("scores", "kept"), [((0.9, 0.8), 1), ((0.8, 0.9), 2), ((0.9, 0.9), 2)])
    def test_the_better_one_ships(self, scores, kept, cohort, monkeypatch):
        """Two stages whose weights are told apart by the bias of the last layer."""
        begun: list[float | None] = []

        def train(architecture, recipe, splits, folder, *, start=None, **_):
            number = int(folder.name.removeprefix("stage"))
            begun.append(None if start is None else float(start["fc.bias"]))
            network = build(GATE)
            torch.nn.init.constant_(network.fc.bias, number)
            best = network.state_dict()
            return TrainResult(architecture, recipe, best, 1, scores[number - 1], "scratch", 60.0)

        monkeypatch.setattr(pipeline, "train", train)
        monkeypatch.setattr(pipeline, "calibrate", lambda *_: None)
        folder = run_job(GATE, job(overrides=Overrides(size=32)), cohort)
        model, config = load_model(folder)
        assert float(model.fc.bias.detach()) == kept
        assert len(config.recipe) == kept
        assert config.training["minutes"] == 2, "what was tried in vain took its time too"
        assert begun == [None, 1.0]

    @pytest.mark.parametrize(
        ("architecture", "recipe", "best_by"),
        [("unet-mini", "cpu", "slice_tumour"), ("gate", "cpu", "auroc"), ("unet-mini", "reference", "loss")],
    )
    def test_of_single_slices_are_not_compared_by_volumes(self, architecture, recipe, best_by):
        by_slice = job(recipe=recipe, split="slice")
        assert {stage.best_by for stage in stages_of(architecture, by_slice)} == {best_by}
        own = replace(by_slice, overrides=Overrides(best_by="loss"))
        assert {stage.best_by for stage in stages_of(architecture, own)} == {"loss"}

    @pytest.mark.parametrize("missing", ["split", "gate", "teacher"])
    def test_stay_where_a_restart_is_refused(self, missing, cohort, runs, tmp_path, monkeypatch):
        if missing == "split":
            cohort = replace(cohort, splits=cohort.splits | {"validation": []})
        if missing == "gate":
            monkeypatch.setattr(pipeline, "REPOSITORY_WEIGHTS", tmp_path / "nowhere")
        earlier = runs / "run" / "stage1" / "checkpoint.pt"
        earlier.parent.mkdir(parents=True)
        earlier.write_bytes(b"hours of work")
        teacher = tmp_path / "nobody" if missing == "teacher" else None
        with pytest.raises(LggError):
            run_job("unet-mini", job(teacher=teacher, restart=True), cohort)
        assert earlier.read_bytes() == b"hours of work"


class TestAll:
    @pytest.fixture
    def jobs(self, monkeypatch):
        """The jobs that were run, and the models that were calibrated once more."""
        run, again = [], []

        def run_job(architecture, own, cohort, gated):
            run.append((architecture, own))
            (own.out / architecture).mkdir(parents=True, exist_ok=True)
            return own.out / architecture

        monkeypatch.setattr(pipeline, "run_job", run_job)
        monkeypatch.setattr(pipeline, "calibrate_again", lambda folder, patients: again.append(folder.name))
        return run, again

    @pytest.mark.parametrize("recipe", ["gpu", "reference"])
    def test_lite0_comes_first_and_teaches_the_others_but_by_the_reference(self, recipe, jobs, runs):
        list(pipeline.train_all(job("all", recipe), Cohort({}, {})))
        run, again = jobs
        assert [name for name, _ in run] == ORDERED == list(ORDER)
        assert set(ORDER) == set(BUILDERS)
        weights = runs / "all" / "weights"
        teacher = None if recipe == "reference" else weights / TEACHER
        assert [own.teacher for _, own in run] == [None] + 4 * [teacher]
        assert {own.out for _, own in run} == {weights}
        assert [own.name for _, own in run] == [f"all/{name}" for name in ORDERED], "a folder for each"
        assert again == [TEACHER], "its thresholds were chosen before there was the gate"

    def test_some_alone_are_taught_by_what_was_trained_before(self, jobs, tmp_path):
        for models in (["unet-mini"], [TEACHER], ["unet-mini", GATE]):
            list(pipeline.train_all(job("all", "gpu", out=tmp_path / "mine"), Cohort({}, {}), models))
        taught = [(name, bool(own.teacher)) for name, own in jobs[0]]
        assert taught == [("unet-mini", False), (TEACHER, False), (GATE, True), ("unet-mini", True)]
        assert jobs[1] == [TEACHER], "its thresholds were chosen before there was the gate"

    def test_one_start_is_not_for_all(self, jobs, tmp_path):
        with pytest.raises(DataError, match="--start"):
            list(pipeline.train_all(job("all", start=tmp_path), Cohort({}, {})))

    def test_the_command_leaves_a_folder_of_weights_and_goes_on_where_it_was(
        self, runs, tmp_path, monkeypatch
    ):
        for name in ("unet-lite0", "unet-mini"):
            monkeypatch.setitem(BUILDERS, name, lambda: UNet(widths=(4, 8)))
        data, out = write_folder(tmp_path / "data", 3), tmp_path / "weights"
        asked = Job(data, "cpu", stages=1, overrides=QUICK, out=out)
        models = ("unet-mini", "gate", "unet-lite0")
        command.train_all(asked, models)
        assert {path.name for path in out.iterdir()} == set(models)
        assert all((out / name / "README.md").exists() for name in models), "each has its card"
        assert [load_config(out / name).training["teacher"] for name in models[:2]] == [TEACHER] * 2
        chosen = load_config(out / TEACHER)
        pipeline.calibrate_again(out / TEACHER, index_folder(data))
        assert load_config(out / TEACHER) == chosen, "its thresholds are those behind the gate"
        log = runs / "all" / "unet-mini" / "stage1" / "log.jsonl"
        before, weights = log.read_text(), (out / "unet-mini" / "model.safetensors").read_bytes()
        command.train_all(replace(asked, resume=True), models)
        assert log.read_text() == before
        assert (out / "unet-mini" / "model.safetensors").read_bytes() == weights


class TestCalibration:
    @pytest.fixture(autouse=True)
    def _tiny(self, monkeypatch):
        monkeypatch.setitem(BUILDERS, "unet-mini", lambda: UNet(widths=(4, 8)))

    def test_again_reads_the_models_validation_split_alone(self, tmp_path, monkeypatch):
        """Nothing of another patient is even read: their files are gone."""
        patients = index_folder(write_folder(tmp_path / "data", 4))
        for name in ("CASE_00", "CASE_03"):
            shutil.rmtree(tmp_path / "data" / name)
        read = []
        monkeypatch.setattr(pipeline, "calibrate", lambda folder, volumes, gate: read.extend(volumes))
        split = {
            "protocol": "patient",
            "train": ["CASE_00"],
            "validation": ["CASE_01", "CASE_02", "stranger"],
        }
        save_model(tmp_path / GATE, build(GATE), ModelConfig(GATE, 32, split=split))
        pipeline.calibrate_again(tmp_path / GATE, patients)
        assert [volume.patient for volume in read] == ["CASE_01", "CASE_02"]

    def test_puts_into_the_config_what_it_chooses(self, tmp_path, cohort):
        """The gate's threshold and temperature, then the segmenter's six, which follow from its gate."""
        torch.manual_seed(0)  # of an untrained gate any threshold may be the best, the usual one too
        volumes, gate = load_volumes(cohort.patients, list(cohort.patients)), None
        for name in (GATE, "unet-mini"):
            save_model(tmp_path / name, build(name), ModelConfig(name, 32))
            calibrate(tmp_path / name, volumes, gate)
            assert load_config(tmp_path / name).thresholds != ModelConfig(name, 32).thresholds
            gate = load_model(tmp_path / GATE)
        assert load_config(tmp_path / GATE).temperature != 1
        assert load_config(tmp_path / "unet-mini").series_thresholds is not None


class TestAverage:
    @pytest.fixture
    def members(self, tmp_path, cohort, monkeypatch):
        """Folders of two trainings of one network."""
        monkeypatch.setitem(BUILDERS, "unet-mini", lambda: UNet(widths=(4, 8)))
        monkeypatch.setattr(pipeline, "calibrate", lambda *_: None)
        split = {"protocol": "patient"} | {str(side): ids for side, ids in cohort.splits.items()}
        for number, name in enumerate(("first", "second"), 1):
            torch.manual_seed(number)
            training = {"recipe": f"cpu (seed {number})", "minutes": number}
            config = ModelConfig("unet-mini", 32, split=split, training=training, metrics={"old": 1})
            save_model(tmp_path / name, build("unet-mini"), config)
        return [tmp_path / "first", tmp_path / "second"]

    def test_is_the_mean_of_the_weights_and_says_whose(self, members, cohort, tmp_path):
        made, config = load_model(pipeline.average(members, cohort.patients, tmp_path / "out"))
        states = [load_model(folder)[0].state_dict() for folder in members]
        for name, value in made.state_dict().items():
            mean = (states[0][name] + states[1][name]) / 2 if value.is_floating_point() else states[0][name]
            torch.testing.assert_close(value, mean, rtol=1e-3, atol=1e-6)
        other = load_config(members[1])
        averaged = [{"sha256": other.sha256, "recipe": "cpu (seed 2)", "minutes": 2}]
        assert config.training == load_config(members[0]).training | {"averaged": averaged}
        assert config.metrics == {}, "those of the first are not the mean's"

    def test_of_other_networks_or_patients_is_refused(self, members, cohort, tmp_path):
        config = load_config(members[1])
        for other in (replace(config, input_size=64), replace(config, split=config.split | {"train": []})):
            save_model(members[1], build("unet-mini"), other)
            with pytest.raises(DataError, match="same split"):
                pipeline.average(members, cohort.patients, tmp_path / "out")
        for few in ([], members[:1]):
            with pytest.raises(DataError, match="two or more"):
                pipeline.average(few, cohort.patients, tmp_path / "out")
        assert not (tmp_path / "out").exists()


class TestFolds:
    """With networks of a few weights, on ten patients of whom each fold holds two."""

    @pytest.fixture
    def folds(self, tmp_path, monkeypatch):
        """The command, as it is called again and again."""
        monkeypatch.setitem(BUILDERS, "unet-mini", lambda: UNet(widths=(4, 8)))
        # The search for thresholds takes longer than all the rest, and has its own tests.
        monkeypatch.setattr(pipeline, "calibrate", lambda *_: None)
        # Nor does it take a thousand draws to tell an interval.
        monkeypatch.setattr(metrics, "REPEATS", 20)
        data = write_folder(tmp_path / "data", 10, slices=4)

        def folds(name="folds", seed=0, **options):
            run = Run(data, "cpu", name, stages=1, overrides=replace(QUICK, seed=seed))
            command.folds(("unet-mini",), run, **options)

        return folds

    def test_print_and_keep_the_patients_of_those_that_are_asked_for(self, folds, runs, capsys):
        folds(only=(0, 1))
        printed = capsys.readouterr().out
        assert len({line.split()[1] for line in printed.splitlines() if "CASE_" in line}) == 4
        assert "no gate" in printed
        assert not list(runs.rglob(GATE)), "no gate was asked for"
        for number in (0, 1):
            kept = load_results(runs / "folds" / f"fold{number}" / "results.json")
            assert {row.cascade for row in kept.rows} == {"none"}
            assert {row.mode for row in kept.rows} == {"volume", "slice", "flair"}
            split = load_config(runs / "folds" / f"fold{number}" / "weights" / "unet-mini").split
            assert {row.patient for row in kept.patients} == set(split["test"])
            assert not set(split["test"]) & {*split["train"], *split["validation"]}
        assert not (runs / "folds" / "results.json").exists()

    def test_are_not_trained_again_and_refuse_another_recipe(self, folds, runs, monkeypatch):
        folds(only=(0,))
        monkeypatch.setattr(pipeline, "run_job", lambda *_, **__: pytest.fail("it was done before"))
        folds(only=(0,))
        with pytest.raises(DataError, match="another recipe"):
            folds(only=(0,), seed=1)
        (runs / "folds" / "fold0" / "weights" / "unet-mini" / LOG_FILE).unlink()
        with pytest.raises(pytest.fail.Exception):
            folds(only=(0,))

    def test_behind_their_own_gates_give_all_cascades(self, folds, runs):
        folds(only=(2,), gate=True)
        kept = load_results(runs / "folds" / "fold2" / "results.json")
        assert {row.cascade for row in kept.rows} == {"none", "hard", "soft"}
        assert [len(row.tumour) for row in kept.gates] == [2 * 4]

    @pytest.mark.slow
    def test_of_two_runs_differ_patient_by_patient(self, folds, capsys):
        folds(only=(0,))
        folds("same", only=(0,), compare="folds")
        line = next(row for row in capsys.readouterr().out.splitlines() if "less that of folds" in row)
        assert "+0.0000 [+0.0000, +0.0000] n=2" in line
        with pytest.raises(DataError, match="judge it first"):
            folds(only=(0,), compare="nobody")

    def test_all_together_judge_every_patient(self, folds, runs, tmp_path):
        folds(record=tmp_path / "record.json")
        for path in (runs / "folds" / "results.json", tmp_path / "record.json"):
            stored = json.loads(path.read_text())
            assert sorted(row["patient"] for row in stored["patients"]) == [
                f"CASE_{n:02d}" for n in range(10)
            ]
            assert {row["protocol"] for row in stored["rows"]} == {"fold"}

    def test_that_are_not_all_are_not_recorded(self, folds, tmp_path):
        with pytest.raises(DataError, match="--only"):
            folds(only=(0,), record=tmp_path / "results.json")


def test_paired_differences_are_those_of_patients_that_both_runs_have(runs):
    ours = [patient("P_a", 0.9), patient("P_b", 0.7), patient("P_c", 0.1), patient("P_a", 0.5, "unet")]
    theirs = [[patient("P_a", 0.8)], [patient("P_b", 0.7), patient("P_d", 0.4)]]
    for number, rows in enumerate(theirs):
        save_results(Results(patients=rows), runs / "theirs" / f"fold{number}" / "results.json")
    found = compare_runs(ours, "theirs", (0, 1))
    assert found == {"unet-mini": pytest.approx((0.05, 0, 0.1, 2))}
