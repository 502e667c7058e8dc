"""Parts of the training: recipes, what the loop steps through, and how slices reach the device."""

from dataclasses import replace
from threading import Event

import pytest
import torch
from torch import nn

from lgg.models import BUILDERS, GATE, build
from train.data.dataset import AHEAD, Loader, Slices, draw_epoch, fits
from train.fit.losses import FeatureDistillation, NetworkWithLoss, forward_with_features, loss_of
from train.hardware import depthwise_in_fp32, make_accelerator
from train.recipes import PLAIN, RECIPES, Augmentation, Overrides, Recipe

ONE = torch.ones(())


def some_slices(count: int = 10) -> Slices:
    values = torch.arange(count, dtype=torch.float32)
    picture = values[:, None, None, None].expand(count, 3, 8, 8).contiguous()
    masks = (picture[:, :1] > 4).float()
    zeros, ones = torch.zeros(count, 2, 3), torch.ones(count, 2, 3)
    return Slices(picture, masks, masks.flatten(1).any(1), zeros, ones, torch.zeros(count, dtype=torch.long))


class TestDepthwise:
    """bf16 depthwise convolutions are slow to train on CPUs, so they compute in fp32."""

    @staticmethod
    def gradients(fixed: bool, precision: torch.dtype) -> torch.Tensor:
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 5, groups=8), nn.Conv2d(8, 1, 1)
        )
        if fixed:
            depthwise_in_fp32(network)
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            network(torch.rand(2, 3, 16, 16)).float().square().mean().backward()
        return torch.cat([value.grad.flatten() for value in network.parameters()])

    def test_gradients_agree_with_fp32_and_with_plain_bf16(self):
        fixed, whole = self.gradients(True, torch.bfloat16), self.gradients(False, torch.float32)
        slow = self.gradients(False, torch.bfloat16)
        assert not torch.equal(fixed, slow)
        assert (fixed - whole).norm() <= 1.1 * (slow - whole).norm() < 0.03 * whole.norm()

    def test_only_depthwise_layers_answer_in_fp32(self):
        depthwise, full = nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3)
        depthwise_in_fp32(nn.Sequential(depthwise, full))
        with torch.autocast("cpu", torch.bfloat16):
            kinds = [layer(torch.rand(1, 4, 8, 8)).dtype for layer in (depthwise, full)]
        assert kinds == [torch.float32, torch.bfloat16]


class TestRecipes:
    @pytest.mark.parametrize("name", RECIPES)
    def test_there_is_one_for_every_network(self, name):
        assert list(RECIPES[name]) == list(BUILDERS)

    def test_the_reference_is_weighted_cross_entropy_for_32_epochs_best_by_validation_loss(self):
        for stages in RECIPES["reference"].values():
            (stage,) = stages
            assert (stage.loss, stage.epochs, stage.best_by) == ("bce", 32, "loss")
            assert (stage.augmentation, stage.ema, stage.tumour_weight) == (PLAIN, 0, 1)
            assert stage.size == 256

    def test_gpu_trains_at_full_resolution_and_cpu_ends_there(self):
        for stages in RECIPES["gpu"].values():
            assert {stage.size for stage in stages} == {256}
        for name, stages in RECIPES["cpu"].items():
            assert stages[-1].size == 256, name

    @pytest.mark.parametrize("name", ["cpu", "gpu"])
    def test_an_epoch_of_ours_shows_more_tumour_than_the_data_holds(self, name):
        """Where every slice is drawn once, the weight chooses nothing: a third of the 2852 have tumour."""
        tumour = torch.arange(2852) % 3 == 0
        for stages in RECIPES[name].values():
            for stage in stages:
                count = stage.steps * stage.batch_size
                drawn = draw_epoch(tumour, count, stage.tumour_weight, torch.Generator().manual_seed(0))
                assert tumour[drawn].float().mean() > 0.37

    def test_changes_touch_what_was_given_and_nothing_else(self):
        recipe = Recipe(lr=0.5)
        assert Overrides().apply(recipe) == recipe
        assert Overrides(epochs=3, ema=0).apply(recipe) == replace(recipe, epochs=3, ema=0)
        assert Overrides(augment=False).apply(recipe) == replace(recipe, augmentation=PLAIN)
        assert Overrides(augment=True).apply(recipe).augmentation == Augmentation()

    def test_changes_say_what_they_change(self):
        assert str(Overrides()) == ""
        assert str(Overrides(epochs=3, batch_size=8, ema=0)) == "epochs 3, batch size 8, ema 0"

    def test_an_epoch_has_whole_batches_and_at_least_one(self):
        assert [Recipe(slices_per_epoch=count, batch_size=8).steps for count in (30, 4)] == [3, 1]


BATCH = torch.randn(4, 3, 32, 32), torch.ones(4, 1, 32, 32), torch.tensor([True, False, True, True])


class TestNetworkWithLoss:
    def learner(self, architecture="unet-mini", teacher=None, **recipe):
        torch.manual_seed(0)
        return NetworkWithLoss(architecture, build(architecture), Recipe(**recipe), ONE, teacher)

    @pytest.mark.parametrize(("architecture", "loss"), [("unet-mini", "dice_bce"), (GATE, "bce")])
    def test_a_segmenters_loss_is_that_of_its_masks_a_gates_that_of_its_slices(self, architecture, loss):
        learner, (inputs, masks, tumour) = self.learner(architecture, loss=loss).eval(), BATCH
        target = tumour.float()[:, None] if architecture == GATE else masks
        expected = loss_of(loss, learner.network(inputs), target, ONE)
        torch.testing.assert_close(learner(inputs, masks, tumour), expected)

    def test_the_mask_head_teaches_the_gates_inner_layers_where_the_tumour_is(self):
        learner, (inputs, masks, tumour) = self.learner(GATE, loss="bce", mask_head=0.5), BATCH
        learner(inputs, masks, tumour).backward()
        with_head = learner.network.layer2[0].conv1.weight.grad.clone()
        learner.zero_grad()
        learner(inputs, 1 - masks, tumour).backward()
        assert not torch.allclose(with_head, learner.network.layer2[0].conv1.weight.grad)
        assert all(value.grad is not None for value in learner.mask_head.parameters())

    def test_a_teachers_encoder_gives_the_gate_hints_and_is_neither_trained_nor_kept(self):
        teacher, (inputs, masks, tumour) = build("unet-lite0").eval(), BATCH
        plain, taught = (self.learner(GATE, model, loss="bce", hints=2) for model in (None, teacher))
        assert taught.network.state_dict().keys() == plain.network.state_dict().keys()
        loss = taught.eval()(inputs, masks, tumour)
        hints = taught.hint_head(
            forward_with_features(taught.network, inputs)[1], forward_with_features(teacher, inputs)[1]
        )
        torch.testing.assert_close(loss, plain.eval()(inputs, masks, tumour) + 2 * hints)
        loss.backward()
        assert all(value.grad is not None for value in taught.hint_head.parameters())
        assert all(value.grad is None for value in teacher.parameters())

    def test_frozen_batchnorm_keeps_its_statistics_and_still_learns(self):
        learner = self.learner(freeze_batchnorm=True).train()
        before = {name: value.clone() for name, value in learner.named_buffers()}
        learner(*BATCH).backward()
        assert all(torch.equal(value, before[name]) for name, value in learner.named_buffers())
        assert learner.training
        assert all(value.grad is not None for value in learner.parameters())

    def test_a_teacher_shares_the_loss_and_is_neither_trained_nor_kept(self):
        class Teacher(nn.Module):
            def __init__(self, logit):
                super().__init__()
                self.logit = nn.Parameter(torch.tensor(float(logit)))

            def forward(self, x):
                return self.logit.expand(len(x), 1, *x.shape[-2:])

        inputs, masks, tumour = BATCH
        agreeing, opposing = (self.learner(teacher=Teacher(logit)).eval() for logit in (20, -20))
        plain = self.learner().eval()
        losses = [learner(inputs, masks, tumour).item() for learner in (agreeing, plain, opposing)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        assert losses[2] > 1.2 * losses[1]
        assert opposing.state_dict().keys() == plain.state_dict().keys()
        opposing(inputs, masks, tumour).backward()
        assert opposing._teacher[0].logit.grad is None


class TestFeatureDistillation:
    @pytest.mark.parametrize("architecture", BUILDERS)
    def test_tapping_a_network_changes_none_of_its_answers(self, architecture):
        network, inputs = build(architecture).eval(), torch.randn(2, 3, 64, 64)
        logits, features = forward_with_features(network, inputs)
        assert torch.equal(logits, network(inputs))
        assert {factor: feature.shape[-1] for factor, feature in features.items()} == {
            factor: 64 // factor for factor in features
        }
        assert {4, 8} <= set(features)
        undecoded, same = forward_with_features(network, inputs, decode=False)
        assert undecoded is None
        assert same.keys() == features.keys()
        assert all(torch.equal(feature, features[factor]) for factor, feature in same.items())

    @pytest.mark.parametrize(
        ("pupil", "factors"), [(GATE, ["4", "8", "16", "32"]), ("unet-mini", ["2", "4", "8"])]
    )
    def test_are_given_where_both_networks_look(self, pupil, factors):
        assert sorted(FeatureDistillation(build(pupil), build("unet-lite0")).outputs, key=int) == factors

    def test_of_a_network_that_says_nothing_all_variance_is_missed(self):
        head = FeatureDistillation(build("unet-mini"), build("unet-lite0"))
        own = {2: torch.zeros(4, 64, 16, 16), 4: torch.zeros(4, 128, 8, 8), 8: torch.zeros(4, 256, 4, 4)}
        wanted = {
            factor: torch.randn(4, head.outputs[str(factor)].out_channels, *feature.shape[-2:])
            for factor, feature in own.items()
        }
        for output in head.outputs.values():
            nn.init.zeros_(output.bias)
        torch.testing.assert_close(head(own, wanted), torch.tensor(1.0), atol=1e-3, rtol=0)

    def test_asking_for_widths_leaves_the_network_as_it_was(self):
        pupil = build("unet-mini").train()
        before = {name: value.clone() for name, value in pupil.state_dict().items()}
        FeatureDistillation(pupil, build("unet-mini"))
        assert pupil.training
        assert all(torch.equal(value, before[name]) for name, value in pupil.state_dict().items())


@pytest.mark.parametrize(
    ("cuda", "native", "asked", "expected"),
    [
        (True, False, None, "bf16"),
        (False, True, None, "bf16"),
        (False, False, None, "no"),
        (True, True, "no", "no"),
    ],
)
def test_bf16_is_used_where_the_hardware_has_it_unless_another_precision_is_asked_for(
    monkeypatch, cuda, native, asked, expected
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    if asked:
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
    monkeypatch.setattr("train.hardware.Accelerator", lambda mixed_precision: mixed_precision)
    assert make_accelerator() == expected


class TestLoader:
    INDICES = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6]).split(3)

    @pytest.mark.parametrize("resident", [True, False])
    def test_hands_out_the_slices_asked_for_in_their_order(self, resident, monkeypatch):
        monkeypatch.setattr("train.data.dataset.fits", lambda *_: resident)
        loader = Loader(some_slices(), torch.device("cpu"))
        seen = [batch.fitted[:, 0, 0, 0].tolist() for batch in loader.batches(self.INDICES)]
        assert seen == [[3, 1, 4], [1, 5, 9], [2, 6]]
        assert loader.seconds_waited > 0
        assert list(loader.batches([])) == []

    @pytest.mark.parametrize(("free", "resident"), [(10**9, True), (1000, False)])
    def test_a_gpu_holds_what_fits_beside_a_network(self, monkeypatch, free, resident):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
        assert fits(some_slices(), torch.device("cuda")) == resident

    def test_what_is_streamed_is_gathered_ahead_of_the_step(self, monkeypatch):
        monkeypatch.setattr("train.data.dataset.fits", lambda *_: False)
        loader, gather, asked, ahead = Loader(some_slices(), torch.device("cpu")), Loader._gather, [], Event()

        def gather_and_count(self, index):
            asked.append(index)
            if len(asked) == 1 + AHEAD:
                ahead.set()
            return gather(self, index)

        monkeypatch.setattr(Loader, "_gather", gather_and_count)
        next(loader.batches(torch.arange(10).split(1)))
        assert ahead.wait(60)


def test_a_fingerprint_knows_other_data_and_not_other_places():
    assert some_slices().fingerprint() == some_slices().fingerprint()
    changed = some_slices()
    changed.masks[3, 0, 0, 0] = 1
    assert changed.fingerprint() != some_slices().fingerprint()
    assert some_slices(9).fingerprint() != some_slices(10).fingerprint()
