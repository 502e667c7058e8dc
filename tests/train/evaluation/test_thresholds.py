"""Thresholds and temperature: found on volumes, and worth what they promise."""

from itertools import product

import numpy as np
import pytest

from lgg.metrics import calibration_error
from lgg.types import RawOutput, Thresholds
from lgg.weights import ModelConfig
from tests.tiny_data import write_folder
from tests.train.evaluation.test_evaluate import BrightPart, bright_cascade, volume_of
from train.data.kaggle_3m import index_folder, load_volume
from train.evaluation.patient_metrics import predict_volume, score
from train.evaluation.thresholds import (
    best,
    gate_logits,
    gate_temperature,
    gate_threshold,
    search,
    segmenter_thresholds,
)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("volumes"), 2)
    return [load_volume(slices) for slices in index_folder(folder).values()]


def test_of_equally_good_thresholds_the_middle_one_is_taken():
    assert best([1, 2, 3, 4, 5], [0, 1, 1, 1, 0]) == 3


def test_the_gates_threshold_stands_in_the_middle_of_where_it_tells_slices_apart():
    probability, tumour = np.array([0.1, 0.2, 0.7, 0.9]), np.array([False, False, True, True])
    assert gate_threshold(probability, tumour) == pytest.approx(0.46, abs=0.011)


def test_the_gate_is_heard_by_both_kinds_of_statistics(volumes):
    logits, tumour = gate_logits(BrightPart(gate=True), ModelConfig("gate", 48), volumes)
    assert len(logits) == len(tumour) == 2 * sum(len(volume.masks) for volume in volumes)
    assert len(np.unique(logits)) > len(logits) / 2


def test_of_slices_that_were_picked_one_by_one_the_statistics_stay_their_volumes(volumes):
    gate, config = BrightPart(gate=True), ModelConfig("gate", 48)
    whole, _ = gate_logits(gate, config, volumes[:1])
    picked, _ = gate_logits(gate, config, [volumes[0].select([0, 2])])
    count = len(volumes[0].masks)
    np.testing.assert_allclose(picked, whole[[0, 2, count, count + 2]], atol=1e-6)
    again, _ = gate_logits(gate, config, [volumes[0].select([2, 0, 1]).select([1, 0])])
    np.testing.assert_array_equal(again, picked)
    turned, _ = gate_logits(gate, config, [volumes[0].select(range(count)[::-1])])
    np.testing.assert_allclose(turned[:count], whole[:count][::-1], atol=1e-6)
    maps = predict_volume(bright_cascade(), volumes[0].select([0, 2]), "flair").probability
    np.testing.assert_array_equal(
        maps, predict_volume(bright_cascade(), volumes[0], "flair").probability[::2][:2]
    )


def test_the_segmenters_thresholds_separate_volumes(volumes):
    cascade = bright_cascade()
    alone, series = segmenter_thresholds(cascade, volumes)
    for volume, chosen in product(volumes, (alone, series)):
        maps = predict_volume(cascade, volume, "volume")
        for gating in ("hard", "soft"):
            result = score(volume, maps, chosen, gating, 0.5, series=chosen is series)
            assert result.kept_empty[~volume.tumour].all()
            assert result.dice[volume.tumour].min() > 0.9


def test_specks_that_only_empty_slices_have_are_dropped_by_the_smallest_component(volumes):
    class Specks(BrightPart):
        def forward(self, x):
            logits = super().forward(x)
            logits[..., 2:4, 2:4] = 9
            return logits

    cascade = bright_cascade()
    cascade.engine.network = Specks()
    cascade.gate_engine.network = lambda x: 9 + 0 * x[:, :1, 0, 0]
    chosen, _ = segmenter_thresholds(cascade, volumes)
    assert 4 < chosen.smallest * 48**2 < 60


def test_where_neighbours_clear_false_alarms_away_the_gate_lets_more_pass():
    """A tumour in four slices, one of which the gate doubts, and three false alarms that it doubts less."""
    tumour, alarms = slice(2, 6), [7, 9, 11]
    truth = np.zeros((12, 16, 16), bool)
    truth[tumour, 4:8, 4:8] = True
    outlined = truth.copy()
    outlined[alarms, 10:14, 10:14] = True
    gate = np.full(12, 0.02, np.float32)
    gate[tumour], gate[alarms] = (0.9, 0.2, 0.9, 0.9), 0.4
    maps = RawOutput(gate, outlined * np.float32(0.9), np.ones(12, bool), truth, {})
    alone = search([maps], [truth], Thresholds())
    series = search([maps], [truth], alone, series=True)
    assert 0.4 < alone.gate <= 0.9
    assert 0.02 < series.gate <= 0.2
    for gating in ("hard", "soft"):
        found = score(volume_of(truth), maps, series, gating, 0.5, series=True)
        assert found.volume == pytest.approx(1)
        assert found.kept_empty[~found.tumour].all()
        assert score(volume_of(truth), maps, alone, gating, 0.5).volume < 1


def test_temperature_calibrates_an_overconfident_gate():
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 1.5, 4000)
    tumour = rng.random(4000) < 1 / (1 + np.exp(-honest))
    temperature = gate_temperature(4 * honest, tumour)
    assert temperature == pytest.approx(4, rel=0.1)
    says = [1 / (1 + np.exp(-4 * honest / by)) for by in (1, temperature)]
    before, after = (calibration_error(probability, tumour) for probability in says)
    assert after < 0.03 < before
