"""`python -m tools.phantoms [--out DIR]`: draw the six examples of `lgg/examples/`, and the study.

Synthetic, because no patient's image may stand in the repository: the anatomy of the ICBM 152 template, seen
as a clinical scanner would see it. `anatomy` makes one person's head from the template, `scanner` grows
gliomas in it and takes the three sequences. Needs nilearn and nibabel (requirements-train.txt).

Their titles, captions and order stand in that folder's `examples.json`, written by hand as its notice is.
"""

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tifffile
import tyro
from PIL import Image

from lgg.examples import INDEX, SHIPPED
from lgg.files import write_atomically
from lgg.types import FLAIR
from tools.phantoms.anatomy import Person, Template, load_template, make_head, pixel_positions
from tools.phantoms.scanner import Lesion, Pixels, Scanner, mass_effect, scan
from tools.phantoms.study import write_study


@dataclass(frozen=True)
class Case:
    """What one example is made of; `flair_only` keeps FLAIR alone, as a one-channel image."""

    person: Person
    scanner: Scanner
    lesions: tuple[Lesion, ...] = ()
    flair_only: bool = False


#: By the bare names of their files.
CASES = {
    "large-lesion": Case(
        Person(level=26, seed=11, scale=(0.99, 1.05), turn=2, temporalis=2),
        Scanner(seed=101),
        (Lesion(x=32, y=14, radii=(32, 22), turn=70, push=6, seed=5),),
    ),
    "small-lesion": Case(
        Person(level=34, seed=22, scale=(0.98, 1.03), turn=-4, skull=4.8, scalp=6.5),
        Scanner(seed=102, gain=(0.9, 1.05, 1.0)),
        (Lesion(x=-34, y=-16, radii=(11, 9), turn=20, push=1, seed=7),),
    ),
    "two-lesions": Case(
        Person(level=21, seed=39, scale=(0.98, 1.03), turn=3, scalp=5, temporalis=4),
        Scanner(seed=103, bias=0.03, gain=(1.1, 0.95, 0.9), field_of_view=-2),
        (
            Lesion(x=-34, y=24, radii=(17, 13), turn=120, push=2, seed=9),
            Lesion(x=36, y=-44, radii=(13, 11), turn=60, seed=10),
        ),
    ),
    "flair-only": Case(
        Person(level=38, seed=44, scale=(0.97, 1.09)),
        Scanner(seed=104, field_of_view=1),
        (Lesion(x=28, y=14, radii=(21, 14), turn=100, push=2, seed=12),),
        flair_only=True,
    ),
    "healthy": Case(
        Person(level=8, seed=55, scale=(0.99, 1.0), turn=-2, temporalis=7),
        Scanner(seed=105, field_of_view=-3),
    ),
    "healthy-higher": Case(
        Person(level=43, seed=66, scale=(0.99, 1.12), turn=4, scalp=6.5),
        Scanner(seed=106),
    ),
}


def make_case(template: Template, case: Case) -> tuple[Pixels, Pixels]:
    """Image and mask of one example.

    Returns:
        image: (256, 256, 3) uint8 in the order of `lgg.types.SEQUENCES`; (256, 256) for a FLAIR-only case.
        mask: (256, 256) uint8, 0 or 255.
    """
    head = make_head(template, case.person, mass_effect(case.lesions, *pixel_positions()))
    image, mask = scan(head, case.lesions, case.scanner)
    return (image[..., FLAIR] if case.flair_only else image), mask


def write_case(folder: Path, name: str, template: Template) -> None:
    """Write `<name>.tif` and `<name>_mask.png`, the same bytes each time; a reader never sees half a file."""
    image, mask = make_case(template, CASES[name])
    # TIFF not by Pillow, which leaves a padding byte to chance.
    kind = "minisblack" if image.ndim == 2 else "rgb"
    tiff = partial(
        tifffile.imwrite, data=image, photometric=kind, compression="zlib", software=False, metadata=None
    )
    write_atomically(folder / f"{name}.tif", tiff)
    png = partial(Image.fromarray(mask).save, format="PNG", optimize=True)
    write_atomically(folder / f"{name}_mask.png", png)


def main(out: Path = SHIPPED) -> None:
    """Draw the examples.

    Args:
        out: Folder to write to.
    """
    template = load_template()
    for name in CASES:
        write_case(out, name, template)
    write_study(out / "study", template)
    if out.resolve() != SHIPPED:
        for text in (INDEX, "NOTICE.md"):
            shutil.copyfile(SHIPPED / text, out / text)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
