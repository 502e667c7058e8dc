"""What slices look like: `python -m tools.fit_input_check --data data` measures `lgg.input_check`'s bounds.

Only training patients are measured, and only bounds over all of them are written, no patient's own numbers.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tyro

from lgg.files import write_text
from lgg.input_check import BOUNDS, features
from lgg.preprocess import SMALLEST_HEAD, head_mask
from lgg.types import FLAIR, Slice
from train.data.kaggle_3m import Volume, index_folder, load_volume
from train.data.splits import select

#: Slices without tumour count where they lie in this part of the stack: above and below, a neck or the top
#: of a skull would widen the bounds to what any picture keeps.
MIDDLE = (0.2, 0.8)
#: A patient's own extremes are these percentiles of the slices (in a few the head is not found well). A bound
#: is this percentile of the patients' extremes, moved out by this share of the bounds' distance. Chosen so
#: that under 1 % of the training patients' tumour slices and none of the validation patients' are outside.
OWN, PERCENTILE, MARGIN = 5, 1, 0.3
Features = dict[str, float]


def measure(volume: Volume) -> list[Features]:
    """The features of a patient's slices that hold tumour or lie in the middle, and whose head is found."""
    rows = []
    place = (np.arange(len(volume.pixels)) + 0.5) / len(volume.pixels)
    inner = (place >= MIDDLE[0]) & (place <= MIDDLE[1])
    for pixels in volume.pixels[volume.tumour | inner]:
        head = head_mask(pixels[..., FLAIR])
        if head.mean() >= SMALLEST_HEAD:
            grey = bool((pixels == pixels[..., :1]).all())
            rows.append(features(Slice(pixels, "slice", flair_only=grey), head))
    return rows


def bounds(patients: Sequence[Sequence[Features]]) -> dict[str, tuple[float, float]]:
    """Feature → lowest and highest plausible value, from each patient's features."""
    made = {}
    for name in sorted({name for slices in patients for row in slices for name in row}):
        values = [[row[name] for row in slices if name in row] for slices in patients]
        lowest, highest = np.transpose([np.percentile(own, (OWN, 100 - OWN)) for own in values if own])
        low, high = np.percentile(lowest, PERCENTILE), np.percentile(highest, 100 - PERCENTILE)
        margin = MARGIN * (high - low)
        made[name] = (round(float(low - margin), 4), round(float(high + margin), 4))
    return made


def main(data: Path = Path("data"), out: Path = BOUNDS) -> None:
    """Measure the training patients and write the bounds.

    Args:
        data: Any folder of the data set's shape.
        out: The JSON file.
    """
    patients = index_folder(data)
    measured = [measure(load_volume(patients[name])) for name in select(list(patients), "patient")["train"]]
    stored = {"patients": len(measured), "slices": sum(map(len, measured)), "bounds": bounds(measured)}
    write_text(out, json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
