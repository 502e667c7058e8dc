"""The scanner: from tissues to the three sequences, with what a real one adds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tools.phantoms.anatomy import GRID, Head, Map, smooth_noise, step_at
from tools.phantoms.lesion import Lesion, lesion_share, lesion_texture

#: Grey level of each tissue in pre-contrast T1, FLAIR and post-contrast T1, in the data's 0 to 255.
#: Chosen by eye and rounded, so that the z-scores inside the head of white matter, grey matter, fluid
#: and scalp fall into the middle of what the data's slices show.
CONTRAST: dict[str, tuple[float, float, float]] = {
    "white": (66, 53, 66),
    "grey": (51, 62, 53),
    "csf": (14, 10, 14),
    "plexus": (40, 45, 105),
    "dura": (30, 26, 78),
    "sinus": (24, 14, 150),
    "vessel": (22, 16, 130),
    "bone": (10, 8, 10),
    "marrow": (52, 46, 54),
    "muscle": (44, 38, 50),
    "fat": (122, 116, 120),
    "skin": (72, 66, 74),
}
#: The same for solid lesion. Low-grade gliomas take up little or no contrast agent.
LESION = (39.0, 103.0, 41.0)
#: Share of the native tissue's signal that a lesion replaces: gliomas infiltrate.
INFILTRATION = 0.86
#: Difference that a lesion's texture makes, and that of its cystic parts.
LESION_TEXTURE = (-20.0, 60.0, -18.0)
LESION_CYSTIC = (-12.0, -18.0, -12.0)


@dataclass(frozen=True)
class Scanner:
    """How a series was taken.

    Attributes:
        seed: of bias field and noise.
        noise: standard deviation of the noise in grey levels, before the reconstruction's smoothing.
        blur: standard deviation of the in-plane blur in finished pixels (millimetres).
        bias: standard deviation of the smooth gain over the picture.
        gain: overall gain of the three sequences; the data's vary several-fold.
        field_of_view: turn in degrees of the frame outside which the data hold plain zeros.
    """

    seed: int
    noise: float = 3.4
    blur: float = 0.42
    bias: float = 0.06
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    field_of_view: float = 3.0


def scan(
    head: Head, lesions: tuple[Lesion, ...], scanner: Scanner
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Take the slice.

    Returns:
        image: (256, 256, 3) uint8: pre-contrast T1, FLAIR, post-contrast T1.
        mask: (256, 256) uint8, 255 where more than half of the pixel's tissue is lesion, else 0.
    """
    rng = np.random.default_rng(scanner.seed)
    shares = dict(head.tissues)
    # Cortical veins and arteries run in the sulci; after contrast they light up.
    vessel = _vessels(rng, head)
    shares["csf"] = shares["csf"] - vessel
    shares["vessel"] = vessel
    signal: list[Map] = [
        np.sum([share * CONTRAST[name][c] for name, share in shares.items()], axis=0) for c in range(3)
    ]
    # Fat lobules with strands and vessels between them, patchy marrow; the brain is nearly even.
    lobules = 1 + shares["fat"] * (0.09 * smooth_noise(rng, 1.2) + 0.16 * smooth_noise(rng, 20))
    lobules = lobules - 0.7 * shares["fat"] * step_at(smooth_noise(rng, 0.8), 2.4, 0.2)
    lobules = lobules + shares["marrow"] * 0.3 * smooth_noise(rng, 4)
    grain = 1 + head.parenchyma * 0.02 * smooth_noise(rng, 2.5)
    signal = [channel * lobules * grain for channel in signal]

    whole = np.zeros((GRID, GRID))
    for lesion in lesions:
        share = lesion_share(head, lesion)
        texture, cystic = lesion_texture(lesion)
        for c in range(3):
            inside = LESION[c] + LESION_TEXTURE[c] * texture + LESION_CYSTIC[c] * cystic
            signal[c] = signal[c] * (1 - INFILTRATION * share) + inside * INFILTRATION * share
        whole = np.maximum(whole, share)

    frame = _frame(scanner.field_of_view)
    image = np.stack([_acquire(rng, signal[c] * scanner.gain[c], scanner, frame) for c in range(3)], axis=-1)
    return image, _call_border(whole)


def _vessels(rng: np.random.Generator, head: Head) -> Map:
    """Share of vessels in the subarachnoid space: dots where one crosses the slice, rarely a line."""
    across = step_at(smooth_noise(rng, 1.0), 2.2, 0.15)
    along = np.exp(-((smooth_noise(rng, 5) / 0.06) ** 2)) * step_at(smooth_noise(rng, 4), 0.9, 0.15)
    surface = step_at(-head.depth, -22.0, 2.0)  # not in the ventricles
    return head["csf"] * surface * np.maximum(across, 0.7 * along)


def _acquire(rng: np.random.Generator, signal: Map, scanner: Scanner, frame: Map) -> NDArray[np.uint8]:
    """One sequence on the finished grid: receive field, resolution, Rician noise, 8 bits."""
    signal = signal * (1 + scanner.bias * smooth_noise(rng, 60))
    real = _halve(ndimage.gaussian_filter(signal, 2 * scanner.blur))
    # The data's slices were interpolated to 256 pixels, so their noise is correlated between neighbours.
    noise = [scanner.noise * ndimage.gaussian_filter(rng.standard_normal(real.shape), 0.5) for _ in range(2)]
    magnitude = np.hypot(real + noise[0], noise[1]) * frame
    return np.clip(np.rint(magnitude), 0, 255).astype(np.uint8)


def _halve(fine: Map) -> Map:
    """Mean over 2×2: from the fine grid to the finished one."""
    half = GRID // 2
    return fine.reshape(half, 2, half, 2).mean(axis=(1, 3))


def _frame(turn: float) -> Map:
    """1 inside the turned square that was scanned, 0 outside, on the finished grid."""
    side = GRID // 2
    steps = np.arange(side) - (side - 1) / 2
    angle = np.deg2rad(turn)
    row, column = np.meshgrid(steps, steps, indexing="ij")
    along = np.abs(np.cos(angle) * column + np.sin(angle) * row)
    across = np.abs(np.cos(angle) * row - np.sin(angle) * column)
    return ((along < 0.47 * side) & (across < 0.485 * side)).astype(np.float64)


def _call_border(share: Map) -> NDArray[np.uint8]:
    """The mask a reader would draw: more than half lesion, without pinholes or crumbs."""
    mask = ndimage.binary_fill_holes(_halve(share) > 0.5)
    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, range(count + 1))
    return (np.isin(labels, np.flatnonzero(sizes >= 20)) & mask).astype(np.uint8) * 255
