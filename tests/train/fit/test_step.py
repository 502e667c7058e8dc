"""What a training step is made of: which slices are drawn, how they are bent, what the loss says."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from lgg.models import GATE
from lgg.preprocess import normalise
from lgg.types import FLAIR, POST, PRE
from train.data.augment import augment, drop_sequences
from train.data.dataset import Slices, draw_epoch, pos_weight
from train.fit.losses import dice_loss, loss_of
from train.recipes import PLAIN, Augmentation


class TestSampling:
    TUMOUR = torch.arange(1000) < 100

    def drawn(self, count, seed=0, weight=4):
        return draw_epoch(self.TUMOUR, count, weight, torch.Generator().manual_seed(seed))

    @pytest.mark.parametrize("weight", [1, 4])
    def test_draws_tumour_so_many_times_as_often(self, weight):
        drawn = torch.cat([self.drawn(50, seed, weight) for seed in range(100)])
        share = self.TUMOUR[drawn].float().mean().item()
        assert share == pytest.approx(weight * 0.1 / (weight * 0.1 + 0.9), rel=0.15)

    def test_shows_no_slice_twice_while_there_are_others(self):
        assert [len(self.drawn(count).unique()) for count in (400, 1000)] == [400, 1000]

    def test_repeats_slices_where_an_epoch_is_longer_than_the_set(self):
        drawn = self.drawn(5000)
        assert self.TUMOUR[drawn].float().mean().item() == pytest.approx(4 / 13, rel=0.1)

    def test_positive_weights_by_hand(self):
        slices = replace(batch(2, 4), masks=torch.zeros(2, 1, 4, 4), tumour=torch.zeros(2, dtype=torch.bool))
        assert all(pos_weight(slices, architecture).isfinite() for architecture in ("unet", GATE))
        slices.masks[0, 0, 0] = 1  # 4 of 32 pixels
        assert pos_weight(slices, "unet").item() == pytest.approx(7)
        tumour = torch.tensor([True, False, False, True, False])
        assert pos_weight(replace(slices, tumour=tumour), GATE).item() == pytest.approx(1.5)


class TestLosses:
    LOGITS, TARGET = torch.tensor([[[[0.0, 0.0]]]]), torch.tensor([[[[1.0, 0.0]]]])

    def test_bce_by_hand_with_its_weight(self):
        by_hand = (7 + 1) * math.log(2) / 2  # one positive, one negative, both at 0.5
        loss = loss_of("bce", self.LOGITS, self.TARGET, torch.tensor(7.0))
        assert loss.item() == pytest.approx(by_hand)

    def test_dice_of_right_answers_is_zero_on_tumour_and_on_none(self):
        target = torch.zeros(2, 1, 8, 8)
        assert dice_loss(target - 60, target).item() == pytest.approx(0, abs=1e-6)
        target[0, 0, :4] = 1
        assert dice_loss(120 * target - 60, target).item() == pytest.approx(0, abs=1e-6)
        assert dice_loss(60 - 120 * target, target).item() > 0.98

    def test_dice_is_half_the_batchs_and_half_the_mean_of_slices_with_tumour(self):
        # A large tumour found whole, a small one missed, and an empty slice where 16 pixels are invented.
        target = torch.zeros(3, 1, 16, 16)
        target[0, 0], target[1, 0, 0, :8] = 1, 1
        found = torch.zeros(3, 1, 16, 16)
        found[0, 0], found[2, 0, 0, :16] = 1, 1
        batch = (2 * 256 + 1) / (256 + 16 + 264 + 1)
        slices = (1 + 1 / 9) / 2
        expected = 1 - (batch + slices) / 2
        assert dice_loss(120 * found - 60, target).item() == pytest.approx(expected, abs=1e-5)

    def test_dice_without_any_tumour_is_that_of_the_batch(self):
        found = torch.zeros(2, 1, 8, 8)
        found[0, 0, 0, :3] = 1
        loss = dice_loss(120 * found - 60, torch.zeros(2, 1, 8, 8)).item()
        assert loss == pytest.approx(1 - 1 / (3 + 1), abs=1e-5)

    def test_dice_bce_leaves_the_weight_out(self):
        both = dice_loss(self.LOGITS, self.TARGET) + loss_of("bce", self.LOGITS, self.TARGET, None)
        assert torch.equal(loss_of("dice_bce", self.LOGITS, self.TARGET, torch.tensor(9.0)), both)

    @pytest.mark.parametrize("name", ["bce", "dice_bce"])
    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_gradients_stay_finite(self, name, value):
        logits = torch.tensor([[[[-80.0, 0, 80]]]], requires_grad=True)
        loss_of(name, logits, torch.full_like(logits, value), torch.tensor(50.0)).backward()
        assert logits.grad.isfinite().all()


def batch(count=8, side=48):
    """Slices with noise, and a rectangle off the middle that mask and FLAIR share."""
    masks = torch.zeros(count, 1, side, side)
    masks[..., 14:22, 18:36] = 1
    fitted = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 50
    fitted[:, FLAIR] = masks[:, 0]
    mean, std = torch.zeros(count, 2, 3), torch.ones(count, 2, 3)
    mean[:, 0], std[:, 1] = 5, 3
    return Slices(fitted, masks, masks.flatten(1).any(1), mean, std, torch.zeros(count, dtype=torch.long))


def bent(how, seed=0):
    return augment(batch(), how, torch.Generator().manual_seed(seed))


class TestAugmentation:
    FAR = {"flip": 1, "rotate": 40, "scale": 0.3, "shift": 0.15, "elastic": 0.03}  # noqa: RUF012

    def test_plain_changes_nothing_but_the_units_of_the_volume(self):
        inputs, masks = bent(PLAIN)
        assert torch.equal(inputs, normalise(batch().fitted, batch().mean[:, 1], batch().std[:, 1]))
        assert torch.equal(masks, batch().masks)

    @pytest.mark.parametrize(
        "how",
        [{"flip": 0.5, "rotate": 15}, *({name: far} for name, far in FAR.items())],
        ids=lambda how: "-".join(how),
    )
    def test_image_and_mask_move_together(self, how):
        inputs, masks = bent(replace(PLAIN, **how))
        # But for a pixel whose value lies on the border of one half.
        assert ((inputs[:, FLAIR] * 3 >= 0.499) != (masks[:, 0] > 0)).sum() <= 1
        assert (masks != batch().masks).flatten(1).any(1).sum() >= 3
        # An elastic field squeezes and stretches a little too.
        change, most = masks.sum((1, 2, 3)) / 144, 1 - how.get("scale", 0.1 if "elastic" in how else 0)
        assert most**2 * 0.85 < change.min() <= change.max() < 1.1 / most**2

    def test_flip_mirrors_left_and_right(self):
        inputs, masks = bent(replace(PLAIN, flip=1))
        assert torch.equal(masks, batch().masks.flip(-1))
        torch.testing.assert_close(inputs, bent(PLAIN)[0].flip(-1), atol=1e-3, rtol=0)

    @pytest.mark.parametrize("name", ["gain", "bias", "gamma", "noise"])
    def test_intensities_change_and_the_mask_does_not(self, name):
        inputs, masks = bent(replace(PLAIN, **{name: 0.3}))
        assert torch.equal(masks, batch().masks)
        assert inputs.isfinite().all()
        assert not torch.allclose(inputs, bent(PLAIN)[0], atol=0.05)

    def test_statistics_are_the_slices_for_their_share_of_slices(self):
        inputs, _ = bent(replace(PLAIN, slice_statistics=0.5))
        own, shared = (normalise(batch().fitted, batch().mean[:, n], batch().std[:, n]) for n in (0, 1))
        by_own, by_shared = ((inputs == part).flatten(1).all(1) for part in (own, shared))
        assert torch.equal(by_own, ~by_shared)
        assert 0 < by_own.sum() < len(inputs)

    def test_dropped_sequences_become_flair(self):
        inputs, _ = bent(Augmentation(drop=1))
        assert torch.equal(inputs, inputs[:, [FLAIR] * 3])

    def test_each_sequence_is_dropped_alone(self):
        images, first = torch.rand(2, 3, 4, 4), torch.tensor([True, False])
        expected = torch.stack([images[0, [FLAIR, FLAIR, POST]], images[1, [PRE, FLAIR, FLAIR]]])
        assert torch.equal(drop_sequences(images, first, ~first), expected)

    def test_both_are_dropped_together_in_their_share_of_slices(self):
        inputs, _ = bent(replace(PLAIN, drop_both=0.5))
        pre, post = (
            torch.eq(inputs[:, channel], inputs[:, FLAIR]).flatten(1).all(1) for channel in (PRE, POST)
        )
        assert torch.equal(pre, post)
        assert 0 < pre.sum() < len(inputs)

    def test_repeats_itself_by_its_generator(self):
        assert all(map(torch.equal, bent(Augmentation(), 5), bent(Augmentation(), 5)))
        assert not torch.equal(bent(Augmentation(), 5)[0], bent(Augmentation(), 6)[0])

    @pytest.mark.parametrize("how", [PLAIN, Augmentation()], ids=["plain", "bent"])
    def test_masks_stay_binary(self, how):
        soft = batch()
        soft.masks.copy_(F.avg_pool2d(soft.masks, 3, 1, 1))
        assert set(augment(soft, how, torch.Generator())[1].unique().tolist()) == {0, 1}
