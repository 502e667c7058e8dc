"""Ablations: one change at a time, nothing twice, and a table that compares patient by patient."""

import json
from dataclasses import replace

import pytest

from lgg.errors import DataError
from tests.tiny_data import write_folder
from train.ablation import BASE, VARIANTS, Run, ablate, load_runs, save_run
from train.recipes import RECIPES
from train.report.tables import ablation_table


def made(variant=BASE, volume=(0.5, 0.7), seed=0):
    volumes = {mode: list(volume) for mode in ("volume", "slice", "flair")}
    return Run(variant, seed, "cpu", 8, 128, 10.0, volumes, dict.fromkeys(volumes, 0.6))


@pytest.mark.parametrize("name", sorted(set(VARIANTS) - {BASE, "lite0"}))
def test_a_variant_changes_one_thing(name):
    variant = VARIANTS[name]
    for recipe in ("cpu", "gpu"):
        before = RECIPES[recipe][variant.architecture][0]
        after = variant.change(before)
        changed = [key for key in vars(before) if getattr(before, key) != getattr(after, key)]
        assert len(changed) + variant.taught == 1
    assert variant.against in VARIANTS
    assert VARIANTS[str(variant.against)].architecture == variant.architecture


def test_runs_are_kept_in_order(tmp_path):
    path = tmp_path / "ablations.json"
    for run in (made("no-ema"), made(), made("no-ema", seed=1)):
        save_run(run, path)
    assert load_runs(path) == [made(), made("no-ema"), made("no-ema", seed=1)]
    path.write_text("[{}]")
    with pytest.raises(DataError, match="not a file of ablations"):
        load_runs(path)


def test_the_change_is_counted_patient_by_patient_over_the_same_seeds():
    runs = [made(), made("no-ema", (0.3, 0.5)), made("no-ema", (0.5, 0.7), seed=1), made(seed=1)]
    table = ablation_table(runs)
    budget = "8 epochs at 128 px"
    assert f"| U-Net mini, the recipe as it is | {budget} | 0.600 |  | 0.600 |" in table
    assert f"| no average of the weights | {budget} | 0.500 | -0.100 (-0.100 to -0.100) | 0.600 |" in table
    assert "| 0.500 | 2 |" in table
    once = ablation_table([made(), made(volume=(0.1, 0.1), seed=1), made("no-ema", (0.3, 0.5))])
    assert "-0.200 (-0.200 to -0.200)" in once, "another seed of the recipe alone says nothing of the change"
    assert ablation_table([]) == ""
    alone = ablation_table([made("lite0-scratch")])
    assert " to " not in alone, "nothing to compare with yet"


def test_the_command_trains_judges_and_repeats_nothing(tmp_path, monkeypatch, capsys):
    data, record = write_folder(tmp_path / "data", 3), tmp_path / "ablations.json"
    monkeypatch.setenv("LGG_RUNS", str(tmp_path / "runs"))
    stages = RECIPES["cpu"]["unet-mini"]
    monkeypatch.setitem(RECIPES["cpu"], "unet-mini", (replace(stages[0], size=32, batch_size=4),))
    arguments = {"only": (BASE, "no-ema"), "recipe": "cpu", "epochs": 1, "slices_per_epoch": 8}
    ablate(data, record=record, **arguments)
    assert [row["variant"] for row in json.loads(record.read_text())] == [BASE, "no-ema"]
    run = load_runs(record)[0]
    assert (run.epochs, run.size) == (1, 32)
    assert all(0 <= dice <= 1 for values in run.volume.values() for dice in values)
    assert "no-ema, seed 0: volume mean" in capsys.readouterr().out
    ablate(data, record=record, **arguments)
    assert capsys.readouterr().out == ""
    with pytest.raises(DataError, match="'unet-lite0' was not trained on this run's training split alone"):
        ablate(data, ("teacher",), recipe="cpu", record=record)
    with pytest.raises(DataError, match="No such change: no-thing"):
        ablate(data, ("no-thing",), record=record)
