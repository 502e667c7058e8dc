"""The predictor, with networks whose answers are known."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lgg.cascade import BATCH, Cascade
from lgg.errors import SliceError, WeightsError
from lgg.models.unet import UNet
from lgg.types import Prediction, Series, Slice, Thresholds
from lgg.weights import ModelConfig
from tests.tiny_weights import use_tiny_networks, write_weights

HARD = Thresholds(gate=0.5, mask=0.5)
SOFT = Thresholds(gate=0.5, mask=0.5, low=0.25, high=0.75, keep=0.625)
SIZES = [(64, 64), (100, 60), (57, 99), (200, 256)]


def logit(probability):
    return float(np.log(probability / (1 - probability)))


class Gate(nn.Module):
    """Answers a fixed probability, and counts the slices that it saw."""

    def __init__(self, probability):
        super().__init__()
        self.answer, self.seen = logit(probability), 0

    def forward(self, x):
        self.seen += len(x)
        return torch.full((len(x), 1), self.answer)


class Level(Gate):
    """A gate that is surer the brighter a slice is."""

    def forward(self, x):
        return x.amax((1, 2, 3))[:, None]


class Constant(Gate):
    """A segmenter of one probability everywhere."""

    def forward(self, x):
        self.seen += len(x)
        return torch.full((len(x), 1, *x.shape[-2:]), self.answer)


class Bright(Gate):
    """A segmenter that takes what is far above the head's mean FLAIR for tumour."""

    def __init__(self):
        super().__init__(0.5)

    def forward(self, x):
        self.seen += len(x)
        return x[:, 1:2] * 20 - 40


def cascade(gate, segmenter, thresholds=HARD, size=64, temperature=1.0):
    if not isinstance(gate, nn.Module):
        gate = Gate(gate)
    # All thresholds are the segmenter's, so the gate's own are nonsense.
    own = Thresholds(gate=0.99, mask=0, low=1, high=0, keep=1, smallest=1)
    return Cascade(
        (gate, ModelConfig("gate", 32, own, temperature=temperature)),
        (segmenter, ModelConfig("unet", size, thresholds)),
        device="cpu",
    )


def head_with_lesion(height=64, width=64, bright=1.0, spacing=None):
    """A disc of tissue with a rectangle, and the rectangle's mask."""
    rows, columns = np.mgrid[:height, :width]
    radius = min(height, width) * 0.45
    inside = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < radius**2
    random = np.random.default_rng(0)
    flair = np.where(inside, random.uniform(90, 110, inside.shape), 2)
    lesion = np.zeros((height, width), bool)
    lesion[height // 3 : height // 2, width // 2 : width // 2 + width // 6] = True
    flair[lesion] = 300
    pixels = np.repeat(flair[..., None], 3, 2) * bright
    return Slice(pixels.astype(np.float32), "slice", spacing=spacing), lesion


def stack(slices):
    """The pixels of one patient's slices: (N, H, W, 3)."""
    return np.stack([slice_.pixels for slice_ in slices])


class TestGating:
    @pytest.mark.parametrize(
        ("gating", "gate", "sure", "kept", "seen"),
        [
            ("hard", 0.4, 0.9, 0, 0),
            ("hard", 0.6, 0.9, 1, 1),
            ("none", 0.01, 0.9, 1, 1),
            ("soft", 0.2, 0.9, 0, 0),
            ("soft", 0.4, 0.6, 0, 1),
            ("soft", 0.4, 0.7, 1, 1),
            ("soft", 0.8, 0.6, 1, 1),
        ],
    )
    def test_a_veto_empties_the_mask_and_spares_the_segmenter(self, gating, gate, sure, kept, seen):
        segmenter = Constant(sure)
        prediction = cascade(gate, segmenter, SOFT).predict(head_with_lesion()[0], gating)
        assert prediction.mask.all() == prediction.mask.any() == bool(kept)
        assert segmenter.seen == prediction.passed == prediction.probability.any() == seen
        assert prediction.gate_probability == pytest.approx(gate, abs=1e-6)

    def test_always_segment_runs_it_and_keeps_the_veto(self):
        segmenter = Constant(0.9)
        prediction = cascade(0.4, segmenter).predict(head_with_lesion()[0], always_segment=True)
        assert segmenter.seen == 1
        assert not prediction.passed
        assert not prediction.mask.any()
        assert prediction.probability == pytest.approx(0.9, abs=1e-5)

    def test_the_gates_logit_is_divided_by_its_temperature(self):
        prediction = cascade(0.9, Constant(0.9), temperature=2.0).predict(head_with_lesion()[0])
        assert prediction.gate_probability == pytest.approx(3 / 4, abs=1e-6)  # odds of 9 become odds of 3
        assert prediction.probability.max() == pytest.approx(0.9, abs=1e-6), "the segmenter's are as they are"

    def test_all_thresholds_are_the_segmenters(self):
        thresholds = Thresholds(gate=0.3, mask=0.4, low=0.1, high=0.6, keep=0.2, smallest=0.01)
        prediction = cascade(0.31, Constant(0.41), thresholds).predict(head_with_lesion()[0])
        assert prediction.thresholds == thresholds
        assert prediction.mask.all()

    def test_in_a_series_only_slices_that_pass_are_segmented(self):
        bright, _ = head_with_lesion()
        dim = replace(bright, pixels=bright.pixels * np.float32(0.1))
        segmenter = Bright()
        predictions = (
            cascade(Level(0.5), segmenter).predict(stack([bright, dim, bright, dim, dim])).predictions
        )
        assert [answer.passed for answer in predictions] == [True, False, True, False, False]
        assert [answer.mask.any() for answer in predictions] == [True, False, True, False, False]
        assert segmenter.seen == 2


class TestPlace:
    @pytest.mark.parametrize(("height", "width"), SIZES)
    def test_the_mask_lies_where_the_lesion_is_at_the_uploads_size(self, height, width):
        slice_, lesion = head_with_lesion(height, width)
        prediction = cascade(0.9, Bright(), size=128).predict(slice_)
        assert prediction.mask.shape == prediction.probability.shape == prediction.head.shape == slice_.size
        assert (prediction.mask & lesion).sum() / (prediction.mask | lesion).sum() > 0.9
        assert prediction.probability.dtype == np.float32
        assert 0 <= prediction.probability.min() <= prediction.probability.max() <= 1.0001


def test_areas_are_in_pixels_square_millimetres_and_percent_of_the_head():
    mask, head = np.zeros((2, 32, 32), bool)
    mask[2:7, 3:13], head[:20, :10] = True, True
    made = Prediction(0.9, True, mask.astype(np.float32), mask, head, HARD, {}, (0.5, 0.75))
    assert (made.area, made.area_mm2) == (50, pytest.approx(50 * 0.375))
    assert replace(made, spacing=None).area_mm2 is None
    assert made.head_percent == 17.5, "what lies outside the head does not count"
    assert replace(made, head=head & False).head_percent == 0


class TestSeries:
    def test_uses_the_volumes_statistics(self):
        made, slices = cascade(0.9, Bright()), [head_with_lesion(bright=level)[0] for level in (1, 0.7, 1.3)]
        together, alone = made.predict(stack(slices)).predictions, [made.predict(slice_) for slice_ in slices]
        # Alone, brightness does not matter; in a series it does.
        assert np.allclose(alone[0].probability, alone[1].probability, atol=1e-3)
        assert not np.allclose(together[0].probability, together[1].probability, atol=0.1)

    def test_has_thresholds_of_its_own_and_wants_neighbours_to_agree(self):
        made = cascade(0.4, Bright())
        made.series_thresholds = replace(HARD, gate=0.3)
        lesion, plain = head_with_lesion()[0], replace(head_with_lesion()[0])
        plain = replace(plain, pixels=np.where(plain.pixels > 90, 60, plain.pixels).astype(np.float32))
        slices = [plain] * 2 + [lesion] * 3 + [plain] * 3 + [lesion] + [plain]
        found = made.predict(stack(slices)).predictions
        assert all(answer.passed and answer.thresholds.gate == 0.3 for answer in found)
        assert not made.predict(lesion).passed
        outlined = [number for number, answer in enumerate(found) if answer.area]
        assert outlined == [2, 3, 4], "the lesion in a slice alone is left out"

    def test_longer_than_a_batch_keeps_its_order(self):
        slices = [head_with_lesion(bright=1 + number / 10)[0] for number in range(2 * BATCH + 1)]
        found = [
            answer.gate_probability
            for answer in cascade(Level(0.5), Bright()).predict(stack(slices)).predictions
        ]
        assert len(found) == len(slices)
        assert found == sorted(found)

    def test_as_an_array_and_as_a_series_is_the_same(self):
        made, slice_ = cascade(0.9, Bright()), head_with_lesion(spacing=(2.0, 1.5))[0]
        series = replace(Series.from_slice(slice_), slice_distance=5.0)
        from_series, from_array = made.predict(series), made.predict(slice_.pixels[None])
        assert np.array_equal(from_series.masks, from_array.masks)
        assert from_series.volume_ml == pytest.approx(from_series.voxels * 15 / 1000)
        assert from_array.volume_ml is None

    def test_of_no_slice_is_refused(self):
        with pytest.raises(SliceError, match="empty"):
            cascade(0.9, Bright()).predict(np.empty((0, 64, 64, 3), np.float32))


class TestRuns:
    def test_times_have_three_stages(self):
        times = cascade(0.9, Bright()).predict(head_with_lesion()[0]).milliseconds
        assert list(times) == ["preprocess", "gate", "segment"]
        assert all(0 <= time < 60_000 for time in times.values())

    def test_networks_are_put_in_evaluation_mode(self):
        gate, segmenter = Gate(0.9).train(), Bright().train()
        cascade(gate, segmenter)
        assert (gate.training, segmenter.training) == (False, False)

    def test_threads_share_a_cascade_and_get_the_same_answers(self):
        torch.manual_seed(0)
        made = cascade(0.9, UNet(widths=(4, 8)))
        uploads = [head_with_lesion(bright=bright, width=width)[0] for bright, width in ((1, 64), (2, 80))]
        expected = [made.predict(upload).probability for upload in uploads]
        assert len(np.unique(expected[0])) > 100
        with ThreadPoolExecutor(4) as pool:
            found = pool.map(lambda number: made.predict(uploads[number]).probability, [0, 1] * 20)
            assert all(map(np.array_equal, found, expected * 20))


class TestFromPretrained:
    @pytest.fixture
    def weights(self, tmp_path, monkeypatch):
        use_tiny_networks(monkeypatch)
        return write_weights(tmp_path, ("gate", "unet-mini"), thresholds=replace(HARD, gate=0.01))

    def test_gives_a_cascade_that_predicts(self, weights):
        made = Cascade.from_pretrained(weights, "unet-mini", device="cpu")
        assert made.predict(head_with_lesion()[0]).probability.any()
        assert made.thresholds.gate == 0.01

    @pytest.mark.parametrize("name", ["gate", "unet-huge", "../unet-mini", ""])
    def test_refuses_what_is_no_segmenter(self, weights, name):
        with pytest.raises(WeightsError, match="no segmenter"):
            Cascade.from_pretrained(weights, name)

    def test_says_which_weights_are_missing(self, weights):
        with pytest.raises(WeightsError, match="unet-lite0") as caught:
            Cascade.from_pretrained(weights, "unet-lite0")
        assert str(weights) not in str(caught.value)

    def test_refuses_a_folder_that_holds_another_network(self, weights):
        (weights / "unet-mini").rename(weights / "unet")
        with pytest.raises(WeightsError, match="holds weights for unet-mini"):
            Cascade.from_pretrained(weights, "unet")
