"""Pictures that the networks were not made for: named as such, and no slice of the kind that they know."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage import data as pictures

from lgg.examples import load_examples
from lgg.input_check import BOUNDS, FLAT, NO_HEAD, REASONS, features, input_warnings, series_warnings
from lgg.io import as_slice, read_slice
from lgg.io.images import Picture
from lgg.preprocess import head_mask
from lgg.types import FLAIR, Slice
from tools.fit_input_check import bounds
from train.data.kaggle_3m import index_folder, load_volume
from train.data.splits import fixed

DATA = Path(__file__).resolve().parents[2] / "data"
EXAMPLES = load_examples()


def slice_of(pixels):
    pixels = np.asarray(pixels, np.float32)
    return as_slice(Picture(pixels if pixels.ndim == 3 else pixels[..., None]), "picture")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_the_shipped_examples_are_plausible(example):
    assert input_warnings(read_slice(example.image)) == ()


@pytest.mark.parametrize("factor", [0.05, 16.0])
def test_the_units_change_nothing(factor):
    slice_ = read_slice(EXAMPLES[0].image)
    head = head_mask(slice_.pixels[..., FLAIR])
    scaled = replace(slice_, pixels=slice_.pixels * np.float32(factor))
    assert features(scaled, head) == pytest.approx(features(slice_, head), rel=1e-3, abs=1e-4)


def chest():
    """A body that fills the picture, with two dark lungs and a bright heart."""
    image = Image.new("L", (256, 256), 150)
    draw = ImageDraw.Draw(image)
    draw.ellipse((35, 40, 115, 215), fill=30)
    draw.ellipse((145, 40, 225, 215), fill=30)
    draw.ellipse((105, 120, 175, 220), fill=220)
    return ndimage.gaussian_filter(np.asarray(image, np.float32), 4)


COLOUR = ("astronaut", "coffee", "chelsea", "rocket", "immunohistochemistry")
GREY = ("camera", "coins", "moon", "page", "text", "clock", "brick", "grass", "gravel")
OTHER = {name: getattr(pictures, name) for name in COLOUR + GREY} | {"chest": chest}
for size in ((256, 256, 1), (256, 256, 3), (100, 160, 1)):
    OTHER[f"noise {size}"] = partial(np.random.default_rng(0).normal, 100, 20, size)


@pytest.mark.parametrize("make", OTHER.values(), ids=OTHER)
def test_photos_print_a_chest_and_noise_are_not_plausible(make):
    assert input_warnings(slice_of(make()))


def test_a_picture_without_a_head_is_named():
    blank = np.zeros((128, 128))
    blank[60:62, 60:62] = 1
    assert input_warnings(slice_of(blank))[0] in (NO_HEAD, FLAT)
    assert input_warnings(slice_of(np.full((64, 64), 7))) == (NO_HEAD,)
    example = read_slice(EXAMPLES[0].image)
    assert input_warnings(example, np.zeros(example.size, bool)) == (NO_HEAD,), "its head is not looked for"


def test_a_head_that_fills_the_picture_is_named():
    slice_ = read_slice(EXAMPLES[0].image)
    reasons = input_warnings(slice_, np.ones(slice_.size, bool))
    assert any("fills more of the picture" in reason for reason in reasons)
    assert any("runs out of the picture" in reason for reason in reasons)


def test_strong_colours_are_named():
    slice_ = read_slice(next(example.image for example in EXAMPLES if example.name == "healthy"))
    red = slice_.pixels * np.array([1, 0.01, 0.01], np.float32)
    assert any("colour photo" in reason for reason in input_warnings(replace(slice_, pixels=red)))


def test_every_feature_has_bounds_and_reasons_and_the_bounds_name_no_patient():
    stored = json.loads(BOUNDS.read_text())
    slice_ = Slice(np.random.default_rng(0).uniform(size=(64, 64, 3)).astype("float32"), "slice")
    names = set(features(slice_, np.ones((64, 64), bool)))
    assert names == set(REASONS) == set(stored["bounds"])
    assert all(low < high for low, high in stored["bounds"].values())
    assert set(stored) == {"patients", "slices", "bounds"}


def test_a_series_is_judged_by_its_middle():
    brain, noise = read_slice(EXAMPLES[0].image), slice_of(np.random.default_rng(0).normal(size=(256, 256)))
    ends = [noise] * 3 + [brain] * 4 + [noise] * 3
    middle = [brain] * 3 + [noise] * 4 + [brain] * 3
    for slices, expected in ((ends, False), (middle, True), ([brain], False), ([noise], True)):
        heads = [head_mask(each.pixels[..., FLAIR]) for each in slices]
        assert bool(series_warnings(slices, heads)) == expected


def test_bounds_keep_all_patients_but_the_outermost():
    patients = [[{"head": 0.4 + number / 1000}] * 9 for number in range(101)]
    low, high = bounds([*patients, [{"head": 0.0}] * 9])["head"]
    width = 0.5 - 0.4
    assert low == pytest.approx(0.4 - 0.3 * width, abs=3e-3)
    assert high == pytest.approx(0.5 + 0.3 * width, abs=3e-3)


@pytest.mark.skipif(not DATA.is_dir(), reason="the data set is not here")
def test_nearly_all_tumour_slices_of_test_patients_are_plausible():
    patients = index_folder(DATA)
    said = []
    for name in fixed()["patient"]["test"]:
        volume = load_volume(patients[name])
        said += [input_warnings(Slice(pixels, "slice")) for pixels in volume.pixels[volume.tumour]]
    assert np.mean([reasons == () for reasons in said]) >= 0.97
