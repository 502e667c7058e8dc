"""The index of a `kaggle_3m` folder: which patients and slices it holds, and where."""

import re
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lgg.errors import DataError, LggError
from lgg.io import read_mask, read_slice
from lgg.preprocess import Prepared, StatisticsMode, prepare
from lgg.types import FLAIR

#: `TCGA_<site>_<patient>_<date>_<number>.tif`; any other prefix works as a patient's name too.
SLICE_NAME = re.compile(r"(?P<patient>.+)_(?P<number>\d+)\.tiff?$", re.IGNORECASE)


@dataclass(frozen=True)
class SliceFiles:
    """One slice on disk: its patient, its 1-based number from bottom to top, its image and its mask."""

    patient: str
    number: int
    image: Path
    mask: Path

    @property
    def id(self) -> str:
        """`<patient>_<number>`, the name used in `splits.json`."""
        return f"{self.patient}_{self.number}"


@dataclass(frozen=True)
class Volume:
    """One patient's slices in their order, or N of them.

    Attributes:
        patient: the folder's name.
        whole: (M, H, W, 3) float32, the pixels of all slices.
        truth: (M, H, W) bool, the masks of all slices.
        rows: which of them are meant; all by default.
    """

    patient: str
    whole: NDArray[np.float32]
    truth: NDArray[np.bool_]
    rows: list[int] | slice = field(default_factory=lambda: slice(None))

    @property
    def pixels(self) -> NDArray[np.float32]:
        """(N, H, W, 3) float32."""
        return self.whole[self.rows]

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(N, H, W) bool."""
        return self.truth[self.rows]

    @property
    def tumour(self) -> NDArray[np.bool_]:
        """(N,) bool, whether each slice holds tumour."""
        return np.asarray(self.masks.any((1, 2)))

    def select(self, rows: Sequence[int]) -> "Volume":
        """The slices at some positions; the volume's statistics stay those of all its slices."""
        return replace(self, rows=np.arange(len(self.whole))[self.rows][rows].tolist())

    def prepare(self, mode: StatisticsMode, flair_alone: bool = False) -> Prepared:
        """The slices for the networks; `flair_alone`: FLAIR stands in for the other sequences."""
        pixels = np.repeat(self.whole[..., FLAIR : FLAIR + 1], 3, axis=3) if flair_alone else self.whole
        return prepare(pixels, mode)[self.rows]


def index_folder(folder: Path) -> dict[str, list[SliceFiles]]:
    """Every patient's slices, both in order.

    Patients are the folders right below `folder`, or else below its `kaggle_3m`: the copy of the whole data
    set that the Kaggle archive carries inside itself is ignored.

    Raises:
        DataError: no patient is there, or images and masks do not pair up (all of them named).
    """
    patients: dict[str, list[SliceFiles]] = {}
    problems: list[str] = []
    for root in (folder, folder / "kaggle_3m"):
        for home in sorted(path for path in root.glob("*") if path.is_dir()):
            slices = sorted(_slices(home, problems), key=lambda slice_: slice_.number)
            if slices:
                patients[home.name] = slices
        if patients or problems:
            break
    if problems:
        raise DataError("Images and masks do not pair up: " + "; ".join(problems) + ".")
    if not patients:
        raise DataError(
            f"No patient in '{folder.name}'. Expected one folder a patient with <name>_<number>.tif and "
            "<name>_<number>_mask.tif, as in the Kaggle data set's kaggle_3m."
        )
    return patients


def _slices(home: Path, problems: list[str]) -> list[SliceFiles]:
    found = {path.name: path for path in home.iterdir() if path.suffix.lower() in (".tif", ".tiff")}
    masks = {name for name in found if Path(name).stem.endswith("_mask")}
    slices: list[SliceFiles] = []
    for name in sorted(set(found) - masks):
        match = SLICE_NAME.match(name)
        if not match:
            problems.append(f"{home.name}/{name} has no slice number")
            continue
        path = found[name]
        mask = f"{path.stem}_mask{path.suffix}"
        if mask not in masks:
            problems.append(f"{home.name}/{name} has no mask")
            continue
        masks.remove(mask)
        if int(match["number"]) in {slice_.number for slice_ in slices}:
            problems.append(f"{home.name}/{name} repeats a slice number")
            continue
        slices.append(SliceFiles(home.name, int(match["number"]), path, found[mask]))
    problems += [f"{home.name}/{name} has no image" for name in sorted(masks)]
    return slices


def load_volume(slices: list[SliceFiles]) -> Volume:
    """Read one patient's slices and masks.

    A slice that is one flat colour is unreadable for the page but normal in a series (the air above the
    head), so it is kept here.

    Raises:
        DataError: a file cannot be read, or the sizes within the patient differ (the file is named).
    """
    pixels: list[NDArray[np.float32]] = []
    masks: list[NDArray[np.bool_]] = []
    for slice_ in slices:
        try:
            image = read_slice(slice_.image, allow_constant=True).pixels
            mask = read_mask(slice_.mask)
        except LggError as error:
            raise DataError(f"{slice_.patient}: {error}") from error
        if mask.shape != image.shape[:2]:
            raise DataError(f"{slice_.mask.name} is {_size(mask)}, its image is {_size(image)}.")
        if pixels and image.shape != pixels[0].shape:
            raise DataError(
                f"{slice_.image.name} is {_size(image)}, the patient's others are {_size(pixels[0])}."
            )
        pixels.append(image)
        masks.append(mask)
    return Volume(slices[0].patient, np.stack(pixels), np.stack(masks))


def chosen_rows(slices: Sequence[SliceFiles], ids: Set[str] | None) -> list[int]:
    """Positions of those slices of a patient that `ids` names, or whose patient it names; None: of all."""
    return [n for n, slice_ in enumerate(slices) if ids is None or {slice_.id, slice_.patient} & ids]


def load_volumes(patients: dict[str, list[SliceFiles]], ids: Collection[str]) -> list[Volume]:
    """The volumes of a split, whole or with the slices alone that `ids` names."""
    wanted = {name: rows for name, slices in patients.items() if (rows := chosen_rows(slices, set(ids)))}
    return [load_volume(patients[name]).select(rows) for name, rows in wanted.items()]


def _size(array: NDArray) -> str:
    return f"{array.shape[1]}×{array.shape[0]}"
