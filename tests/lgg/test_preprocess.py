"""Preprocessing: the head, the network's input, the way back, and that training and serving agree."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
import torch.nn.functional as F

from lgg.io import read_slice
from lgg.preprocess import head_mask, inner_head, prepare, resize, resize_pad, undo
from lgg.types import FLAIR, POST, PRE
from train.data.augment import augment
from train.data.dataset import load_slices
from train.data.kaggle_3m import index_folder
from train.recipes import PLAIN

SIZES = [(256, 256), (128, 128), (257, 199), (100, 300), (301, 64), (511, 512)]


def disc(height, width, radius, centre=None):
    row, column = centre or ((height - 1) / 2, (width - 1) / 2)
    rows, columns = np.ogrid[:height, :width]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def brain(height=64, width=64, seed=0, radius=24):
    """Three channels of textured 'tissue' in a disc on a faintly noisy background."""
    random = np.random.default_rng(seed)
    pixels = random.uniform(0, 4, (height, width, 3))
    inside = disc(height, width, radius)
    pixels[inside] = random.uniform(80, 200, (inside.sum(), 3)) * (0.7, 1, 0.9)
    return pixels.round().astype(np.float32)


def series(count=5, height=64, width=64):
    """Slices whose heads and brightness differ, as those of a patient do."""
    slices = [brain(height, width, seed, radius=12 + 3 * seed) for seed in range(count)]
    return np.stack([(slice_ * (1 + 0.05 * n)).round() for n, slice_ in enumerate(slices)]).astype(np.float32)


def iou(mask, other):
    return np.count_nonzero(mask & other) / np.count_nonzero(mask | other)


def is_disc(head, radius, within=2):
    """Whether a head is the disc of this radius around the middle, its outline `within` so many pixels."""
    inner, outer = (disc(*head.shape, size) for size in (radius - within, radius + within))
    return head[inner].all() and not head[~outer].any()


def served(pixels, mode="slice", size=64):
    return prepare(pixels, mode).network_input(size)


class TestHead:
    def test_is_the_bright_disc_with_its_dark_holes_and_without_blobs_outside(self):
        ventricle, blob = disc(256, 256, 20), disc(256, 256, 6, centre=(20, 20))
        flair = np.where(disc(256, 256, 80) & ~ventricle | blob, 100.0, 3.0)
        assert is_disc(head_mask(flair), 80)

    def test_keeps_the_brain_beside_much_brighter_scalp(self):
        scalp = disc(256, 256, 96) & ~disc(256, 256, 88)
        flair = np.where(disc(256, 256, 96), 60.0, 2.0) + np.where(scalp, 190.0, 0)
        assert is_disc(head_mask(flair), 96, within=3)

    @pytest.mark.parametrize("value", [0.0, 255.0, -7.5])
    def test_is_empty_in_a_constant_picture(self, value):
        assert not head_mask(np.full((64, 64), value, np.float32)).any()
        assert not head_mask(np.full((3, 64, 64), value, np.float32)).any()

    def test_of_a_volume_follows_each_slice_and_is_empty_in_the_air_above(self):
        radii = (30, 40, 50)
        flair = np.stack([np.where(disc(128, 128, radius), 100.0, 3.0) for radius in (*radii, 0)])
        *heads, above = head_mask(flair)
        assert all(is_disc(head, radius) for head, radius in zip(heads, radii, strict=True))
        assert not above.any()


class TestInput:
    @pytest.mark.parametrize("mode", ["slice", "volume"])
    @pytest.mark.parametrize(
        "change",
        [
            lambda pixels: pixels.astype(np.uint16).astype(np.float32),
            lambda pixels: (pixels.astype(np.uint16) * 16).astype(np.float32),
            lambda pixels: pixels * np.float32(0.05),
            lambda pixels: pixels + np.float32(500),
            lambda pixels: pixels - np.float32(90),
        ],
        ids=["uint16", "uint16 x16", "float x0.05", "shifted up", "shifted below zero"],
    )
    def test_does_not_depend_on_the_units(self, change, mode):
        pixels = series()
        np.testing.assert_allclose(
            served(change(pixels), mode), served(pixels, mode), atol=1e-3, rtol=0, equal_nan=False
        )

    def test_is_a_z_score_inside_the_head_without_its_rim(self):
        pixels = brain()[None]
        head = inner_head(prepare(pixels, "slice").heads)[0]
        inside = served(pixels)[0][:, head]
        assert inside.mean(1) == pytest.approx(0, abs=1e-4)
        assert inside.std(1) == pytest.approx(1, abs=1e-4)

    def test_of_a_missing_sequence_is_that_of_flair_which_does_not_notice(self):
        pixels = brain()[None]
        copied = pixels.copy()
        copied[..., POST] = pixels[..., FLAIR]
        assert np.array_equal(served(copied)[:, [PRE, FLAIR]], served(pixels)[:, [PRE, FLAIR]])
        assert np.array_equal(served(copied)[:, POST], served(pixels)[:, FLAIR])

    @pytest.mark.parametrize("size", [64, 48])
    def test_of_a_black_channel_or_a_constant_picture_is_zeros(self, size):
        pixels = brain()[None]
        pixels[..., POST] = 0
        assert not served(pixels, size=size)[:, POST].any()
        assert not served(np.full((1, 64, 64, 3), 17, np.float32), size=size).any()

    def test_pads_with_the_darkest_value_of_each_channel(self):
        pixels = brain(40, 64)[None] + np.array([10, 20, 30], np.float32)
        square = resize_pad(pixels, 64)
        for channel in range(3):
            padding = np.concatenate([square[0, channel, :12], square[0, channel, -12:]])
            assert (padding == pixels[..., channel].min()).all()

    def test_of_a_wide_slice_lies_in_the_middle_unchanged(self):
        pixels = brain(40, 64)[None]
        assert np.array_equal(resize_pad(pixels, 64)[0, :, 12:52].transpose(1, 2, 0), pixels[0])


class TestInnerHead:
    def test_leaves_out_a_rim_by_the_size_of_the_head(self):
        heads = np.zeros((2, 120, 120), bool)
        heads[0, 10:110, 10:110] = True
        heads[1, 50:80, 50:80] = True
        inner = inner_head(heads[0])
        assert inner.sum() == (100 - 2 * 8) ** 2  # 8 % of the side
        assert not (inner & ~heads[0]).any()
        assert inner_head(heads)[1].sum() == (30 - 2 * 8) ** 2, "a volume's largest slice decides for all"
        assert inner_head(heads[1]).sum() > (30 - 2 * 3) ** 2

    def test_of_a_picture_cropped_to_the_head_has_a_rim_too(self):
        assert not inner_head(np.ones((100, 100), bool))[0].any()

    def test_is_the_head_where_the_rim_would_take_all(self):
        line = np.zeros((64, 64), bool)
        line[30] = True
        assert np.array_equal(inner_head(line), line)


class TestStatistics:
    @pytest.mark.parametrize("mode", ["slice", "volume"])
    def test_are_taken_inside_the_heads_of_a_slice_or_of_all(self, mode):
        pixels = series()
        prepared = prepare(pixels, mode)
        assert len(prepared.mean) == len(prepared.std) == 5
        for number, (mean, std) in enumerate(zip(prepared.mean, prepared.std, strict=True)):
            rows = [number] if mode == "slice" else slice(None)
            inside = pixels[rows][inner_head(prepared.heads[rows])]
            assert mean == pytest.approx(inside.mean(0), rel=1e-5)
            assert std == pytest.approx(inside.std(0), rel=1e-5)

    def test_do_not_change_with_the_scalp(self):
        rows, columns = np.mgrid[:100, :100]
        radius = np.hypot(rows - 50, columns - 50)
        brain = np.random.default_rng(0).uniform(90, 110, (100, 100)) * (radius < 40)
        found = []
        for scalp in (120, 400):
            flair = np.where((radius > 37) & (radius < 40), scalp, brain)
            found.append(prepare(np.repeat(flair[None, ..., None], 3, 3).astype(np.float32), "slice"))
        assert found[0].mean == pytest.approx(found[1].mean, rel=1e-3)
        assert found[0].std == pytest.approx(found[1].std, rel=1e-2)

    def test_are_those_of_the_whole_picture_without_a_head(self):
        speck = np.zeros((1, 64, 64, 3), np.float32)
        speck[0, 30, 30] = 9
        assert prepare(speck, "slice").mean[0] == pytest.approx(speck[0].mean((0, 1)), rel=1e-5)


@pytest.mark.parametrize("size", [(7, 9), (32, 32), (50, 41), (51, 120), (300, 3)], ids=str)
def test_resizing_is_pytorchs_with_antialiasing(size):
    pictures = np.random.default_rng(0).normal(100, 20, (2, 3, 50, 41)).astype(np.float32)
    resized = resize(pictures, *size)
    assert resized.dtype == np.float32
    expected = F.interpolate(torch.from_numpy(pictures), size, mode="bilinear", antialias=True)
    np.testing.assert_allclose(resized, expected, atol=1e-3)


class TestWayBack:
    @pytest.mark.parametrize("side", [256, 128])
    @pytest.mark.parametrize(("height", "width"), SIZES)
    def test_brings_a_mask_back_to_its_size_and_place(self, height, width, side):
        mask = np.zeros((height, width), np.float32)
        rows, columns = slice(height // 5, height // 2), slice(width // 2, width * 7 // 8)
        mask[rows, columns] = 1
        returned = undo(resize_pad(mask[None, ..., None], side)[:, 0], height, width)
        assert returned.shape == (1, height, width)
        assert returned.dtype == np.float32
        assert 0 <= returned.min() <= returned.max() <= 1.0001
        region = returned[0] >= 0.5
        assert iou(region, mask > 0) > 0.93
        for found, true in zip(np.argwhere(region).mean(0), np.argwhere(mask).mean(0), strict=True):
            assert found == pytest.approx(true, abs=0.5)

    @pytest.mark.parametrize("side", [256, 128])
    @pytest.mark.parametrize(("height", "width"), SIZES)
    def test_starts_from_the_middle_of_the_square(self, height, width, side):
        # A disc around the picture's centre must lie around the square's centre, round.
        mask = disc(height, width, min(height, width) / 4).astype(np.float32)
        inside = resize_pad(mask[None, ..., None], side)[0, 0] >= 0.5
        assert np.argwhere(inside).mean(0) == pytest.approx([(side - 1) / 2] * 2, abs=0.75)
        assert np.count_nonzero(inside) == pytest.approx(
            mask.sum() * (side / max(height, width)) ** 2, rel=0.1
        )

    def test_survives_a_picture_of_one_pixel_width(self):
        square = resize_pad(np.ones((1, 300, 1, 1), np.float32), 64)[:, 0]
        assert undo(square, 300, 1).shape == (1, 300, 1)


@pytest.fixture(params=[(64, 64), (80, 50), (45, 70)], ids=["square", "tall", "wide"])
def patient(tmp_path, request):
    """One patient's folder of uint8 TIFFs, and the index of it."""
    home = tmp_path / "kaggle_3m" / "TCGA_ZZ_0001_20000101"
    home.mkdir(parents=True)
    height, width = request.param
    for number, pixels in enumerate(series(4, height, width), start=1):
        stem = f"{home.name}_{number}"
        tifffile.imwrite(home / f"{stem}.tif", pixels.clip(0, 255).astype(np.uint8), photometric="rgb")
        tifffile.imwrite(home / f"{stem}_mask.tif", np.where(disc(height, width, 5), 255, 0).astype(np.uint8))
    return index_folder(tmp_path)


class TestTrainingAndServing:
    """A network sees, tensor for tensor, what it saw when it learned."""

    def trained(self, patient, how):
        return augment(load_slices(patient, 64), how, torch.Generator())[0]

    def uploads(self, patient):
        (slices,) = patient.values()
        return [read_slice(file.image).pixels[None] for file in slices]

    def test_agree_on_a_series(self, patient):
        pixels = np.concatenate(self.uploads(patient))
        assert np.array_equal(self.trained(patient, PLAIN), served(pixels, "volume"))

    def test_agree_on_lone_slices(self, patient):
        own = replace(PLAIN, slice_statistics=1)
        alone = [served(upload, "slice") for upload in self.uploads(patient)]
        assert np.array_equal(self.trained(patient, own), np.concatenate(alone))
