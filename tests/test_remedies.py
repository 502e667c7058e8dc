"""Remedies after the networks: what each does to a series, and that nobody's own patient chooses for him."""

from dataclasses import replace

import numpy as np
import pytest

from lgg.errors import DataError
from lgg.prediction import Maps
from tests.tiny_data import write_folder
from tests.tiny_weights import use_tiny_networks, write_weights
from train.measure import remedies
from train.remedies import (
    BASE,
    REMEDIES,
    Outcome,
    average,
    hysteresis,
    largest,
    load_outcomes,
    remedy_table,
    save_outcomes,
    try_remedy,
)

NAMES = sorted(REMEDIES)


def series(truth, sure=0.9, unsure=0.1, gate=None):
    """Answers to a series that find exactly `truth`, and a gate that agrees unless told otherwise."""
    probability = np.where(truth, sure, unsure).astype(np.float32)
    agrees = np.where(truth.any((1, 2)), 0.9, 0.1) if gate is None else np.asarray(gate)
    return Maps(agrees.astype(np.float32), probability, np.ones(len(truth), bool), np.ones_like(truth), {})


@pytest.fixture
def truth():
    """Twelve slices of 16×16 pixels, a tumour through four of them."""
    masks = np.zeros((12, 16, 16), bool)
    masks[4:8, 4:10, 4:10] = True
    return masks


def test_averaging_lifts_a_dip_between_sure_neighbours_and_keeps_what_is_even():
    lifted = average(0.5)(np.array([0.9, 0.2, 0.9], np.float32))
    assert lifted[1] > 0.5
    assert lifted.dtype == np.float32
    even = np.full((3, 2, 2), 0.3, np.float32)
    np.testing.assert_allclose(average(0.5)(even), even, rtol=1e-5)
    assert np.isfinite(average(1)(np.array([0, 1], np.float32))).all(), "the logits of 0 and 1 are not"
    assert average(0.5)(np.array([0.7], np.float32))[0] == pytest.approx(0.7), "a lone slice has no neighbour"


def test_hysteresis_keeps_the_unsure_that_touch_the_sure_also_from_slice_to_slice():
    probability = np.zeros((3, 8, 8), np.float32)
    probability[0, 2, 2], probability[1, 2, 3], probability[2, 6, 6] = 0.8, 0.4, 0.4
    found = hysteresis(probability, 0.5)
    np.testing.assert_array_equal(np.argwhere(found), [[0, 2, 2], [1, 2, 3]], "no sure one is near the last")
    assert not hysteresis(np.zeros((3, 8, 8), np.float32), 0.5).any()


def test_the_largest_component_is_kept_alone(truth):
    both = truth.copy()
    both[9:11, 12, 12] = True
    np.testing.assert_array_equal(largest(both), truth)
    assert not largest(np.zeros_like(truth)).any()


@pytest.mark.parametrize("name", NAMES)
def test_no_remedy_harms_a_perfect_answer(name, truth):
    found = try_remedy(name, "unet", [series(truth)] * 3, [truth] * 3)
    assert (found.model, found.remedy, len(found.volume)) == ("unet", name, 3)
    assert found.aim > 0.85
    if name != "pixels":  # which blurs the tumour's ends
        assert (found.volume, found.slice_tumour, found.empty_kept) == ([1, 1, 1], 1, 1)


def test_the_gates_neighbours_save_a_slice_that_it_alone_would_lose(truth):
    gate = np.where(truth.any((1, 2)), 0.95, 0.05)
    gate[5] = 0.04
    answers = series(truth, gate=gate)
    # What lies beside the tumour is outlined too, so that a gate of 0 does not pay.
    answers = replace(
        answers, probability=np.maximum(answers.probability, np.roll(answers.probability, 4, 0))
    )
    alone, helped = (try_remedy(name, "unet", [answers] * 2, [truth] * 2) for name in (BASE, "gate"))
    assert helped.slice_tumour > alone.slice_tumour


def test_a_patients_own_answers_do_not_choose_his_thresholds(truth):
    """Two want pixels from 0.65 on alone, one from 0.35 on: by their threshold nothing of his is found."""
    strict = series(truth, sure=0.65, unsure=0.55)
    mild = series(truth, sure=0.35, unsure=0.1)
    found = try_remedy(BASE, "unet", [strict, strict, mild], [truth] * 3)
    assert found.volume[2] < 0.01


@pytest.mark.parametrize("everywhere", [True, False])
def test_slices_all_of_one_kind_are_refused(everywhere):
    alike = np.full((12, 16, 16), everywhere)
    with pytest.raises(DataError, match="Slices with tumour and slices without are needed"):
        try_remedy(BASE, "unet", [series(alike)] * 2, [alike] * 2)


def test_outcomes_replace_those_of_the_same_network_and_make_a_table(tmp_path):
    path = tmp_path / "remedies.json"
    outcome = Outcome("unet-lite0", BASE, [0.5, 1.0], 0.75, 1.0)
    save_outcomes([outcome], path)
    save_outcomes([replace(outcome, model="unet")], path)
    save_outcomes([replace(outcome, empty_kept=0.5)], path)
    kept = load_outcomes(path)
    assert kept == [replace(outcome, model="unet"), replace(outcome, empty_kept=0.5)]
    assert remedy_table(kept).splitlines()[2:] == [
        "| U-Net | nothing: as a series is read | 0.750 | 0.750 | 1.000 | 0.875 |",
        "| U-Net Lite0 | nothing: as a series is read | 0.750 | 0.750 | 0.500 | 0.625 |",
    ]
    assert remedy_table([]) == ""
    path.write_text("[1]")
    with pytest.raises(DataError, match=r"remedies\.json is not a file of remedies"):
        load_outcomes(path)


def test_the_command_tries_each_remedy_on_the_validation_patients(tmp_path, monkeypatch, capsys):
    use_tiny_networks(monkeypatch)
    data, record = write_folder(tmp_path / "data", 4), tmp_path / "remedies.json"
    weights = write_weights(tmp_path / "weights", split={"validation": ["CASE_01", "CASE_03"]})
    remedies(data, weights=weights, record=record)
    found = load_outcomes(record)
    assert [(one.model, one.remedy) for one in found] == [
        (model, remedy) for model in ("unet", "unet-mini") for remedy in REMEDIES
    ]
    assert all(len(one.volume) == 2 for one in found)
    assert "| U-Net mini | only the largest component kept |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("split", "refusal"),
    [
        ({"protocol": "slice"}, "they are no series"),
        ({"validation": ["CASE_01"]}, "two or more are needed"),
    ],
)
def test_weights_without_two_whole_validation_patients_are_refused(split, refusal, tmp_path, monkeypatch):
    use_tiny_networks(monkeypatch)
    data, record = write_folder(tmp_path / "data", 2), tmp_path / "remedies.json"
    weights = write_weights(tmp_path / "weights", ("gate", "unet"), split=split)
    with pytest.raises(DataError, match=refusal):
        remedies(data, weights=weights, record=record)
    assert not record.exists()
