"""Scores of patients, measures over them, and the rows they become."""

import numpy as np
import pytest
import torch
from torch import nn

from lgg.cascade import Cascade
from lgg.errors import DataError
from lgg.preprocess import prepare
from lgg.types import RawOutput, Thresholds
from lgg.weights import ModelConfig
from tests.tiny_data import write_folder
from train.data.kaggle_3m import Volume, index_folder
from train.data.splits import fixed
from train.evaluation.evaluate import (
    choose_patients,
    evaluate_patients,
    headline,
    missing_sequences,
    protocol_of,
    rows_of,
    seen,
)
from train.evaluation.patient_metrics import GATE_MEASURES, SEGMENTATION, predict_volume, score, support


class BrightPart(nn.Module):
    """Segments what lies above a z-score of FLAIR; as a gate, asks whether anything does."""

    def __init__(self, gate: bool = False) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = 4 * (x[:, 1:2] - 2)
        return logits.amax((-2, -1)) if self.gate else logits


def bright_cascade(**thresholds: float) -> Cascade:
    config = ModelConfig("unet-mini", 48, Thresholds(**thresholds))
    return Cascade((BrightPart(gate=True), ModelConfig("gate", 48)), (BrightPart(), config), "cpu")


def evaluate(patients: dict, *arguments):
    """Rows and patients' results of a cascade that finds what is bright."""
    cascade = bright_cascade()
    results = evaluate_patients(cascade, patients, *arguments)
    configs = (cascade.gate_config, cascade.config)
    return rows_of(configs, results, protocol_of(cascade.config, patients)), results


def volume_of(masks: np.ndarray) -> Volume:
    return Volume("P", np.zeros((*masks.shape, 3), np.float32), masks)


def square(top: int, side: int) -> np.ndarray:
    mask = np.zeros((8, 8), bool)
    mask[top : top + side, :side] = True
    return mask


def scored(probability: np.ndarray, truth: np.ndarray, gate: tuple[float, ...], gating: str = "hard"):
    maps = RawOutput(
        np.array(gate, np.float32), probability.astype(np.float32), np.ones(len(gate), bool), truth, {}
    )
    return score(volume_of(truth), maps, Thresholds(gate=0.5, mask=0.5), gating, 0.5)


def test_measures_of_one_patient_worked_by_hand():
    # Half of the tumour found; an empty slice kept empty by the gate; an empty slice with 4 px invented.
    truth = np.stack([square(0, 4), np.zeros((8, 8), bool), np.zeros((8, 8), bool)])
    found = np.stack([square(0, 4) & (np.arange(8) < 2), square(0, 3), square(0, 2)])
    patient = scored(found, truth, (0.9, 0.1, 0.8))
    expected = {
        "slice_tumour": 2 * 8 / (8 + 16),
        "slice_all": (2 / 3 + 1 + 0) / 3,
        "slice_all_268_125": (268 * 0.5 + 125 * 2 / 3) / 393,
        "slice_all_iou": (8 / 16 + 1 + 0) / 3,
        "slice_tumour_iou": 8 / 16,
        "volume_mean": 2 * 8 / (8 + 4 + 16),
        "volume_median": 2 * 8 / (8 + 4 + 16),
        "volume_iou_mean": 8 / 20,
        "volume_iou_median": 8 / 20,
        "pooled": 2 * 8 / (8 + 4 + 16),
        "iou_pooled": 8 / 20,
        "empty_kept": 0.5,
        "false_pixels": 2,
        "hd95_left_out": 2,
    }
    for name, value in expected.items():
        assert SEGMENTATION[name]([patient]) == pytest.approx(value, abs=1e-5), name


def test_each_measure_says_how_many_it_is_about():
    """Two slices with tumour, one of them found; one without."""
    truth = np.stack([square(0, 4), square(0, 2), np.zeros((8, 8), bool)])
    found = np.stack([square(0, 4), np.zeros((8, 8), bool), np.zeros((8, 8), bool)])
    patients = [scored(found, truth, (0.9, 0.8, 0.1))]
    about = {
        1: ("volume_mean", "volume_iou_median", "hd95", "empty_kept", "false_pixels", "f1_empty"),
        2: ("slice_tumour", "slice_tumour_iou", "recall_tumour"),
        3: ("slice_all", "slice_all_268_125", "hd95_left_out", "auroc", "accuracy"),
    }
    for count, names in about.items():
        assert [name for name in names if support(patients, name) != count] == []


def test_volume_mean_and_pooled_differ_when_patients_differ_in_size():
    large, small = (np.stack([square(0, side)]) for side in (8, 2))
    patients = [scored(large, large, (1.0,)), scored(np.zeros_like(small), small, (1.0,))]
    assert SEGMENTATION["volume_mean"](patients) == pytest.approx(0.5, abs=1e-5)
    assert SEGMENTATION["pooled"](patients) == pytest.approx(2 * 64 / (2 * 64 + 4))


def test_gate_report_worked_by_hand():
    truth = np.stack([square(0, 2), square(0, 2), np.zeros((8, 8), bool), np.zeros((8, 8), bool)])
    patient = scored(truth, truth, (0.9, 0.4, 0.6, 0.1))  # tp, fn, fp, tn
    for name in ("accuracy", "precision_tumour", "recall_empty", "f1_tumour", "f1_empty"):
        assert GATE_MEASURES[name]([patient]) == pytest.approx(0.5), name
    assert GATE_MEASURES["auroc"]([patient]) == pytest.approx(0.75)


@pytest.mark.parametrize("mode", ["volume", "slice", "flair", "tta"])
def test_every_mode_finds_the_bright_tumours_of_made_up_patients(tmp_path, mode):
    patients = index_folder(write_folder(tmp_path, 2))
    rows, scores = evaluate(patients, [mode])
    values = {(row.cascade, row.measure): row.value for row in rows if row.model == "unet-mini"}
    assert values["none", "slice_tumour"] > 0.9
    assert all(row.protocol == "external" for row in rows)
    assert [result.scores["hard", mode].patient for result in scores] == list(patients)


def test_flair_mode_hides_the_other_sequences():
    volume = volume_of(np.stack([square(0, 4)] * 2))
    volume.pixels[..., 0] = 7
    volume.pixels[:, 2:6, 2:6, 1] = 3
    flair = np.repeat(volume.pixels[..., 1:2], 3, axis=3)
    expected = bright_cascade().raw(prepare(flair, "volume")).probability
    np.testing.assert_array_equal(predict_volume(bright_cascade(), volume, "flair").probability, expected)


def test_mirroring_leaves_a_mirror_symmetric_network_as_it_is(tmp_path):
    volume = volume_of(np.stack([square(0, 4)] * 2))
    volume.pixels[:] = np.random.default_rng(0).normal(5, 1, volume.pixels.shape)
    plain, mirrored = (predict_volume(bright_cascade(), volume, mode) for mode in ("volume", "tta"))
    np.testing.assert_allclose(plain.probability, mirrored.probability, atol=1e-5)


def test_headline_is_the_hard_gate_with_volume_statistics(tmp_path):
    patients = index_folder(write_folder(tmp_path, 3))
    rows, _ = evaluate(patients)
    own = headline([row for row in rows if row.model == "unet-mini"])
    assert {(row.cascade, row.mode) for row in own} == {("hard", "volume")}
    volume = next(row for row in own if row.measure == "volume_mean")
    assert volume.low <= volume.value <= volume.high
    assert volume.n == 3


def test_patients_that_a_network_was_trained_or_chosen_on_are_known():
    split = {"protocol": "patient", "train": ["A", "B"], "validation": ["C"], "test": ["D"]}
    configs = [ModelConfig("gate", 48, split=split), ModelConfig("unet-mini", 48)]
    assert seen(configs, ["A", "C", "D", "X"]) == ["A", "C"]
    assert seen(configs, ["D", "X"]) == []
    leaky = ModelConfig("unet-mini", 48, split={"protocol": "slice", "train": 2858, "validation": 358})
    assert seen([leaky], ["A"]) == []


def test_only_the_slices_asked_for_are_scored(tmp_path):
    patients = index_folder(write_folder(tmp_path, 2))
    keys = ["CASE_00_2", "CASE_00_3", "CASE_01_5"]
    rows, results = evaluate(patients, ["volume"], keys)
    assert [len(result.scores["none", "volume"].dice) for result in results] == [2, 1]
    assert {row.n for row in rows if row.measure == "slice_all"} == {3}


def test_every_pixel_is_counted_once_by_its_probability(tmp_path):
    patients = index_folder(write_folder(tmp_path, 1, slices=4))
    _, results = evaluate(patients, ["volume"])
    assert results[0].pixels.sum() == 4 * 48 * 48
    assert results[0].pixels[1].sum() == results[0].scores["none", "volume"].tumour_pixels
    assert results[0].pixels[1, 50:].sum() > 0.9 * results[0].pixels[1].sum()


def test_a_missing_sequence_is_one_that_flair_stands_in_for():
    volume = volume_of(np.zeros((2, 8, 8), bool))
    volume.pixels[:] = np.random.default_rng(0).normal(5, 1, volume.pixels.shape)
    assert missing_sequences(volume) == "none"
    volume.pixels[..., 2] = volume.pixels[..., 1]
    assert missing_sequences(volume) == "post"
    volume.pixels[0, ..., 0] = volume.pixels[0, ..., 1]
    assert missing_sequences(volume) == "post", "one slice of it is not a missing sequence"
    volume.pixels[..., 0] = volume.pixels[..., 1]
    assert missing_sequences(volume) == "pre and post"


def test_patients_are_chosen_by_side_fold_or_name():
    sides = fixed()["patient"]
    everybody = {name: [] for side in sides.values() for name in side}
    assert list(choose_patients(everybody, "test", sides)) == sides["test"]
    named = f"{sides['test'][0]}, {sides['test'][1]}"
    assert list(choose_patients(everybody, named, sides)) == sides["test"][:2]
    assert len(choose_patients(everybody, "fold0", sides)) == len(fixed()["folds"][0])
    with pytest.raises(DataError, match="nobody of that name"):
        choose_patients(everybody, "nobody of that name", sides)


def test_protocol_tells_strangers_and_leaky_weights_apart():
    known = fixed()["patient"]["test"]
    assert protocol_of(ModelConfig("unet", 128), known) == "patient"
    assert protocol_of(ModelConfig("unet", 128, split={"protocol": "slice"}), known) == "slice"
    assert protocol_of(ModelConfig("unet", 128), ["CASE_00"]) == "external"
    own = {"protocol": "patient", "train": ["CASE_01"], "test": ["CASE_00"]}
    assert protocol_of(ModelConfig("unet", 128, split=own), ["CASE_00"]) == "patient"
    assert protocol_of(ModelConfig("unet", 128, split=own), known) == "external"
