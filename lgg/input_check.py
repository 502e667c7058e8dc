"""Is this a picture that the networks were made for? Features of a slice against bounds measured in training.

The bounds stand in `input_check.json`, aggregated over the training patients by
`python -m tools.fit_input_check`.
Being inside them proves nothing; being outside means that the networks never saw such a picture.
"""

import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lgg.preprocess import SMALLEST_HEAD, head_mask, resize_pad
from lgg.types import FLAIR, PRE, Slice

BOUNDS = Path(__file__).with_name("input_check.json")
#: The part of a series by which it is judged.
MIDDLE = (0.3, 0.7)
#: Side to which slices are brought before their texture is measured.
TEXTURE_SIZE = 128
NO_HEAD = "No head was found in it."
FLAT = "Nearly all of it has one value."
#: At least this share of a picture must differ from its most common value.
LEAST_CONTENT = 0.02

#: Feature → what to say where it is too low, and where it is too high.
REASONS = {
    "head": (
        "What was taken for the head is smaller than heads in the training data are.",
        "What was taken for the head fills more of the picture than heads in the training data do.",
    ),
    "border": (
        "",
        "What was taken for the head runs out of the picture, farther than in the training data.",
    ),
    "aspect": (
        "What was taken for the head is wider than heads in axial slices are.",
        "What was taken for the head is longer than heads in axial slices are.",
    ),
    "symmetry": ("The outline of what was taken for the head is lopsided: it may be no axial slice.", ""),
    "air": ("", "What surrounds the head is not dark, as air is in MRI: it may be a photo or a drawing."),
    "smoothness": (
        "It is noisier, or finer in texture, than the training data.",
        "It is smoother than the training data: too few pixels, perhaps.",
    ),
    "median": ("Its intensities are spread in a way that the training data's are not.",) * 2,
    "upper": ("Its intensities are spread in a way that the training data's are not.",) * 2,
    "top": (
        "Nothing in it stands out from the rest as bright tissue does in FLAIR.",
        "Some of it is far brighter than anything in the training data.",
    ),
    "colour": ("", "Its colours are stronger than three MRI sequences make them: it may be a colour photo."),
    "sequences": (
        "Its first two channels have less in common than pre-contrast T1 and FLAIR.",
        "",
    ),
}


def input_warnings(slice_: Slice, head: NDArray[np.bool_] | None = None) -> tuple[str, ...]:
    """Why the networks were not made for this picture, a sentence each; none where it is like their data.

    Args:
        slice_: the slice.
        head: (H, W) bool, where its head was found; looked for where it is None.
    """
    flair = slice_.pixels[..., FLAIR]
    _, counts = np.unique(flair, return_counts=True)
    head = head_mask(flair) if head is None else head
    if head.mean() < SMALLEST_HEAD or flair[head].min() == flair[head].max():
        return (NO_HEAD,)
    if counts.max() > (1 - LEAST_CONTENT) * flair.size:
        return (FLAT,)
    bounds, said = _bounds(), []
    for name, value in features(slice_, head).items():
        (low, high), (too_low, too_high) = bounds[name], REASONS[name]
        said.append(too_low if value < low else too_high if value > high else "")
    return tuple(dict.fromkeys(reason for reason in said if reason))


def series_warnings(slices: Sequence[Slice], heads: Sequence[NDArray[np.bool_]]) -> tuple[str, ...]:
    """What `input_warnings` says of most slices in the middle of a series; its ends need not look like heads.

    Args:
        slices: in their order.
        heads: where the head was found in each.
    """
    first, last = (round(len(slices) * end) for end in MIDDLE)
    middle = slice(first, max(last, first + 1))
    said = Counter(
        reason
        for slice_, head in zip(slices[middle], heads[middle], strict=True)
        for reason in input_warnings(slice_, head)
    )
    return tuple(reason for reason, count in said.items() if 2 * count > len(slices[middle]))


def features(slice_: Slice, head: NDArray[np.bool_]) -> dict[str, float]:
    """What is measured of a slice; nothing here changes when the slice is multiplied by a positive constant.

    Args:
        slice_: the slice.
        head: (H, W) bool, not empty.

    Returns:
        head: its share of the picture. border: its share of the picture's edge. aspect: height over width.
        symmetry: overlap (IoU) with its mirror image. air: brightness around the head, as a share of that
        inside, in the channel where it is darkest. smoothness: correlation of neighbouring FLAIR pixels.
        median, upper, top: the 50th, 75th and 99th percentile of FLAIR's z-scores inside the head. And of
        three channels colour: median saturation inside the head; sequences: correlation of pre-contrast T1
        and FLAIR there.
    """
    rows, columns = np.flatnonzero(head.any(1)), np.flatnonzero(head.any(0))
    box = head[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    edge = np.concatenate([head[0], head[-1], head[1:-1, 0], head[1:-1, -1]])
    inside = slice_.pixels[head].astype(np.float64)
    flair = inside[:, FLAIR]
    scores = (flair - flair.mean()) / (flair.std() or 1)
    values = {
        "head": float(head.mean()),
        "border": float(edge.mean()),
        "aspect": len(rows) / len(columns),
        "symmetry": np.count_nonzero(box & box[:, ::-1]) / np.count_nonzero(box | box[:, ::-1]),
        "air": min(_air(slice_.pixels[..., channel], head) for channel in range(3)),
        "smoothness": _smoothness(slice_.pixels[..., FLAIR], head),
        **dict(zip(("median", "upper", "top"), map(float, np.percentile(scores, (50, 75, 99))), strict=True)),
    }
    if not slice_.flair_only:
        highest = inside.max(1)
        saturation = (highest - inside.min(1)) / np.where(highest > 0, highest, 1)
        values["colour"] = float(np.median(saturation))
        values["sequences"] = _correlation(inside[:, PRE], flair)
    return values


def _air(channel: NDArray[np.float32], head: NDArray[np.bool_]) -> float:
    """Mean around the head over the mean inside, above the channel's darkest; 1 where nothing is around."""
    dark = np.percentile(channel, 1)
    within = channel[head].mean(dtype=np.float64) - dark
    if head.all() or within <= 0:
        return 1.0
    return float((channel[~head].mean(dtype=np.float64) - dark) / within)


def _smoothness(flair: NDArray[np.float32], head: NDArray[np.bool_]) -> float:
    small = resize_pad(flair[None, ..., None], TEXTURE_SIZE)[0, 0].astype(np.float64)
    covered = resize_pad(head[None, ..., None].astype(np.float32), TEXTURE_SIZE)[0, 0] > 0.5
    pairs = covered[:, 1:] & covered[:, :-1]
    return _correlation(small[:, 1:][pairs], small[:, :-1][pairs])


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Pearson's; 0 where one of them does not vary."""
    if first.size < 2 or first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


@cache
def _bounds() -> dict[str, tuple[float, float]]:
    stored = json.loads(BOUNDS.read_text(encoding="utf-8"))["bounds"]
    return {name: (low, high) for name, (low, high) in stored.items()}
