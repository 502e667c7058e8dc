"""One person's head at one level: how much of which tissue stands in each pixel.

The brain is the ICBM 152 template's, warped so that no two heads are alike; the skull is drawn around it.
"""

from dataclasses import dataclass

import numpy as np

from lgg.phantom.brain import Template, brain_shares, sample
from lgg.phantom.grid import Map, pixel_positions, smooth_noise, step_at
from lgg.phantom.skull import add_sinus_and_falx, depth_in_skull, shell_shares

#: Where the middle of the picture lies in the template, in millimetres: (x, y), y towards the nose. The
#: data's heads stand a little below the middle of the picture.
CENTRE = (0.0, -9.0)


@dataclass(frozen=True)
class Person:
    """What makes one head differ from the next.

    Attributes:
        level: height of the slice above the anterior commissure in millimetres (MNI z).
        seed: of everything random about this person.
        scale: width and length relative to the template.
        turn: rotation in the plane, in degrees.
        sulci: millimetres added to the width of the sulci; above 0 the brain looks older.
        skull, scalp: thickness in millimetres.
        temporalis: greatest thickness of the temporal muscles in millimetres; 0 above their origin.
    """

    level: float
    seed: int
    scale: tuple[float, float] = (0.97, 0.97)
    turn: float = 0.0
    sulci: float = 0.0
    skull: float = 4.2
    scalp: float = 6.0
    temporalis: float = 0.0


@dataclass(frozen=True)
class Head:
    """A head on the fine grid.

    Attributes:
        tissues: name → (GRID, GRID) share of the pixel, 0 to 1; they add up to 1 in the head, 0 in the air.
        x, y: where each pixel lies in millimetres, before any warp: x to the picture's right, y to the nose.
        depth: distance from the inside of the skull in millimetres, negative outside it.
    """

    tissues: dict[str, Map]
    x: Map
    y: Map
    depth: Map

    def __getitem__(self, tissue: str) -> Map:
        return self.tissues[tissue]

    @property
    def parenchyma(self) -> Map:
        """Share of grey and white matter together."""
        return self.tissues["grey"] + self.tissues["white"]


def make_head(template: Template, person: Person, push: tuple[Map, Map] | None = None) -> Head:
    """The tissues of one person at one level.

    Args:
        template: from `load_template`.
        person: whose head.
        push: mass effect, from `lesion.mass_effect`: how far each point of the brain has been moved, as
            (x, y) maps in millimetres.
    """
    rng = np.random.default_rng(person.seed)
    x, y = pixel_positions()
    x_source, y_source, z_source = _warp(rng, person, x, y)
    depth = depth_in_skull(sample(template.grey + template.white, template, x_source, y_source, z_source))
    if push is not None:
        # The skull does not give way: the push fades out towards it.
        fade = np.clip(depth / 12, 0, 1)
        x_source, y_source = x_source - push[0] * fade, y_source - push[1] * fade
    position = (x_source, y_source, z_source)
    brain = brain_shares(rng, template, position, depth, person.sulci)
    shell = shell_shares(rng, x, y, depth, person.skull, person.scalp, person.temporalis)
    room = step_at(depth, 0.0, 0.25)
    tissues: dict[str, Map] = {name: share * room for name, share in brain.items()}
    for name, share in shell.items():
        tissues[name] = tissues.get(name, 0) + share * (1 - room)
    add_sinus_and_falx(tissues, position, depth)
    return Head(tissues, x, y, depth)


def _warp(rng: np.random.Generator, person: Person, x: Map, y: Map) -> tuple[Map, Map, Map]:
    """Where in the template (millimetres) each pixel of this person is found."""
    angle = np.deg2rad(person.turn)
    x_turned = (np.cos(angle) * x + np.sin(angle) * y) / person.scale[0]
    y_turned = (np.cos(angle) * y - np.sin(angle) * x) / person.scale[1]
    # Broad waves give each head its shape and asymmetry, fine ones give each gyrus its own course.
    x_source = x_turned + CENTRE[0] + 1.5 * smooth_noise(rng, 40) + 1.2 * smooth_noise(rng, 8)
    y_source = y_turned + CENTRE[1] + 1.5 * smooth_noise(rng, 40) + 1.2 * smooth_noise(rng, 8)
    tilt = rng.normal(0, 0.02) * x + rng.normal(0, 0.04) * y
    z_source = person.level + tilt + 2.8 * smooth_noise(rng, 16) + 0.7 * smooth_noise(rng, 6)
    return x_source, y_source, z_source
