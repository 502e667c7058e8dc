"""From a head to its slice: gliomas that grow in it, and a scanner that takes the three sequences."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tools.phantoms.anatomy import GRID, STEP, Head, Map, smooth_noise, step_at

Pixels = NDArray[np.uint8]

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
#: Standard deviations: of the noise in grey levels, before the reconstruction's smoothing; of the in-plane
#: blur in finished pixels (millimetres).
NOISE, BLUR = 3.4, 0.42


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    Attributes:
        x, y: its middle in millimetres from the middle of the picture: x to the right, y to the nose.
        radii: half axes in millimetres, before the border is made irregular.
        turn: direction of the first half axis in degrees, counter-clockwise from the right.
        push: how far it moves the brain at its border, in millimetres.
        seed: of its border and texture.
    """

    x: float
    y: float
    radii: tuple[float, float]
    turn: float = 0.0
    push: float = 0.0
    seed: int = 0


def _radius(lesion: Lesion, x: Map, y: Map) -> Map:
    """Distance from the middle in units of the half axes: 1 on the plain ellipse."""
    angle = np.deg2rad(lesion.turn)
    along = np.cos(angle) * (x - lesion.x) + np.sin(angle) * (y - lesion.y)
    across = np.cos(angle) * (y - lesion.y) - np.sin(angle) * (x - lesion.x)
    return np.hypot(along / lesion.radii[0], across / lesion.radii[1])


def mass_effect(lesions: tuple[Lesion, ...], x: Map, y: Map) -> tuple[Map, Map]:
    """How far the lesions move each point of the brain: (x, y) maps in millimetres.

    The push is `Lesion.push` at the border, 0 in the middle, and dies away within about two radii.
    """
    x_push, y_push = np.zeros_like(x), np.zeros_like(y)
    for lesion in lesions:
        radius = _radius(lesion, x, y)
        distance = np.maximum(np.hypot(x - lesion.x, y - lesion.y), 1e-3)
        size = lesion.push * radius * np.exp((1 - radius**2) / 2)
        x_push += size * (x - lesion.x) / distance
        y_push += size * (y - lesion.y) / distance
    return x_push, y_push


def lesion_share(head: Head, lesion: Lesion) -> Map:
    """Share of each pixel that the lesion has replaced, (GRID, GRID), 0 to 1.

    Gliomas creep along white matter, take less of the cortex, and stop at ventricles and sulci: a
    noisy ellipse whose border moves out where there is white matter and in where there is fluid.
    """
    rng = np.random.default_rng(lesion.seed)
    size = float(np.mean(lesion.radii))
    white = ndimage.gaussian_filter(head.tissues["white"], 1.0 / STEP)
    fluid = ndimage.gaussian_filter(head.tissues["csf"], 0.8 / STEP)
    field = 1 - _radius(lesion, head.x, head.y)
    field += 0.20 * smooth_noise(rng, 0.35 * size) + 0.09 * smooth_noise(rng, 0.13 * size + 0.7)
    field += 0.40 * (white - 0.6) - 0.9 * fluid
    # About 3.5 mm of the border is mixed tissue, whatever the lesion's size.
    share = step_at(field, 0.0, 0.8 / size) * np.clip(head.parenchyma * 1.1, 0, 1)
    return share * _main_part(share > 0.5)


def _main_part(mask: np.ndarray) -> Map:
    """The largest component with its holes filled and a soft rim of 3 mm, 0 to 1."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return np.zeros(mask.shape)
    sizes = ndimage.sum_labels(mask, labels, range(1, count + 1))
    part = ndimage.binary_fill_holes(labels == 1 + int(np.argmax(sizes)))
    distance = ndimage.distance_transform_edt(~part) * STEP
    return np.clip(2 - distance / 1.5, 0, 1)


def lesion_texture(lesion: Lesion) -> tuple[Map, Map]:
    """Two (GRID, GRID) maps around 0: the brightness in FLAIR, and how far the tissue is cystic.

    The first is in units of the lesion's own contrast; the second lowers T1 and, at its peaks, FLAIR.
    """
    rng = np.random.default_rng(lesion.seed + 1000)
    size = float(np.mean(lesion.radii))
    texture = 0.16 * smooth_noise(rng, 0.3 * size) + 0.09 * smooth_noise(rng, 1.6)
    cystic = np.clip(smooth_noise(rng, 0.25 * size) - 1.0, 0, 1.2)
    return texture, cystic


@dataclass(frozen=True)
class Scanner:
    """How a series was taken.

    Attributes:
        seed: of bias field and noise.
        bias: standard deviation of the smooth gain over the picture.
        gain: overall gain of the three sequences; the data's vary several-fold.
        field_of_view: turn in degrees of the frame outside which the data hold plain zeros.
    """

    seed: int
    bias: float = 0.06
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    field_of_view: float = 3.0


def scan(head: Head, lesions: tuple[Lesion, ...], scanner: Scanner) -> tuple[Pixels, Pixels]:
    """Take the slice.

    Returns:
        image: (256, 256, 3) uint8: pre-contrast T1, FLAIR, post-contrast T1.
        mask: (256, 256) uint8, 255 where more than half of the pixel's tissue is lesion, else 0.
    """
    rng = np.random.default_rng(scanner.seed)
    # Cortical veins and arteries run in the sulci; after contrast they light up.
    vessel = _vessels(rng, head)
    shares = {**head.tissues, "csf": head.tissues["csf"] - vessel, "vessel": vessel}
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
    return head.tissues["csf"] * surface * np.maximum(across, 0.7 * along)


def _acquire(rng: np.random.Generator, signal: Map, scanner: Scanner, frame: Map) -> Pixels:
    """One sequence on the finished grid: receive field, resolution, Rician noise, 8 bits."""
    signal = signal * (1 + scanner.bias * smooth_noise(rng, 60))
    real = _halve(ndimage.gaussian_filter(signal, 2 * BLUR))
    # The data's slices were interpolated to 256 pixels, so their noise is correlated between neighbours.
    noise = [NOISE * ndimage.gaussian_filter(rng.standard_normal(real.shape), 0.5) for _ in range(2)]
    magnitude = np.hypot(real + noise[0], noise[1]) * frame
    return np.clip(np.rint(magnitude), 0, 255).astype(np.uint8)


def _halve(fine: Map) -> Map:
    """Mean over 2×2: from the fine grid to the finished one."""
    half = GRID // 2
    return fine.reshape(half, 2, half, 2).mean(axis=(1, 3))


def _frame(turn: float) -> Map:
    """1 inside the turned square that was scanned, 0 outside, on the finished grid."""
    side = GRID // 2
    angle = np.deg2rad(turn)
    row, column = np.indices((side, side)) - (side - 1) / 2
    along = np.abs(np.cos(angle) * column + np.sin(angle) * row)
    across = np.abs(np.cos(angle) * row - np.sin(angle) * column)
    return ((along < 0.47 * side) & (across < 0.485 * side)).astype(np.float64)


def _call_border(share: Map) -> Pixels:
    """The mask a reader would draw: more than half lesion, without pinholes or crumbs."""
    mask = ndimage.binary_fill_holes(_halve(share) > 0.5)
    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, range(count + 1))
    return (np.isin(labels, np.flatnonzero(sizes >= 20)) & mask).astype(np.uint8) * 255
