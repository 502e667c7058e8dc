"""`python -m tools.phantoms [--out DIR]`: make the six examples and write them with captions and notice."""

import argparse
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tools.phantoms.anatomy import load_template
from tools.phantoms.cases import CASES, Case, make_case

SHIPPED = Path(__file__).parents[2] / "lgg" / "examples"

NOTICE = """# Where these images come from

The slices in this folder are **synthetic phantoms**. They show no patient, and no pixel of any patient's
image went into them. They are for trying out the software, not for measuring it.

`python -m tools.phantoms` (in this repository) makes them, the same bytes each time:

- The brain's anatomy is that of the ICBM 152 template (2009a, non-linear, symmetric, 1 mm): the grey and
  white matter maps that the Python package `nilearn` ships. It is warped, scaled and turned, so that the
  heads differ from one another; sulci are opened by the distance from the white matter.
- Meninges, skull, temporal muscle, scalp, vessels, choroid plexus and the sagittal sinus are drawn.
- Each lesion is an ellipse with a noisy border that follows white matter, stops at fluid and pushes the
  brain aside. Its mask holds the pixels that are more than half lesion.
- Three sequences (pre-contrast T1, FLAIR, post-contrast T1) get one grey level for each tissue, chosen to
  resemble clinical scans, then partial volume, a smooth gain, blur and Rician noise.

## Copyright notice of the ICBM 152 template

> Copyright (C) 1993–2004 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute,
> McGill University. Permission to use, copy, modify, and distribute this software and its documentation
> for any purpose and without fee is hereby granted, provided that the above copyright notice appear in all
> copies. The authors and McGill University make no representations about the suitability of this software
> for any purpose. It is provided “as is” without express or implied warranty. The authors are not
> responsible for any data loss, equipment damage, property loss, or injury to subjects or patients
> resulting from the use or misuse of this software package.

The template is described in V. S. Fonov, A. C. Evans, K. Botteron, C. R. Almli, R. C. McKinstry,
D. L. Collins and the Brain Development Cooperative Group, *Unbiased average age-appropriate atlases for
pediatric studies*, NeuroImage 54 (2011) 313–327, and V. S. Fonov, A. C. Evans, R. C. McKinstry, C. R. Almli
and D. L. Collins, *Unbiased nonlinear average age-appropriate brain templates from birth to adulthood*,
NeuroImage 47, Supplement 1 (2009) S102.
"""


def write_examples(folder: Path, cases: Sequence[Case] = CASES) -> None:
    """Write image, mask, `examples.json` and `NOTICE.md` of `cases` to `folder`, replacing what is there.

    The same cases give the same bytes. A reader never sees half a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    template = load_template()
    entries = []
    for case in cases:
        image, mask = make_case(template, case)
        entry = {
            "name": case.name,
            "title": case.title,
            "caption": case.caption,
            "image": f"{case.name}.tif",
            "mask": f"{case.name}_mask.png",
        }
        _write(folder / entry["image"], _tiff(image))
        _write(folder / entry["mask"], _png(mask))
        entries.append(entry)
    _write(folder / "examples.json", (json.dumps(entries, indent=2, ensure_ascii=False) + "\n").encode())
    _write(folder / "NOTICE.md", NOTICE.encode())


def _tiff(image: NDArray[np.uint8]) -> bytes:
    """The image as a deflate-compressed TIFF; not by Pillow, which leaves a padding byte to chance."""
    stream = io.BytesIO()
    kind = "minisblack" if image.ndim == 2 else "rgb"
    tifffile.imwrite(stream, image, photometric=kind, compression="zlib", software=False, metadata=None)
    return stream.getvalue()


def _png(mask: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Write under another name first: a page that is running meanwhile reads the old file or the new one."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.phantoms", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=SHIPPED, help="folder to write to (default: lgg/examples)"
    )
    write_examples(parser.parse_args().out)


if __name__ == "__main__":
    main()
