"""Pictures for people, RGB uint8: a readable sequence, with a mask, a heat map or errors over it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lgg.metrics import edge
from lgg.types import FLAIR, SEQUENCES, Prediction, SeriesResult, Slice

Rgb = NDArray[np.uint8]

#: Okabe and Ito's palette, told apart with any colour vision: what the model found, missed and invented.
PREDICTED = (230, 159, 0)
AGREED, MISSED, INVENTED = (0, 158, 115), (86, 180, 233), (213, 94, 0)
#: Five of matplotlib's *inferno*, evenly spaced: lightness rises all the way, with any colour vision.
INFERNO = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float32)
#: Below this, a picture is enlarged by a whole number so that a contour of one pixel stays fine.
DISPLAY_SIDE = 512
#: A preview's slices: how many are shown at most, how many in a row, and the longer side of each in pixels.
PREVIEW_SLICES, PREVIEW_COLUMNS, PREVIEW_SIDE = 30, 6, 160
#: `fill` and `outline` draw the mask; `heat` the segmenter's probability, whatever the thresholds; `why` the
#: gate's Grad-CAM; `unsure` how far the answer moves; `errors` the mask against a ground truth.
Layer = Literal["fill", "outline", "heat", "why", "unsure", "errors"]
LAYERS: tuple[Layer, ...] = ("fill", "outline", "heat", "why", "unsure", "errors")
#: Layers that are heat maps → what they show, and their legend.
HEAT_MAPS: dict[Layer, tuple[str, str]] = {
    "heat": (
        "the segmenter's tumour probability",
        "The segmenter's probability of tumour, pixel by pixel: dark is low, bright is high.",
    ),
    "why": (
        "where the gate saw signs of a glioma",
        "Where the gate saw what raised its probability (Grad-CAM), relative to this slice's highest place. "
        "Coarse: a cell is an eighth of the picture.",
    ),
    "unsure": (
        "how unsure the segmenter is",
        "How far the segmenter's answer moves when the slice is mirrored: where it is bright, do not trust "
        "the outline.",
    ),
}
#: The largest standard deviation of probabilities: half of the views say 0, half say 1.
LARGEST_STD = 0.5


@dataclass(frozen=True)
class Display:
    """How a slice is shown.

    channel: which sequence lies below, an index into `lgg.types.SEQUENCES`.
    layer: what lies over it.
    opacity: of the layer, 0 to 1.
    """

    channel: int = FLAIR
    layer: Layer = "fill"
    opacity: float = 0.35


def window(values: NDArray[np.float32], head: NDArray[np.bool_] | None = None) -> Rgb:
    """A sequence as grey RGB, windowed so that a dark slice can be read.

    Black is the 1st percentile of the picture, white the 99.5th inside the head: a few bright vessels or fat
    do not darken the brain. A mild gamma lifts the shadows.

    Args:
        values: (H, W) float32, any range.
        head: (H, W) bool; the whole picture where it is None or empty.

    Returns:
        (H, W, 3) uint8.
    """
    inside = values[head] if head is not None and head.any() else values
    low, high = np.percentile(values, 1), np.percentile(inside, 99.5)
    if high <= low:
        low, high = values.min(), values.max()
    grey = np.clip((values - low) / ((high - low) or 1), 0, 1) ** 0.8
    return np.repeat((grey * 255).round().astype(np.uint8)[..., None], 3, axis=2)


def flair_picture(slice_: Slice, head: NDArray[np.bool_] | None = None) -> Rgb:
    """The FLAIR of a slice, windowed: (H, W, 3) uint8."""
    return window(slice_.pixels[..., FLAIR], head)


def overlay(picture: Rgb, mask: NDArray[np.bool_], opacity: float = 0.35) -> Rgb:
    """A mask over a picture: translucent fill and solid contour.

    Args:
        picture: (H, W, 3) uint8.
        mask: (H, W) bool.
        opacity: of the fill, 0 (contour only) to 1.

    Returns:
        (kH, kW, 3) uint8, enlarged by the whole number k that `enlarge` would choose.
    """
    large, region = enlarge(picture), enlarge(mask)
    result = _fill(large, region, PREDICTED, opacity)
    result[edge(region)] = PREDICTED
    return result


def heat_overlay(picture: Rgb, values: NDArray[np.floating], opacity: float = 0.6) -> Rgb:
    """A map over a picture, darker to lighter; where it is near 0 the picture shows through.

    Args:
        picture: (H, W, 3) uint8.
        values: (H, W), 0 to 1; what lies outside is clipped.
        opacity: where the map is 1; towards 0 it falls off.

    Returns:
        (kH, kW, 3) uint8, enlarged as by `overlay`.
    """
    share = np.clip(values, 0, 1).astype(np.float32)
    place = share * (len(INFERNO) - 1)
    colours = np.stack([np.interp(place, range(len(INFERNO)), channel) for channel in INFERNO.T], axis=-1)
    weight = (opacity * np.minimum(1, 2 * share))[..., None]
    return enlarge((picture * (1 - weight) + colours * weight).round().astype(np.uint8))


def error_overlay(
    picture: Rgb, mask: NDArray[np.bool_], truth: NDArray[np.bool_], opacity: float = 0.5
) -> Rgb:
    """Where a mask agrees with the ground truth (green), misses it (blue) and exceeds it (vermilion).

    The truth's contour is drawn in white, so nothing is told by colour alone.
    """
    result = enlarge(picture)
    for region, colour in ((mask & truth, AGREED), (truth & ~mask, MISSED), (mask & ~truth, INVENTED)):
        result = _fill(result, enlarge(region), colour, opacity)
    result[edge(enlarge(truth))] = 255
    return result


def enlarge(picture: NDArray) -> NDArray:
    """Repeat pixels a whole number of times until the longer side nears `DISPLAY_SIDE`; pixels stay crisp."""
    times = max(1, DISPLAY_SIDE // max(picture.shape[:2]))
    return picture.repeat(times, 0).repeat(times, 1)


def preview(result: SeriesResult, caption: str = "") -> Rgb:
    """The slices of a series side by side: FLAIR with the outline, and each slice's number.

    A long series is shown in `PREVIEW_SLICES` slices: half of them evenly through the series, half evenly
    through those with an outline, and the most telling one.

    Args:
        caption: a line of text below the slices.

    Returns:
        (H, W, 3) uint8.
    """
    numbers = _shown(result)
    spacing = result.series.spacing or (1.0, 1.0)
    size = np.multiply(result.series.pixels.shape[1:3], spacing)
    height, width = (int(side) for side in np.ceil(size * PREVIEW_SIDE / size.max()))
    rows = -(-len(numbers) // PREVIEW_COLUMNS)
    line = 18 if caption else 0
    sheet = Image.new("RGB", (PREVIEW_COLUMNS * width, rows * height + line))
    pen = ImageDraw.Draw(sheet)
    tiles = _tiles(result, numbers, (height, width))
    for place, (number, tile) in enumerate(zip(numbers, tiles, strict=True)):
        corner = (place % PREVIEW_COLUMNS * width, place // PREVIEW_COLUMNS * height)
        sheet.paste(Image.fromarray(tile), corner)
        pen.text((corner[0] + 3, corner[1] + 2), str(number), fill=(255, 255, 255))
    pen.text((3, rows * height + 3), caption, fill=(255, 255, 255))
    return np.asarray(sheet)


def _shown(result: SeriesResult) -> list[int]:
    """The numbers of the slices that a preview shows."""
    everything = range(1, len(result) + 1)
    if len(result) <= PREVIEW_SLICES:
        return list(everything)
    half = (PREVIEW_SLICES - 1) // 2
    evenly = [np.linspace(0, len(numbers) - 1, half).round() for numbers in (everything, result.with_tumour)]
    chosen = {everything[int(place)] for place in evenly[0]} | {result.most_telling}
    if result.with_tumour:
        chosen |= {result.with_tumour[int(place)] for place in evenly[1]}
    return sorted(chosen)


def _tiles(result: SeriesResult, numbers: list[int], size: tuple[int, int]) -> Iterator[Rgb]:
    """Each slice in grey with its outline, (height, width, 3) uint8, one brightness for all."""
    places = [number - 1 for number in numbers]
    flair = result.series.pixels[places, ..., FLAIR]
    heads = np.stack([result.predictions[place].head for place in places])
    columns = flair.shape[2]
    greys = window(flair.reshape(-1, columns), heads.reshape(-1, columns)).reshape(*flair.shape, 3)
    for place, grey in zip(places, greys, strict=True):
        tile = np.array(Image.fromarray(grey).resize(size[::-1], Image.Resampling.BILINEAR))
        mask = Image.fromarray(result.predictions[place].mask.astype(np.uint8) * 255)
        region = np.asarray(mask.resize(size[::-1], Image.Resampling.BILINEAR)) >= 128
        tile[edge(region)] = PREDICTED
        yield tile


def base(slice_: Slice, prediction: Prediction, display: Display) -> Rgb:
    """The sequence alone: (kH, kW, 3) uint8, enlarged as the layers are."""
    return enlarge(window(slice_.pixels[..., display.channel], prediction.head))


def draw(
    slice_: Slice,
    prediction: Prediction,
    display: Display,
    extra: NDArray[np.float32] | None = None,
    truth: NDArray[np.bool_] | None = None,
) -> Rgb:
    """The sequence with its layer.

    Args:
        slice_, prediction: the slice and what was found in it.
        display: what to draw.
        extra: (H, W) float32: for `why` the gate's Grad-CAM, for `unsure` the standard deviation.
        truth: (H, W) bool; needed for `errors`.

    Returns:
        (kH, kW, 3) uint8.
    """
    picture = window(slice_.pixels[..., display.channel], prediction.head)
    if display.layer == "errors" and truth is not None:
        return error_overlay(picture, prediction.mask, truth, display.opacity)
    if display.layer == "heat":
        return heat_overlay(picture, prediction.probability, display.opacity)
    if display.layer in ("why", "unsure") and extra is not None:
        # Grad-CAM's cells are so coarse that they reach beyond the head, where there is nothing to see.
        values = np.where(prediction.head, extra, 0) if display.layer == "why" else extra / LARGEST_STD
        return heat_overlay(picture, values, display.opacity)
    return overlay(picture, prediction.mask, 0 if display.layer == "outline" else display.opacity)


def describe(display: Display, prediction: Prediction) -> str:
    """The picture in words, for those who cannot see it."""
    sequence = SEQUENCES[display.channel]
    if display.layer in HEAT_MAPS:
        return f"{sequence} with {HEAT_MAPS[display.layer][0]} as a heat map."
    if prediction.area == 0:
        return f"{sequence}. Nothing is outlined."
    height, width = prediction.mask.shape
    rows, columns = np.nonzero(prediction.mask)
    where = [_third(rows.mean() / height, "upper", "lower"), _third(columns.mean() / width, "left", "right")]
    place = " ".join(filter(None, where)) or "central"
    against = " against the ground truth" if display.layer == "errors" else ""
    return (
        f"{sequence} with {prediction.area:,} pixels outlined{against}, in the {place} part of the picture."
    )


def _third(share: float, first: str, last: str) -> str:
    return first if share < 1 / 3 else last if share > 2 / 3 else ""


def legend(display: Display, truth: bool, oriented: bool, corrected: bool = False) -> str:
    """What the layer's colours mean, and which side is which, in plain sentences.

    Args:
        truth: whether a ground truth is there.
        oriented: whether the picture is known to lie as radiologists look at it.
        corrected: whether the outline was drawn by hand.
    """
    colours = "Orange: what the segmenter outlines, if the gate lets the slice pass."
    if corrected:
        colours = "Orange: the outline, corrected by hand."
    if display.layer in HEAT_MAPS:
        colours = HEAT_MAPS[display.layer][1]
    elif display.layer == "errors" and truth:
        colours = "Green: agreed. Blue: missed. Red: invented. The white line is the ground truth."
    return f"{colours} The patient's right is on the left." if oriented else colours


def _fill(picture: Rgb, region: NDArray[np.bool_], colour: tuple[int, int, int], opacity: float) -> Rgb:
    result = picture.copy()
    blend = picture[region] * (1 - opacity) + np.array(colour) * opacity
    result[region] = blend.round().astype(np.uint8)
    return result
