"""What the page draws of one examined slice: which sequence, which layer over it, how strongly."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lgg.picture import Rgb, enlarge, error_overlay, heat_overlay, overlay, window
from lgg.prediction import Prediction
from lgg.slice import FLAIR, SEQUENCES, Slice

#: `fill` and `outline` draw the mask; `heat` the segmenter's probability, whatever the thresholds; `why` the
#: gate's Grad-CAM; `unsure` how far the answer moves; `errors` the mask against a ground truth.
Layer = Literal["fill", "outline", "heat", "why", "unsure", "errors"]
LAYERS: tuple[Layer, ...] = ("fill", "outline", "heat", "why", "unsure", "errors")
#: The largest standard deviation of probabilities: half of the views say 0, half say 1.
LARGEST_STD = 0.5


@dataclass(frozen=True)
class Look:
    """How a slice is shown.

    channel: which sequence lies below, an index into `lgg.slice.SEQUENCES`.
    layer: what lies over it.
    opacity: of the layer, 0 to 1.
    """

    channel: int = FLAIR
    layer: Layer = "fill"
    opacity: float = 0.35


def base(one: Slice, prediction: Prediction, look: Look) -> Rgb:
    """The sequence alone: (kH, kW, 3) uint8, enlarged as the layers are."""
    return enlarge(window(one.pixels[..., look.channel], prediction.head))


def draw(
    one: Slice,
    prediction: Prediction,
    look: Look,
    extra: NDArray[np.float32] | None = None,
    truth: NDArray[np.bool_] | None = None,
) -> Rgb:
    """The sequence with its layer.

    Args:
        one, prediction: the slice and what was found in it.
        look: what to draw.
        extra: (H, W) float32: for `why` the gate's Grad-CAM, for `unsure` the standard deviation.
        truth: (H, W) bool; needed for `errors`.

    Returns:
        (kH, kW, 3) uint8.
    """
    picture = window(one.pixels[..., look.channel], prediction.head)
    if look.layer == "errors" and truth is not None:
        return error_overlay(picture, prediction.mask, truth, look.opacity)
    if look.layer == "heat":
        return heat_overlay(picture, prediction.probability, look.opacity)
    if look.layer in ("why", "unsure") and extra is not None:
        # Grad-CAM's cells are so coarse that they reach beyond the head, where there is nothing to see.
        values = np.where(prediction.head, extra, 0) if look.layer == "why" else extra / LARGEST_STD
        return heat_overlay(picture, values, look.opacity)
    return overlay(picture, prediction.mask, 0 if look.layer == "outline" else look.opacity)


def describe(look: Look, prediction: Prediction) -> str:
    """The picture in words, for those who cannot see it."""
    sequence = SEQUENCES[look.channel]
    if look.layer == "heat":
        return f"{sequence} with the segmenter's tumour probability as a heat map."
    if look.layer == "why":
        return f"{sequence} with where the gate saw signs of a glioma as a heat map."
    if look.layer == "unsure":
        return f"{sequence} with how unsure the segmenter is as a heat map."
    if prediction.area == 0:
        return f"{sequence}. Nothing is outlined."
    height, width = prediction.mask.shape
    rows, columns = np.nonzero(prediction.mask)
    where = [_third(rows.mean() / height, "upper", "lower"), _third(columns.mean() / width, "left", "right")]
    place = " ".join(filter(None, where)) or "central"
    against = " against the ground truth" if look.layer == "errors" else ""
    return (
        f"{sequence} with {prediction.area:,} pixels outlined{against}, in the {place} part of the picture."
    )


def _third(share: float, first: str, last: str) -> str:
    return first if share < 1 / 3 else last if share > 2 / 3 else ""


def legend(look: Look, truth: bool, oriented: bool) -> str:
    """What the layer's colours mean, and which side is which, in plain sentences.

    Args:
        truth: whether a ground truth is there.
        oriented: whether the picture is known to lie as radiologists look at it.
    """
    side = " The patient's right is on the left." if oriented else ""
    return f"{_colours(look, truth)}{side}"


def _colours(look: Look, truth: bool) -> str:
    if look.layer == "heat":
        return "The segmenter's probability of tumour, pixel by pixel: dark is low, bright is high."
    if look.layer == "why":
        return (
            "Where the gate saw what raised its probability (Grad-CAM), relative to this slice's highest "
            "place. Coarse: a cell is an eighth of the picture."
        )
    if look.layer == "unsure":
        return (
            "How far the segmenter's answer moves when the slice is mirrored: where it is bright, do not "
            "trust the outline."
        )
    if look.layer == "errors" and truth:
        return "Green: agreed. Blue: missed. Red: invented. The white line is the ground truth."
    return "Orange: what the segmenter outlines, if the gate lets the slice pass."
