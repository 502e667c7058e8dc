"""What reading a series returns: a patient's slices in order, and the way back to their source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError
from lgg.reading.dicom_header import Header
from lgg.reading.picture import check_size
from lgg.series.grid import Grid
from lgg.slice import FLAIR, Slice

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

#: Slices of a series, and voxels: 256 slices of 512 × 512. As float32 in three channels these are 768 MiB.
MAX_SLICES, MAX_VOXELS = 512, 2**26


@dataclass(frozen=True)
class Candidate:
    """One volume among several that may be a sequence: a DICOM series or a NIfTI file.

    Attributes:
        key: names it in an assignment.
        label: for people; the scanner's description of the series, or the file's name.
        guess: the channel (PRE, FLAIR, POST) that the label suggests, or None.
    """

    key: str
    label: str
    guess: int | None


@dataclass(frozen=True)
class Series:
    """One patient's axial slices, from bottom to top, the front of the head up and its right on the left.

    Slices that come as pictures keep the order of their names, or of their pages, and lie as they are.

    Attributes:
        pixels: (N, H, W, 3) float32, channels as in `lgg.slice.SEQUENCES`, finite, not all equal. A missing
            pre- or post-contrast sequence is replaced by FLAIR, as in the training data.
        source: for people; the upload's bare name.
        names: of each slice's file, N of them.
        flair_only: whether FLAIR stands in all three channels.
        spacing: (row, column) distance of pixel centres in millimetres, or None. Never guessed.
        slice_distance: from slice to slice in millimetres, or None.
        grid: leads masks back to the source's own array.
        nifti: for a NIfTI upload, its header without any text that its writer left.
        dicom: for a DICOM upload, the headers of the FLAIR files in the order of the source's array.
        candidates: the volumes among which the sequences were chosen.
        chosen: channel (PRE, FLAIR, POST) → the candidate's key.
        notes: what the user should know, one plain sentence each: gaps, files that were left out …
    """

    pixels: NDArray[np.float32]
    source: str
    names: tuple[str, ...]
    grid: Grid
    flair_only: bool = False
    spacing: tuple[float, float] | None = None
    slice_distance: float | None = None
    nifti: "Nifti1Header | None" = None
    dicom: tuple[Header, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    chosen: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def voxel_mm3(self) -> float | None:
        """Volume of a voxel in cubic millimetres, only where all three distances are known."""
        if self.spacing is None or self.slice_distance is None:
            return None
        return self.spacing[0] * self.spacing[1] * self.slice_distance

    @property
    def oriented(self) -> bool:
        """Whether the source says how it lies in the patient, so that left and right are certain."""
        if self.nifti is not None:
            return bool(self.nifti["qform_code"] or self.nifti["sform_code"])
        return bool(self.dicom) and self.dicom[0].orientation is not None

    def slices(self) -> list[Slice]:
        """The slices one by one, as `Cascade.predict_series` takes them; their pixels are views."""
        return [
            Slice(pixels, name, self.flair_only, self.spacing)
            for pixels, name in zip(self.pixels, self.names, strict=True)
        ]

    def to_source(self, maps: NDArray) -> NDArray:
        """Maps of the slices, (N, H, W, …) of any type, on the source's own grid."""
        if maps.shape[:3] != self.pixels.shape[:3]:
            raise ValueError("the maps are not of this series' size")
        return self.grid.to_source(maps)


def check_volume(slices: int, height: int, width: int) -> None:
    """Refuse a declared size before memory is reserved for it.

    Raises:
        SliceError: a side of a slice is beyond the limits.
        SeriesError: there are too many slices or voxels.
    """
    check_size(height, width)
    if slices > MAX_SLICES:
        raise SeriesError(
            f"the series has {slices} slices, and at most {MAX_SLICES} can be read. Upload a part of it."
        )
    if slices * height * width > MAX_VOXELS:
        raise SeriesError(
            f"the series has {slices} slices of {width} × {height} pixels, "
            f"and at most {MAX_VOXELS >> 20} million pixels can be read. Upload a part of it."
        )


def combine(sequences: dict[int, NDArray[np.float32]], source: str) -> NDArray[np.float32]:
    """One (N, H, W, 3) array of the sequences (channel → (N, H, W)); FLAIR where one is missing.

    Args:
        source: what a message calls it.

    Raises:
        SeriesError: a voxel is not finite, or all of them are equal.
    """
    flair = sequences[FLAIR]
    pixels = np.empty((*flair.shape, 3), np.float32)
    for channel in range(3):
        pixels[..., channel] = sequences.get(channel, flair)
    check_content(pixels, source)
    return pixels


def check_content(pixels: NDArray[np.float32], source: str) -> None:
    """Refuse what no network could use.

    Raises:
        SeriesError: as for `combine`.
    """
    if not np.isfinite(pixels).all():
        raise SeriesError(
            f"{source}: some voxels are NaN or infinite. Replace them and save the series again."
        )
    if (pixels == pixels[:1, :1, :1]).all():
        pixel, what = ("pixel", "slice") if len(pixels) == 1 else ("voxel", "series")
        raise SeriesError(
            f"{source}: every {pixel} has the same value: there is nothing to see. Choose another {what}."
        )
