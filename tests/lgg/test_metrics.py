"""Measures against MONAI, scikit-learn, SciPy, and values worked by hand."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from lgg.metrics import (
    auroc,
    bootstrap_interval,
    calibration_error,
    dice,
    hd95,
    iou,
    slice_all,
    slice_dices,
)

NOTHING = np.zeros((24, 30), bool)


def box(rows, columns, shape=(24, 30)):
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def random_pairs():
    """Pairs of masks: speckle of several densities, smooth regions, touching the border, some empty."""
    random = np.random.default_rng(0)
    for number in range(56):
        density = (0.002, 0.02, 0.1, 0.3, 0.6, 0.9, 1.0)[number % 7]
        pair = random.uniform(size=(2, 24, 30)) < density
        if number % 2:
            fields = ndimage.gaussian_filter(random.normal(size=(2, 24, 30)), (0, 3, 3))
            pair = fields > np.quantile(fields, 1 - density)
        yield pair[0], pair[1]
    full = box(slice(3, 9), slice(4, 12))
    yield from [(NOTHING, NOTHING), (full, NOTHING), (NOTHING, full), (full, full), (~NOTHING, full)]


PAIRS = list(random_pairs())


def tensors(*masks):
    return [torch.from_numpy(mask.astype(np.float32))[None, None] for mask in masks]


class TestOverlap:
    @pytest.mark.parametrize(("predicted", "truth"), PAIRS)
    def test_dice_and_iou_are_monais(self, predicted, truth):
        ours = tensors(predicted, truth)
        for measure, monais in ((dice, compute_dice), (iou, compute_iou)):
            expected = float(monais(*ours, ignore_empty=False))
            assert measure(predicted, truth) == pytest.approx(expected, abs=1e-6)

    def test_the_constant_stands_in_numerator_and_denominator(self):
        for measure in (dice, iou):
            assert measure(box(0, 0), NOTHING) == pytest.approx(1e-6 / (1 + 1e-6), rel=1e-9)
            assert measure(NOTHING, NOTHING) == 1

    def test_a_volume_counts_voxels_not_slices(self):
        predicted = np.stack([box(slice(0, 10), slice(0, 10)), box(0, 0)])
        truth = np.stack([box(slice(0, 10), slice(0, 10)), box(0, 1)])
        assert dice(predicted, truth) == pytest.approx(200 / 202, abs=1e-6)
        assert slice_dices(predicted, truth) == pytest.approx([1, 0], abs=1e-6)


class TestHausdorff:
    @pytest.mark.parametrize(("predicted", "truth"), PAIRS)
    def test_is_monais(self, predicted, truth):
        expected = float(compute_hausdorff_distance(*tensors(predicted, truth), True, percentile=95))
        if predicted.any() and truth.any():
            assert hd95(predicted, truth) == pytest.approx(expected, abs=1e-4)
        else:
            assert math.isnan(hd95(predicted, truth))

    def test_of_a_volume_is_in_the_spacings_unit(self):
        predicted, truth = np.zeros((2, 9, 20, 20), bool)
        predicted[3:5, 4:9, 4:9] = truth[5:7, 4:9, 4:9] = True
        assert hd95(predicted, truth) == 2
        assert hd95(predicted, truth, (3.5, 1, 1)) == 7
        truth = np.roll(predicted, 3, axis=2)
        assert hd95(predicted, truth, (3.5, 1, 0.5)) == 1.5


class TestSliceAll:
    DICES, TUMOUR = [1.0, 1.0, 0.0, 0.5, 0.7], np.array([0, 0, 0, 1, 1], bool)

    def test_is_the_mean_over_every_slice_or_reweighted_to_the_references_share_of_empty_ones(self):
        assert slice_all(self.DICES, self.TUMOUR) == pytest.approx(3.2 / 5)
        # Empty slices score 2/3 and tumour slices 0.6 on average.
        expected = (268 * 2 / 3 + 125 * 0.6) / 393
        assert slice_all(self.DICES, self.TUMOUR, 268 / 393) == pytest.approx(expected)
        for tumour in (np.zeros(5, bool), np.ones(5, bool)):
            assert slice_all(self.DICES, tumour, 268 / 393) == pytest.approx(3.2 / 5), "one kind only"

    def test_of_an_all_empty_prediction_is_the_published_one(self):
        tumour = np.arange(393) < 125
        assert slice_all((~tumour).astype(float), tumour) == pytest.approx(0.682, abs=5e-4)


class TestGate:
    @pytest.mark.parametrize("decimals", [1, 2, 16])
    @pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
    def test_auroc_is_scikit_learns_ties_included(self, share, decimals):
        random = np.random.default_rng(1)
        positive = random.uniform(size=200) < share
        probability = (random.uniform(size=200) * 0.7 + 0.3 * positive).round(decimals).astype(np.float32)
        assert auroc(probability, positive) == pytest.approx(roc_auc_score(positive, probability), abs=1e-12)

    def test_auroc_of_one_class_is_not_defined(self):
        assert math.isnan(auroc(np.array([0.1, 0.9]), np.array([True, True])))
        assert math.isnan(auroc(np.array([0.1, 0.9]), np.array([False, False])))

    def test_calibration_error_is_the_mean_of_fifteen_equal_bins_by_their_size(self):
        probability = (np.arange(15) + 0.5) / 15
        # Alone in its bin, each errs by its distance from the truth.
        positive = np.arange(15) % 2 == 0
        expected = np.abs(positive - probability).mean()
        assert calibration_error(probability, positive) == pytest.approx(expected)
        four, positive = np.array([0.25] * 3 + [0.75]), np.array([0, 0, 0, 1], bool)
        assert calibration_error(four, positive) == pytest.approx(0.75 * 0.25 + 0.25 * 0.25)


class TestBootstrap:
    def test_of_a_mean_is_the_normal_interval_and_repeats_itself(self):
        values = list(np.random.default_rng(3).normal(5, 2, 80))
        low, high = bootstrap_interval(np.mean, values)
        error = np.std(values) / math.sqrt(80)
        assert low == pytest.approx(np.mean(values) - 1.96 * error, abs=0.25 * error)
        assert high == pytest.approx(np.mean(values) + 1.96 * error, abs=0.25 * error)
        assert bootstrap_interval(np.mean, values) == (low, high)

    def test_draws_whole_patients(self):
        patients = [("a", 1), ("b", 2), ("c", 3)]
        seen = []
        bootstrap_interval(lambda drawn: seen.append(drawn) or 0.0, patients)
        assert all(len(drawn) == 3 and set(drawn) <= set(patients) for drawn in seen)
        assert any(len(set(drawn)) < 3 for drawn in seen)

    def test_leaves_undefined_draws_out(self):
        def mean_of_defined(drawn):
            return float("nan") if min(drawn) < 0 else float(np.mean(drawn))

        assert bootstrap_interval(mean_of_defined, [-1.0, 2.0, 2.0]) == (2, 2)
        assert all(map(math.isnan, bootstrap_interval(mean_of_defined, [-1.0])))
