"""What travels between the modules: slices and series, and what is predicted for them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

#: The order of the channels everywhere in this project, as in the `kaggle_3m` data.
SEQUENCES = ("pre-contrast T1", "FLAIR", "post-contrast T1")
PRE, FLAIR, POST = range(3)


@dataclass(frozen=True)
class Slice:
    """One axial brain MRI slice.

    Attributes:
        pixels: (H, W, 3) float32, channels in the order of `SEQUENCES`, in the file's own units: any
            finite range, not all equal. A one-channel file is taken as FLAIR and stands in all three.
        source: the file's bare name (no folder), for messages and reports.
        flair_only: whether the file held one channel only.
        spacing: (row, column) distance of pixel centres in millimetres, or None where the file does
            not state it. Never guessed.
    """

    pixels: NDArray[np.float32]
    source: str
    flair_only: bool = False
    spacing: tuple[float, float] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True)
class Grid:
    """How axial slices lie in the array that they came from.

    Attributes:
        shape: of the source's array, in its own order of axes.
        order: the source's axis along which slices, rows and columns run.
        flipped: whether each of these runs against the source's axis.
        affine: (4, 4) float64 from the source's voxel indices to millimetres in the patient's RAS axes; None
            where the source does not tell.
    """

    shape: tuple[int, int, int]
    order: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)
    affine: NDArray[np.float64] | None = None

    def to_axial(self, volume: NDArray) -> NDArray:
        """A view of the source's array as (slices, rows, columns, …); axes behind the third are kept."""
        rest = range(3, volume.ndim)
        return volume.transpose(*self.order, *rest)[self._steps]

    def to_source(self, axial: NDArray) -> NDArray:
        """The exact inverse of `to_axial`, as a view: axial slices on the source's own grid."""
        rest = range(3, axial.ndim)
        return axial[self._steps].transpose(*np.argsort(self.order), *rest)

    @cached_property
    def distances(self) -> tuple[float, float, float] | None:
        """Millimetres from slice to slice, row to row and column to column."""
        if self.affine is None:
            return None
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        slices, rows, columns = (float(lengths[axis]) for axis in self.order)
        return slices, rows, columns

    @property
    def _steps(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)


@dataclass(frozen=True)
class DicomReference:
    """What a result that refers to a DICOM image must repeat of it, and nothing of the patient.

    Attributes:
        sop_class, instance, series, study, frame_of_reference: unique identifiers, each "" where missing.
        rows, columns: size in pixels.
        spacing: (row, column) distance of pixel centres in mm, from PixelSpacing alone: ImagerPixelSpacing
            is measured at the detector, not in the patient.
        thickness: of the slice in mm.
        orientation: direction of a row, then of a column, two unit vectors in the patient's LPS axes.
        position: centre of the first pixel in mm, in the same axes.
        frames: pictures in the file.
        frame: which of them this is, counted from 0.
    """

    sop_class: str
    instance: str
    series: str
    study: str
    frame_of_reference: str
    rows: int
    columns: int
    spacing: tuple[float, float] | None
    thickness: float | None
    orientation: tuple[float, ...] | None
    position: tuple[float, ...] | None
    frames: int
    frame: int


@dataclass(frozen=True)
class Candidate:
    """One volume among several that may be a sequence: a DICOM series or a NIfTI file.

    Attributes:
        key: names it in an assignment.
        label: for people; the scanner's description of the series, or the file's name.
        guess: the channel (PRE, FLAIR, POST) that it seems to be, or None.
        number: by which people choose it: the series' own, or its place among all.
        grid: where it lies; None where that cannot be told (a localiser, several points in time).
        original: whether it is as it was scanned, not reformatted.
        reason: why it is none of the three, where that is certain: "a map" …
        examination: what its examination is known by; "" where that is not told.
    """

    key: str
    label: str
    guess: int | None
    number: int | None = None
    grid: Grid | None = field(default=None, compare=False)
    original: bool = True
    reason: str = ""
    examination: str = field(default="", repr=False)


@dataclass(frozen=True)
class Found:
    """What one volume of a study was taken for, as a row for people.

    Attributes:
        number, name: of the series, as in `Candidate`.
        sequence: one of `SEQUENCES`; "" where it is left out.
        grid: columns × rows × slices, then their distances; "" where it has none.
        done: what was done with it, in words.
    """

    number: int | None
    name: str
    sequence: str
    grid: str
    done: str


@dataclass(frozen=True)
class Series:
    """One patient's axial slices, from bottom to top, the front of the head up and its right on the left.

    Slices that come as pictures keep the order of their names, or of their pages, and lie as they are.

    Attributes:
        pixels: (N, H, W, 3) float32, channels as in `SEQUENCES`, finite, not all equal. A missing
            pre- or post-contrast sequence is replaced by FLAIR, as in the training data.
        source: for people; the upload's bare name.
        names: of each slice's file, N of them.
        flair_only: whether FLAIR stands in all three channels.
        spacing: (row, column) distance of pixel centres in millimetres, or None. Never guessed.
        slice_distance: from slice to slice in millimetres, or None.
        grid: leads masks back to the source's own array.
        nifti: for a NIfTI upload, its header without any text that its writer left.
        dicom: for a DICOM upload, the FLAIR files' headers in the order of the source's array.
        chosen: channel (PRE, FLAIR, POST) → the candidate's key.
        found: what was made of each volume, those too that were left out; empty for pictures.
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
    dicom: tuple[DicomReference, ...] = ()
    chosen: Mapping[int, str] = field(default_factory=dict)
    found: tuple[Found, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def voxel_mm3(self) -> float | None:
        """Volume of a voxel in cubic millimetres, only where all three distances are known."""
        return None if self.distances is None else math.prod(self.distances)

    @property
    def distances(self) -> tuple[float, float, float] | None:
        """Millimetres from slice to slice, row to row and column to column, only where all are known."""
        if self.spacing is None or self.slice_distance is None:
            return None
        return self.slice_distance, *self.spacing

    @property
    def oriented(self) -> bool:
        """Whether the source says how it lies in the patient, so that left and right are certain."""
        if self.nifti is not None:
            return bool(self.nifti["qform_code"] or self.nifti["sform_code"])
        return bool(self.dicom) and self.dicom[0].orientation is not None

    @classmethod
    def from_slice(cls, slice_: Slice) -> "Series":
        """A lone slice as a series of one; its pixels are a view."""
        return cls(
            slice_.pixels[None],
            slice_.source,
            (slice_.source,),
            Grid((1, *slice_.size)),
            flair_only=slice_.flair_only,
            spacing=slice_.spacing,
        )

    @classmethod
    def from_pixels(cls, pixels: NDArray[np.float32]) -> "Series":
        """Slices of one patient that are in memory: (N, H, W, 3) float32, in their order."""
        names = tuple(f"slice {number}" for number in range(1, len(pixels) + 1))
        return cls(pixels, "series", names, Grid(pixels.shape[:3]))

    def slices(self) -> list[Slice]:
        """The slices one by one; their pixels are views."""
        return [
            Slice(pixels, name, self.flair_only, self.spacing)
            for pixels, name in zip(self.pixels, self.names, strict=True)
        ]

    def to_source(self, maps: NDArray) -> NDArray:
        """Maps of the slices, (N, H, W, …) of any type, on the source's own grid."""
        if maps.shape[:3] != self.pixels.shape[:3]:
            raise ValueError("the maps are not of this series' size")
        return self.grid.to_source(maps)


@dataclass(frozen=True)
class Thresholds:
    """Probabilities at which something is decided, each 0 to 1, chosen on validation patients.

    gate: slices at or above it hold a glioma. In the gate's config, where it tells slices apart best; in
        a segmenter's, where both together do best: that is the cascade's hard gate.
    mask: pixels at or above it are tumour.
    low, high, keep: soft gate: below `low` empty, from `high` on segmented; between them the mask stays if
        its mean probability is at least `keep`. They belong to a gate and a segmenter together and stand
        in the segmenter's config, as `mask` does.
    smallest: components below this share of the square over the picture's longer side are dropped.
    """

    gate: float = 0.5
    mask: float = 0.5
    low: float = 0.1
    high: float = 0.9
    keep: float = 0.5
    smallest: float = 0.0


@dataclass(frozen=True)
class RawOutput:
    """Both networks' raw answers for N slices, before any threshold.

    gate: (N,) float32. probability: (N, H, W) float32, zeros where `segmented` (N,) bool is False.
    heads: (N, H, W) bool. milliseconds: stage → time of the whole batch.
    """

    gate: NDArray[np.float32]
    probability: NDArray[np.float32]
    segmented: NDArray[np.bool_]
    heads: NDArray[np.bool_]
    milliseconds: dict[str, float]


@dataclass(frozen=True)
class Prediction:
    """What the cascade says about one slice.

    Attributes:
        gate_probability: that the slice holds a glioma, 0 to 1.
        passed: whether the gate let the segmenter decide; if not, the mask is empty.
        probability: (H, W) float32, tumour probability of each pixel of the upload, 0 to 1; zeros where the
            segmenter did not run.
        mask: (H, W) bool at the upload's own size; of a series, without what no neighbouring slice confirms.
        head: (H, W) bool, where the head was found.
        thresholds: those that decided.
        milliseconds: stage (`preprocess`, `gate`, `segment`) → its time, shared evenly in a batch.
        spacing: (row, column) in millimetres if the file stated it.
    """

    gate_probability: float
    passed: bool
    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    head: NDArray[np.bool_]
    thresholds: Thresholds
    milliseconds: dict[str, float]
    spacing: tuple[float, float] | None = None

    @property
    def area(self) -> int:
        """Tumour pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def area_mm2(self) -> float | None:
        """Tumour area in square millimetres, only where the file states its spacing."""
        return None if self.spacing is None else self.area * self.spacing[0] * self.spacing[1]

    @property
    def head_percent(self) -> float:
        """How much of the head is tumour, in percent; 0 where no head was found."""
        head = np.count_nonzero(self.head)
        return 100 * float(np.count_nonzero(self.mask & self.head)) / head if head else 0.0


@dataclass(frozen=True)
class SeriesResult:
    """A series and what was found in each of its slices, N of both. Slices are counted from 1.

    `corrected`: whether the masks were drawn by hand over those that the thresholds had made.
    """

    series: Series
    predictions: tuple[Prediction, ...]
    corrected: bool = False

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def thresholds(self) -> Thresholds:
        """Those that decided; the same for all slices."""
        return self.predictions[0].thresholds

    @cached_property
    def areas(self) -> tuple[int, ...]:
        """Outlined pixels of each slice."""
        return tuple(prediction.area for prediction in self.predictions)

    @property
    def gate_probabilities(self) -> tuple[float, ...]:
        """The gate's probability for each slice, 0 to 1."""
        return tuple(prediction.gate_probability for prediction in self.predictions)

    @property
    def voxels(self) -> int:
        """Outlined voxels of the whole series."""
        return sum(self.areas)

    @property
    def volume_ml(self) -> float | None:
        """Outlined volume in millilitres, only where spacing and slice distance are known."""
        voxel = self.series.voxel_mm3
        return None if voxel is None else self.voxels * voxel / 1000

    @property
    def with_tumour(self) -> tuple[int, ...]:
        """The slices in which something is outlined."""
        return tuple(number for number, area in enumerate(self.areas, start=1) if area)

    @property
    def suspected(self) -> tuple[int, ...]:
        """The slices that the gate let pass."""
        return tuple(n for n, prediction in enumerate(self.predictions, start=1) if prediction.passed)

    @property
    def most_telling(self) -> int:
        """The slice to look at first: with the largest outline; without any, where the gate is surest."""
        by = self.areas if self.voxels else self.gate_probabilities
        return int(np.argmax(by)) + 1

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(N, H, W) bool."""
        return np.stack([prediction.mask for prediction in self.predictions])

    @property
    def heads(self) -> NDArray[np.bool_]:
        """(N, H, W) bool."""
        return np.stack([prediction.head for prediction in self.predictions])
