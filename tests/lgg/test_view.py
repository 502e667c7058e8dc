"""What the page draws: each layer where it belongs, and in words too."""

from dataclasses import replace

import numpy as np
import pytest
from skimage.segmentation import find_boundaries

from lgg.types import FLAIR, POST, PRE, Prediction, Slice, Thresholds
from lgg.visualize import LAYERS, PREDICTED, Display, base, describe, draw, legend

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


def changed(one, prediction, look, **more):
    """Where the layer changed the picture."""
    return (draw(one, prediction, look, **more) != base(one, prediction, look)).any(-1)


def enlarged(mask, like):
    times = like.shape[0] // mask.shape[0]
    assert like.shape[:2] == (mask.shape[0] * times, mask.shape[1] * times)
    return mask.repeat(times, 0).repeat(times, 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_lies_where_its_map_does(layer, size):
    one, prediction = examined(*size)
    extra = prediction.mask * np.float32(0.5)
    at = changed(one, prediction, Display(FLAIR, layer, 0.8), extra=extra, truth=prediction.mask)
    expected = enlarged(prediction.mask & prediction.head if layer == "why" else prediction.mask, at)
    if layer == "outline":
        expected = find_boundaries(expected, mode="inner")
    assert np.mean(at == expected) > 0.999


@pytest.mark.parametrize("channel", [PRE, FLAIR, POST])
def test_the_sequence_chosen_lies_below(channel):
    one, prediction = examined()
    mixed = one.pixels.copy()
    mixed[..., channel] = one.pixels[::-1, :, channel] * np.linspace(1, 2, 64, dtype=np.float32)
    other = base(Slice(mixed, "slice"), prediction, Display(channel))
    assert not np.array_equal(other, base(one, prediction, Display(channel)))
    assert np.array_equal(
        base(one, prediction, Display((channel + 1) % 3)),
        base(Slice(mixed, "slice"), prediction, Display((channel + 1) % 3)),
    )


def test_opacity_is_how_much_of_the_colour_there_is():
    one, prediction = examined()
    look = Display(FLAIR, "fill", 1)
    inside = enlarged(prediction.mask, draw(one, prediction, look))
    assert (draw(one, prediction, look)[inside] == PREDICTED).all()
    outline = changed(one, prediction, Display(FLAIR, "fill", 0))
    assert np.array_equal(outline, changed(one, prediction, Display(FLAIR, "outline")))


def test_errors_tell_agreed_missed_and_invented_apart():
    one, prediction = examined()
    truth = np.roll(prediction.mask, 5, axis=1)
    picture = draw(one, prediction, Display(FLAIR, "errors", 1), truth=truth)
    times = picture.shape[0] // 64
    small = picture[times // 2 :: times, times // 2 :: times]
    inner = ~find_boundaries(truth, mode="thick")
    regions = (prediction.mask & truth, truth & ~prediction.mask, prediction.mask & ~truth)
    colours = [np.unique(small[region & inner], axis=0) for region in regions]
    assert [len(one) for one in colours] == [1, 1, 1]
    assert len({tuple(one[0]) for one in colours}) == 3


def test_words_say_what_is_seen_and_where():
    _, prediction = examined()
    said = "FLAIR with 160 pixels outlined, in the central part of the picture."
    assert describe(Display(), prediction) == said
    corner = np.zeros_like(prediction.mask)
    corner[50:60, 2:9] = True
    assert "70 pixels outlined, in the lower left part" in describe(
        Display(), replace(prediction, mask=corner)
    )
    words = {describe(Display(POST, layer), prediction) for layer in LAYERS}
    assert len(words) == 5  # fill and outline outline the same
    assert all(one.startswith("post-contrast T1") for one in words)
    assert "Nothing is outlined" in describe(Display(), replace(prediction, mask=corner & False))


def test_every_layer_has_a_legend():
    assert len({legend(Display(layer=layer), True, False) for layer in LAYERS}) == 5
    assert legend(Display(layer="errors"), False, False) == legend(Display(), False, False)


def test_sides_are_named_only_where_they_are_known():
    assert legend(Display(), False, oriented=True).endswith("The patient's right is on the left.")
    assert "right" not in legend(Display(), False, oriented=False)
