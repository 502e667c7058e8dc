"""Scores of patients, measures over them, and the rows they become."""

import numpy as np
import pytest
import torch
from torch import nn

from lgg.cascade import Cascade, Maps
from lgg.errors import DataError
from lgg.weights import ModelConfig, Thresholds
from tests.tiny_data import write_folder
from train.evaluate import choose_patients, evaluate, headline, protocol_of, summary
from train.index import Volume, index_folder
from train.score import GATE_MEASURES, SEGMENTATION, examine, score
from train.splits import fixed
from train.thresholds import best, gate_threshold, segmenter_thresholds


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


def volume_of(masks: np.ndarray) -> Volume:
    shape = masks.shape
    return Volume("P", np.zeros((*shape, 3), np.float32), masks, tuple(range(1, shape[0] + 1)))


def square(top: int, side: int) -> np.ndarray:
    mask = np.zeros((8, 8), bool)
    mask[top : top + side, :side] = True
    return mask


def scored(probability: np.ndarray, truth: np.ndarray, gate: tuple[float, ...], gating: str = "hard"):
    maps = Maps(
        np.array(gate, np.float32), probability.astype(np.float32), np.ones(len(gate), bool), truth, {}
    )
    return score(volume_of(truth), maps, Thresholds(gate=0.5, mask=0.5), gating)


def test_measures_of_one_patient_worked_by_hand():
    # Half of the tumour found; an empty slice kept empty by the gate; an empty slice with 4 px invented.
    truth = np.stack([square(0, 4), np.zeros((8, 8), bool), np.zeros((8, 8), bool)])
    found = np.stack([square(0, 4) & (np.arange(8) < 2), square(0, 3), square(0, 2)])
    one = scored(found, truth, (0.9, 0.1, 0.8))
    expected = {
        "slice_tumour": 2 * 8 / (8 + 16),
        "slice_all": (2 / 3 + 1 + 0) / 3,
        "slice_all_268_125": (268 * 0.5 + 125 * 2 / 3) / 393,
        "volume_mean": 2 * 8 / (8 + 4 + 16),
        "pooled": 2 * 8 / (8 + 4 + 16),
        "iou_pooled": 8 / 20,
        "empty_kept": 0.5,
        "false_pixels": 2,
        "hd95_left_out": 2,
    }
    for name, value in expected.items():
        assert SEGMENTATION[name]([one]) == pytest.approx(value, abs=1e-5), name


def test_volume_mean_and_pooled_differ_when_patients_differ_in_size():
    large, small = (np.stack([square(0, side)]) for side in (8, 2))
    patients = [scored(large, large, (1.0,)), scored(np.zeros_like(small), small, (1.0,))]
    assert SEGMENTATION["volume_mean"](patients) == pytest.approx(0.5, abs=1e-5)
    assert SEGMENTATION["pooled"](patients) == pytest.approx(2 * 64 / (2 * 64 + 4))


def test_gate_report_worked_by_hand():
    truth = np.stack([square(0, 2), square(0, 2), np.zeros((8, 8), bool), np.zeros((8, 8), bool)])
    one = scored(truth, truth, (0.9, 0.4, 0.6, 0.1))  # tp, fn, fp, tn
    for name in ("accuracy", "precision_tumour", "recall_empty", "f1_tumour", "f1_empty"):
        assert GATE_MEASURES[name]([one]) == pytest.approx(0.5), name
    assert GATE_MEASURES["auroc"]([one]) == pytest.approx(0.75)


@pytest.mark.parametrize("mode", ["volume", "slice", "flair", "tta"])
def test_every_mode_finds_the_bright_tumours_of_made_up_patients(tmp_path, mode):
    patients = index_folder(write_folder(tmp_path, 2))
    rows, scores = evaluate(bright_cascade(), patients, [mode])
    values = {(row.cascade, row.measure): row.value for row in rows if row.model == "unet-mini"}
    assert values["none", "slice_tumour"] > 0.9
    assert all(row.protocol == "external" for row in rows)
    assert len(scores) == (2 if mode == "volume" else 0), "patients are summed up in the headline mode only"


def test_flair_mode_hides_the_other_sequences():
    volume = volume_of(np.stack([square(0, 4)] * 2))
    volume.pixels[..., 0] = 7
    volume.pixels[:, 2:6, 2:6, 1] = 3
    flair = np.repeat(volume.pixels[..., 1:2], 3, axis=3)
    expected = bright_cascade().maps(flair, "volume").probability
    np.testing.assert_array_equal(examine(bright_cascade(), volume, "flair").probability, expected)


def test_mirroring_leaves_a_mirror_symmetric_network_as_it_is(tmp_path):
    volume = volume_of(np.stack([square(0, 4)] * 2))
    volume.pixels[:] = np.random.default_rng(0).normal(5, 1, volume.pixels.shape)
    plain, mirrored = (examine(bright_cascade(), volume, mode) for mode in ("volume", "tta"))
    np.testing.assert_allclose(plain.probability, mirrored.probability, atol=1e-5)


def test_headline_is_the_hard_gate_with_volume_statistics_and_goes_into_the_summary(tmp_path):
    patients = index_folder(write_folder(tmp_path, 3))
    rows, scores = evaluate(bright_cascade(), patients)
    own = [row for row in rows if row.model == "unet-mini"]
    kept = summary(own, scores)
    assert {(row.cascade, row.mode) for row in headline(own)} == {("hard", "volume")}
    assert set(kept["patients"]) == set(patients)
    low, value, high = (kept["measures"]["volume_mean"][name] for name in ("low", "value", "high"))
    assert low <= value <= high


def test_patients_are_chosen_by_side_fold_or_name():
    test_side = fixed()["patient"]["test"]
    everybody = {name: [] for side in fixed()["patient"].values() for name in side}
    assert list(choose_patients(everybody, "test")) == test_side
    assert list(choose_patients(everybody, f"{test_side[0]}, {test_side[1]}")) == test_side[:2]
    assert len(choose_patients(everybody, "fold0")) == len(fixed()["folds"][0])
    with pytest.raises(DataError, match="nobody of that name"):
        choose_patients(everybody, "nobody of that name")


def test_protocol_tells_strangers_and_leaky_weights_apart():
    known = fixed()["patient"]["test"]
    assert protocol_of(ModelConfig("unet", 128), known) == "patient"
    assert protocol_of(ModelConfig("unet", 128, split={"protocol": "slice"}), known) == "slice"
    assert protocol_of(ModelConfig("unet", 128), ["CASE_00"]) == "external"


def test_of_equally_good_thresholds_the_middle_one_is_taken():
    assert best([1, 2, 3, 4, 5], [0, 1, 1, 1, 0]) == 3


def test_thresholds_found_on_volumes_separate_them(tmp_path):
    from train.index import load_volume

    volumes = [load_volume(slices) for slices in index_folder(write_folder(tmp_path, 2)).values()]
    threshold = gate_threshold(BrightPart(gate=True), ModelConfig("gate", 48), volumes)
    cascade = bright_cascade(gate=threshold)
    chosen = segmenter_thresholds(cascade, volumes)
    for volume in volumes:
        maps = examine(cascade, volume, "volume")
        assert ((maps.gate >= threshold) == volume.tumour).all()
        for gating in ("hard", "soft"):
            result = score(volume, maps, chosen, gating)
            assert result.kept_empty[~volume.tumour].all()
            assert result.dice[volume.tumour].min() > 0.9
