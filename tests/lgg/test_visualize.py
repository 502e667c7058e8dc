"""Pictures for people: readable, true to the mask, and told apart by more than one hue."""

from dataclasses import replace

import numpy as np
import pytest
from skimage.segmentation import find_boundaries

from lgg.types import FLAIR, POST, PRE, Prediction, Slice, Thresholds
from lgg.visualize import (
    AGREED,
    DISPLAY_SIDE,
    INVENTED,
    LAYERS,
    MISSED,
    PREDICTED,
    Display,
    base,
    describe,
    draw,
    enlarge,
    error_overlay,
    legend,
    overlay,
    window,
)

HEAD = np.zeros((64, 64), bool)
HEAD[8:56, 8:56] = True


def dark(top=12.0, shape=(64, 64)):
    """Background near zero, tissue that rises to `top`, one vessel a hundred times as bright."""
    random = np.random.default_rng(0)
    values = random.uniform(0, 0.02 * top, shape)
    values[8:56, 8:56] = np.linspace(0.2 * top, top, 48)
    values[30, 30] = 100 * top
    return values.astype(np.float32)


def grey(height=64, width=64, value=100):
    return np.full((height, width, 3), value, np.uint8)


def square(rows, columns, shape=(64, 64)):
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


class TestWindow:
    @pytest.mark.parametrize("top", [0.003, 12.0, 40000.0])
    def test_makes_a_dark_slice_readable(self, top):
        picture = window(dark(top), HEAD)
        assert (picture.shape, picture.dtype) == ((64, 64, 3), np.uint8)
        assert (picture == picture[..., :1]).all()
        tissue = picture[8:56, 8:56, 0]
        assert picture[:4].max() < 20
        assert tissue.min() > 40
        # The last columns are nearly white although one vessel is a hundred times brighter.
        assert np.median(tissue[:, -1]) > 240
        assert (np.diff(tissue[2].astype(int)) >= 0).all()

    def test_does_not_depend_on_the_units(self):
        change = window(dark() * 16 + 500, HEAD).astype(int) - window(dark(), HEAD)
        assert np.abs(change).max() <= 1

    @pytest.mark.parametrize("head", [None, np.zeros((64, 64), bool)], ids=["none", "empty"])
    def test_without_a_head_uses_the_whole_picture(self, head):
        values = dark()
        assert np.array_equal(window(values, head), window(values, np.ones((64, 64), bool)))

    def test_of_a_few_bright_pixels_still_shows_them(self):
        values = np.zeros((64, 64), np.float32)
        values[5, 5] = 3
        assert window(values)[5, 5, 0] == 255

    @pytest.mark.parametrize("value", [0.0, 1000.0, -3.0, 1e6])
    @pytest.mark.filterwarnings("error")
    def test_of_one_flat_colour_is_black(self, value):
        # A series may hold one: the air above the head.
        assert not window(np.full((64, 64), value, np.float32)).any()


class TestEnlarge:
    @pytest.mark.parametrize(
        ("shape", "times"),
        [((64, 64), 8), ((256, 256), 2), ((100, 300), 1), ((199, 257), 1), ((120, 70), 4), ((700, 600), 1)],
    )
    def test_repeats_pixels_a_whole_number_of_times(self, shape, times):
        picture = np.arange(shape[0] * shape[1]).reshape(shape)
        large = enlarge(picture)
        assert large.shape == (shape[0] * times, shape[1] * times)
        assert max(large.shape) <= max(DISPLAY_SIDE, *shape)
        assert np.array_equal(large[::times, ::times], picture)
        assert np.array_equal(large[times - 1 :: times, times - 1 :: times], picture)


@pytest.mark.parametrize("shape", [(64, 64), (60, 100), (257, 199)])
class TestOverlays:
    """Pixel by pixel; halves may be rounded either way."""

    def drawn(self, overlay, shape, *masks, **options):
        picture = grey(*shape)
        result = overlay(picture, *masks, **options)
        assert result.dtype == np.uint8
        assert (picture == 100).all(), "the input is left alone"
        return result.astype(float)

    @pytest.mark.parametrize("opacity", [0, 0.35])
    def test_a_mask_is_a_solid_contour_around_a_translucent_fill(self, shape, opacity):
        mask = square(slice(10, 30), slice(20, 45), shape)
        expected, region = enlarge(grey(*shape)).astype(float), enlarge(mask)
        expected[region] = (1 - opacity) * 100 + opacity * np.array(PREDICTED)
        expected[find_boundaries(region, mode="inner")] = PREDICTED
        assert np.abs(self.drawn(overlay, shape, mask, opacity=opacity) - expected).max() <= 0.5

    def test_found_missed_and_invented_are_told_by_colour_and_the_truth_by_a_white_contour(self, shape):
        mask, truth = square(slice(10, 30), slice(10, 30), shape), square(slice(10, 30), slice(20, 40), shape)
        expected = enlarge(grey(*shape)).astype(float)
        for region, colour in ((mask & truth, AGREED), (truth & ~mask, MISSED), (mask & ~truth, INVENTED)):
            expected[enlarge(region)] = 0.5 * 100 + 0.5 * np.array(colour)
        expected[find_boundaries(enlarge(truth), mode="inner")] = 255
        assert np.abs(self.drawn(error_overlay, shape, mask, truth, opacity=0.5) - expected).max() <= 0.5
        assert len({AGREED, MISSED, INVENTED}) == 3


#: Neither square nor even, and enlarged by different whole numbers.
SIZES = [(64, 64), (57, 99), (301, 200)]


def examined(height=64, width=64):
    """A grey disc with a rectangle in the lower left that every map shares."""
    rows, columns = np.mgrid[:height, :width]
    head = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (0.45 * min(height, width)) ** 2
    mask = np.zeros((height, width), bool)
    mask[height // 2 : 2 * height // 3, width // 4 : width // 2] = True
    pixels = np.stack([head * value for value in (50.0, 100.0, 200.0)], -1).astype(np.float32)
    pixels += np.random.default_rng(0).random(pixels.shape, np.float32)
    prediction = Prediction(0.9, True, mask.astype(np.float32), mask, head, Thresholds(), {})
    return Slice(pixels, "slice"), prediction


def changed(slice_, prediction, look, **more):
    """Where the layer changed the picture."""
    return (draw(slice_, prediction, look, **more) != base(slice_, prediction, look)).any(-1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_lies_where_its_map_does(layer, size):
    slice_, prediction = examined(*size)
    extra = prediction.mask * np.float32(0.5)
    at = changed(slice_, prediction, Display(FLAIR, layer, 0.8), extra=extra, truth=prediction.mask)
    expected = enlarge(prediction.mask & prediction.head if layer == "why" else prediction.mask)
    if layer == "outline":
        expected = find_boundaries(expected, mode="inner")
    assert np.mean(at == expected) > 0.999


def test_the_sequence_chosen_lies_below():
    slice_, prediction = examined()
    drawn = [base(slice_, prediction, Display(channel)) for channel in (PRE, FLAIR, POST)]
    for channel, picture in enumerate(drawn):
        assert np.array_equal(picture, enlarge(window(slice_.pixels[..., channel], prediction.head)))
    assert len({picture.tobytes() for picture in drawn}) == 3


def test_words_say_what_is_seen_and_where():
    _, prediction = examined()
    said = describe(Display(), prediction)
    assert all(part in said for part in ("FLAIR", "160 pixels", "central"))
    corner = np.zeros_like(prediction.mask)
    corner[50:60, 2:9] = True
    assert "lower left" in describe(Display(), replace(prediction, mask=corner))
    words = {describe(Display(POST, layer), prediction) for layer in LAYERS}
    assert len(words) == 5  # fill and outline outline the same
    assert all(words_.startswith("post-contrast T1") for words_ in words)
    assert "Nothing is outlined" in describe(Display(), replace(prediction, mask=corner & False))


def test_every_layer_has_a_legend_and_sides_are_named_only_where_they_are_known():
    assert len({legend(Display(layer=layer), True, False) for layer in LAYERS}) == 5
    assert legend(Display(layer="errors"), False, False) == legend(Display(), False, False)
    assert "right is on the left" in legend(Display(), False, oriented=True)
    assert "right" not in legend(Display(), False, oriented=False)
