"""The six examples that ship: who, with which lesions, taken how, and what visitors read about it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lgg.types import FLAIR
from tools.phantoms.anatomy import Person, Template, make_head, pixel_positions
from tools.phantoms.lesion import Lesion, mass_effect
from tools.phantoms.scanner import Scanner, scan


@dataclass(frozen=True)
class Case:
    """One example.

    Attributes:
        name: bare file name without its ending.
        title, caption: what visitors read; the caption says that the slice is synthetic.
        person, scanner, lesions: what it is made of.
        flair_only: keep FLAIR alone, as a one-channel image.
    """

    name: str
    title: str
    caption: str
    person: Person
    scanner: Scanner
    lesions: tuple[Lesion, ...] = ()
    flair_only: bool = False


#: In the order in which they are shown.
CASES = (
    Case(
        name="large-lesion",
        title="Large lesion",
        caption="Synthetic phantom with a large frontal lesion that pushes the ventricle aside: "
        "run it and compare the outline in FLAIR with the one in T1.",
        person=Person(level=26, seed=11, scale=(0.99, 1.05), turn=2, temporalis=2),
        scanner=Scanner(seed=101),
        lesions=(Lesion(x=32, y=14, radii=(32, 22), turn=70, push=6, seed=5),),
    ),
    Case(
        name="small-lesion",
        title="Small lesion",
        caption="Synthetic phantom with a small lesion in the white matter: "
        "switch the architecture and see which one holds on to its border.",
        person=Person(level=34, seed=22, scale=(0.98, 1.03), turn=-4, skull=4.8, scalp=6.5),
        scanner=Scanner(seed=102, gain=(0.9, 1.05, 1.0)),
        lesions=(Lesion(x=-34, y=-16, radii=(11, 9), turn=20, push=1, seed=7),),
    ),
    Case(
        name="two-lesions",
        title="Two lesions",
        caption="Synthetic phantom with two separate lesions, one on each side: "
        "check that both are outlined and how their areas add up.",
        person=Person(level=21, seed=39, scale=(0.98, 1.03), turn=3, scalp=5, temporalis=4),
        scanner=Scanner(seed=103, bias=0.03, gain=(1.1, 0.95, 0.9), field_of_view=-2),
        lesions=(
            Lesion(x=-34, y=24, radii=(17, 13), turn=120, push=2, seed=9),
            Lesion(x=36, y=-44, radii=(13, 11), turn=60, seed=10),
        ),
    ),
    Case(
        name="flair-only",
        title="FLAIR only",
        caption="Synthetic phantom saved as a one-channel file: "
        "the FLAIR stands in for both missing T1 sequences, and the lesion should still be found.",
        person=Person(level=38, seed=44, scale=(0.97, 1.09)),
        scanner=Scanner(seed=104, field_of_view=1),
        lesions=(Lesion(x=28, y=14, radii=(21, 14), turn=100, push=2, seed=12),),
        flair_only=True,
    ),
    Case(
        name="healthy",
        title="Healthy",
        caption="Synthetic phantom of a healthy brain at the level of the basal ganglia: "
        "the gate should say no, and the mask should stay empty.",
        person=Person(level=8, seed=55, scale=(0.99, 1.0), turn=-2, temporalis=7),
        scanner=Scanner(seed=105, field_of_view=-3),
    ),
    Case(
        name="healthy-higher",
        title="Healthy, higher up",
        caption="Synthetic phantom of a healthy brain above the ventricles: "
        "run the segmenter without the gate and see whether it still leaves the slice alone.",
        person=Person(level=43, seed=66, scale=(0.99, 1.12), turn=4, scalp=6.5),
        scanner=Scanner(seed=106),
    ),
)


def make_case(template: Template, case: Case) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image and mask of one example.

    Returns:
        image: (256, 256, 3) uint8 in the order of `lgg.types.SEQUENCES`; (256, 256) for a FLAIR-only case.
        mask: (256, 256) uint8, 0 or 255.
    """
    push = mass_effect(case.lesions, *pixel_positions())
    head = make_head(template, case.person, push)
    image, mask = scan(head, case.lesions, case.scanner)
    return (image[..., FLAIR] if case.flair_only else image), mask
