"""From probabilities to a decision: the gate's veto, the mask's threshold, the smallest component."""

from dataclasses import replace

import numpy as np
import pytest

from lgg.postprocess import FEWEST, decide, remove_isolated, remove_small
from lgg.types import Thresholds

HARD = Thresholds(gate=0.5, mask=0.5)
SOFT = Thresholds(gate=0.5, mask=0.5, low=0.25, high=0.75, keep=0.625)


class TestDecide:
    """Worked by hand. The mask holds two pixels whose mean probability is 0.75."""

    MAP = np.array([[0.125, 0.5], [1.0, 0.25]], np.float32)
    FULL = np.array([[False, True], [True, False]])

    @pytest.mark.parametrize(
        ("gating", "gate", "keep", "kept"),
        [
            ("none", 0.0, 1.0, True),
            ("hard", 0.49, 0.0, False),
            ("hard", 0.5, 1.0, True),  # at the threshold; `keep` is the soft gate's
            ("soft", 0.24, 0.0, False),  # surely empty
            ("soft", 0.25, 0.75, True),  # unsure: the mask is sure enough, exactly
            ("soft", 0.25, 0.76, False),
            ("soft", 0.74, 0.76, False),
            ("soft", 0.75, 0.76, True),  # the gate is sure: `keep` is not asked
        ],
    )
    def test_by_hand(self, gating, gate, keep, kept):
        mask = decide(gate, self.MAP, replace(SOFT, keep=keep), gating)
        assert mask.dtype == bool
        assert np.array_equal(mask, self.FULL if kept else np.zeros_like(self.FULL))

    def test_takes_pixels_at_the_mask_threshold(self):
        assert np.count_nonzero(decide(1, self.MAP, replace(HARD, mask=0.25), "none")) == 3


class TestDropSmall:
    def mask(self):
        mask = np.zeros((32, 16), bool)
        mask[2:4, 2:4] = True  # 4 px
        mask[4:6, 4:6] = True  # touches the first at a corner: 8 px together
        mask[20:24, 8:12] = True  # 16 px
        return mask

    @pytest.mark.parametrize(("smallest", "left"), [(0, 24), (8, 24), (9, 16), (16, 16), (17, 0)])
    def test_keeps_components_of_at_least_that_many_pixels(self, smallest, left):
        assert remove_small(self.mask(), smallest / 32**2).sum() == left

    def test_is_part_of_every_decision(self):
        probability = self.mask().astype(np.float32)
        found = decide(0.9, probability, Thresholds(smallest=9 / 32**2), "hard")
        assert found.sum() == 16


class TestDropLone:
    """A tumour of 100 pixels through slices 2 to 5, and something beside it."""

    def masks(self, count=FEWEST):
        masks = np.zeros((count, 40, 40), bool)
        masks[2:6, 10:15, 10:15] = True
        return masks

    def test_what_shows_in_one_slice_alone_goes(self):
        masks = self.masks()
        masks[4, 25:31, 25:31] = True  # large enough, and in the same slice as the tumour
        masks[8, 10:16, 10:16] = True  # in the same place, but two slices further on
        assert np.array_equal(remove_isolated(masks), self.masks())

    def test_what_a_neighbour_confirms_stays(self):
        masks = self.masks()
        masks[7, 25:28, 25:28] = masks[8, 28:31, 28:31] = True  # at a corner
        assert np.array_equal(remove_isolated(masks), masks)

    @pytest.mark.parametrize(("side", "stays"), [(7, True), (8, False)])
    def test_what_is_tiny_beside_the_largest_goes_however_deep(self, side, stays):
        masks = np.zeros((FEWEST, 40, 40), bool)
        masks[2:6, :side, :side] = True  # 196 or 256 pixels
        masks[2:6, 30, 30] = True  # 4 pixels, 2.04 or 1.56 % of them
        assert remove_isolated(masks)[:, 30, 30].any() == stays
        assert remove_isolated(masks)[:, :side, :side].sum() == 4 * side**2

    def test_a_series_too_short_for_neighbours_keeps_everything(self):
        masks = np.zeros((FEWEST - 1, 8, 8), bool)
        masks[3, 2:4, 2:4] = True
        assert remove_isolated(masks) is masks
        assert not remove_isolated(np.concatenate([masks, masks[:1]])).any()

    @pytest.mark.parametrize("above", [1, 0.93, 0.8])
    def test_nothing_is_added_twice_is_once_and_the_masks_are_left_alone(self, above):
        masks = np.random.default_rng(0).random((FEWEST, 24, 24)) > above
        before, once = masks.copy(), remove_isolated(masks)
        assert once.any() == (above < 1)
        assert not (once & ~masks).any()
        assert np.array_equal(remove_isolated(once), once)
        assert np.array_equal(masks, before)
