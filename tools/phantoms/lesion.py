"""A low-grade glioma: where it grows, how it pushes, and where its border is called."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tools.phantoms.anatomy import STEP, Head, Map, smooth_noise, step_at


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
    white = ndimage.gaussian_filter(head["white"], 1.0 / STEP)
    fluid = ndimage.gaussian_filter(head["csf"], 0.8 / STEP)
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
