"""What lies around the brain: the template ends at the pia, so the rest is drawn, layer by layer."""

import numpy as np
from scipy import ndimage

from lgg.phantom.grid import STEP, Map, smooth_noise, step_at


def depth_in_skull(brain: Map) -> Map:
    """Distance from the inside of the skull in millimetres, positive inside, negative outside.

    A skull is smoother than the brain in it: of the brain's outline, seen from its middle, only the
    waves that fit five times or less around the head are kept.

    Args:
        brain: share of brain tissue, 0 to 1.
    """
    row, column = np.nonzero(brain > 0.5)
    middle = (row.min() + row.max()) / 2, (column.min() + column.max()) / 2
    bins = 180
    angle = np.arctan2(row - middle[0], column - middle[1])
    index = ((angle / (2 * np.pi) + 0.5) * bins).astype(int) % bins
    outline = np.zeros(bins)
    np.maximum.at(outline, index, np.hypot(row - middle[0], column - middle[1]))
    outline = ndimage.grey_closing(outline, 15, mode="wrap")  # bridges the fissure and wide sulci
    waves = np.fft.rfft(outline)
    waves[6:] = 0
    smooth = np.fft.irfft(waves, bins)
    smooth += np.quantile(outline - smooth, 0.6)  # most gyri reach the skull, and flatten against it
    rows, columns = np.indices(brain.shape)
    turn = (np.arctan2(rows - middle[0], columns - middle[1]) / (2 * np.pi) + 0.5) * bins - 0.5
    radius = np.interp(turn, np.arange(bins), smooth, period=bins)
    inside = np.hypot(rows - middle[0], columns - middle[1]) < radius
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    return ndimage.gaussian_filter(distance * STEP, 1 / STEP)


def shell_shares(
    rng: np.random.Generator, x: Map, y: Map, depth: Map, skull: float, scalp: float, temporalis: float
) -> dict[str, Map]:
    """Shares of everything around the brain, from the fluid outwards; they add up to 1 up to the skin.

    Args:
        rng: of this person.
        x, y: of each pixel, in millimetres from the middle of the picture.
        depth: from `depth_in_skull`.
        skull, scalp: mean thickness in millimetres.
        temporalis: greatest thickness of the temporal muscles in millimetres.
    """
    front = np.clip(y / np.maximum(np.hypot(x, y), 1), -1, 1)  # 1 at the forehead, -1 at the back
    ripple = [smooth_noise(rng, 22) for _ in range(4)]
    temple = np.exp(-(((front - 0.3) / 0.35) ** 2))
    squeeze = 0.5 * temple * min(1.0, temporalis / 6)  # little fat covers the muscle
    layers: list[tuple[str, Map | float]] = [
        ("csf", 0.6 + 0.9 * np.maximum(front, 0) + 0.3 * ripple[0]),
        ("dura", 0.5),
        ("bone", 1.0),
        ("marrow", skull - 2.2 + 1.0 * front**2 - 1.0 * temple + 0.4 * ripple[1]),
        ("bone", 1.2),
        ("muscle", temporalis * temple * (1 + 0.15 * ripple[2])),
        ("fat", (scalp + 0.5 * ripple[3]) * (1 - 0.2 * front) * (1 - squeeze)),
        ("skin", 1.3),
    ]
    shares: dict[str, Map] = {}
    start: Map | float = -50.0
    end: Map | float = 0.0
    for name, thickness in layers:
        end = end + np.maximum(thickness, 0)
        share = step_at(-depth, start, 0.2) - step_at(-depth, end, 0.2)
        shares[name] = shares.get(name, 0) + share
        start = end
    return shares


def add_sinus_and_falx(tissues: dict[str, Map], position: tuple[Map, Map, Map], depth: Map) -> None:
    """Draw the superior sagittal sinus, front and back, and the falx over the other tissues, in place.

    Args:
        tissues: name → share, changed.
        position: where in the template each pixel is found, (x, y, z) in millimetres.
        depth: from `depth_in_skull`.
    """
    x, y, z = position
    # The sinus is a triangle with its base on the skull and its apex in the fissure.
    half_width = np.where(y < 0, 5.0, 2.6) * np.clip((4.5 - depth) / 7, 0, 1)
    sinus = step_at(half_width - np.abs(x), 0.0, 0.3) * step_at(depth, -2.4, 0.2) * (half_width > 0.3)
    falx = np.exp(-((x / 0.7) ** 2)) * step_at(depth, 0.0, 0.5) * (tissues["csf"] > 0.25)
    # Its lower edge runs above the corpus callosum.
    falx = falx * step_at(np.hypot((y + 10) / 50, z / 36), 1.0, 0.03)
    for name, share in (("sinus", sinus), ("dura", 0.6 * falx)):
        for other in tissues:
            tissues[other] = tissues[other] * (1 - share)
        tissues[name] = tissues.get(name, 0) + share
