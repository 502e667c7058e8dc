"""`python -m tools.local_examples --data DIR`: held-out slices and their masks as examples of one's own page.

The data's licence does not let them go into the repository: they land in `examples/`, which git ignores and
`app.py` shows after the phantoms.
"""

import json
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import tyro

from lgg.errors import LggError
from lgg.examples import INDEX, OWN, load_examples
from lgg.files import write_atomically, write_text
from train.data.kaggle_3m import SliceFiles, index_folder, load_volume
from train.pipeline import splits_of


@dataclass(frozen=True)
class Pick:
    """A slice that was chosen. share: of its patient's largest tumour area, 0 for a slice without."""

    files: SliceFiles
    pixels: int
    share: float


def choose(patients: dict[str, list[SliceFiles]], count: int) -> list[Pick]:
    """Up to `count` slices that differ: of each patient in turn its largest tumour, a small one, and none."""
    picks: list[Pick] = []
    for number, slices in enumerate(islice(patients.values(), count)):
        areas = load_volume(slices).masks.sum((1, 2))
        largest = int(areas.max(initial=0))
        wanted = (1.0, 0.2, 0.0)[number % 3]
        tumour, empty = np.flatnonzero(areas).tolist(), np.flatnonzero(areas == 0).tolist()
        if wanted and tumour:
            row = min(tumour, key=lambda row: abs(areas[row] / largest - wanted))
        else:  # near the middle: at its ends there is little head to see
            row = min(empty or tumour, key=lambda row: abs(row - len(slices) / 2))
        picks.append(Pick(slices[row], int(areas[row]), float(areas[row] / max(1, largest))))
    return picks


def write_examples(picks: list[Pick], folder: Path) -> None:
    """Copy the slices and masks and list them, replacing the folder's examples."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, pick in enumerate(picks, start=1):
        name, files = f"held-out-{number}", pick.files
        image, mask = f"{name}{files.image.suffix}", f"{name}_mask{files.mask.suffix}"
        for source, target in ((files.image, image), (files.mask, mask)):
            write_atomically(folder / target, partial(shutil.copyfile, source))
        what = f"{pick.pixels:,} pixels of tumour" if pick.pixels else "no tumour in this slice"
        caption = f"Slice {files.number} of {files.patient}, held out of training: {what}."
        title = f"Held out {number}"
        entries.append({"name": name, "title": title, "caption": caption, "image": image, "mask": mask})
    write_text(folder / INDEX, json.dumps(entries, indent=2) + "\n")
    load_examples(folder)  # as the page will


def export(data: Path, out: Path = OWN, count: int = 6) -> None:
    """Export held-out slices as examples for the page on this machine.

    Args:
        data: Folder of the data set, as for training.
        out: Folder to write to; the page looks into the default.
        count: How many slices.
    """
    patients = index_folder(data)
    held_out = {name: patients[name] for name in splits_of(patients, "patient")["test"]}
    order = np.random.default_rng(0).permutation(sorted(held_out))
    picks = choose({str(name): held_out[str(name)] for name in order}, count)
    write_examples(picks, out)
    print(f"{len(picks)} slices of {len(held_out)} held-out patients, in {out.name}: start the page.")


if __name__ == "__main__":
    try:
        tyro.cli(export, prog="python -m tools.local_examples", description=__doc__)
    except LggError as error:
        sys.exit(f"{error}")
