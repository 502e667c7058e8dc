"""NIfTI: one volume as FLAIR, or one for each sequence, in the axial slices of the FLAIR.

nibabel parses the header; the voxels are a view of the bytes behind it. What else a file may carry,
extensions (whole DICOM headers, sometimes) and free texts, is never parsed, nor kept for the mask
that is handed back: nibabel's own images would parse them, and log what they dislike to the console.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError, SliceError
from lgg.io.archive import File
from lgg.io.combine import Volume, Volumes, combine
from lgg.io.limits import check_finite, check_volume, guarded, named
from lgg.io.orientation import axial_grid, same_grid
from lgg.io.sequences import recognise_file
from lgg.types import FLAIR, POST, PRE, SEQUENCES, Candidate, Grid, Series

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

#: A header's length, and the offset and bytes of its magic.
NIFTI_1, NIFTI_2 = (348, 344, b"n+1\0"), (540, 4, b"n+2\0")
#: The fields that say where voxels lie; texts are left behind.
PLACE = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "pixdim", "xyzt_units")
OFFSETS = ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z")
#: What a qform or sform can refer to; 0 is nothing.
CODES = range(6)
UNPLACED = "The file does not say how it lies in the patient; NIfTI's default was assumed."


@dataclass(frozen=True)
class _Volume:
    """A header without texts, where the voxels begin in the file, and how their values are scaled."""

    file: File
    header: "Nifti1Header"
    grid: Grid
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float


def is_nifti(data: bytes) -> bool:
    """Whether the bytes are a NIfTI file with its voxels; header and voxels in two files are not read."""
    return any(data.startswith(magic, at) for _, at, magic in (NIFTI_1, NIFTI_2))


def nifti_volumes(files: Sequence[File]) -> Volumes:
    """The volumes that may be a sequence, by the names and the headers of NIfTI files.

    Raises:
        SeriesError: two have the same name, and no folders that would tell them apart.
    """
    times = Counter(file.name for file in files)
    parts = {}
    for file in files:
        if times[file.name] > 1:
            file = replace(file, name=f"{file.name} in {file.place.parent.name}")
        parts[file.name] = file
    if len(parts) < len(files):
        raise SeriesError("Two of the volumes have the same name. Name each after its sequence.")
    candidates = tuple(_candidate(file, number) for number, file in enumerate(parts.values(), start=1))
    # Folders are examinations if several of them hold FLAIR and T1.
    sequences: dict[str, set[int | None]] = defaultdict(set)
    for candidate in candidates:
        sequences[candidate.examination].add(candidate.guess)
    if sum(FLAIR in found and bool(found & {PRE, POST}) for found in sequences.values()) < 2:
        candidates = tuple(replace(candidate, examination="") for candidate in candidates)
    places = {name: {file.place} for name, file in parts.items()}
    return Volumes(candidates, parts, _read_nifti, "volumes", places)


def _candidate(file: File, number: int) -> Candidate:
    channel, reason = recognise_file(file.name)
    try:
        grid = _volume(file).grid
    except SliceError:  # said again, with its reason, if this volume is chosen
        grid, reason = None, reason or "no grey volume of three axes"
    folder = str((file.place.parent / file.path).parent)
    return Candidate(file.name, file.name, channel, number, grid, reason=reason, examination=folder)


def _read_nifti(files: Mapping[int, File], register: bool) -> tuple[Series, dict[int, str]]:
    """Read the volume of each channel."""
    volumes = {channel: _volume(file) for channel, file in files.items()}
    flair = volumes[FLAIR]
    with named(flair.file.name):
        check_volume(*(flair.grid.shape[axis] for axis in flair.grid.order))
    sequences = {
        channel: Volume(_values(volume), volume.grid, _on_flair(flair, volume, channel))
        for channel, volume in volumes.items()
    }
    series, done = combine(sequences, register)
    distances = flair.grid.distances
    notes = () if _placed(flair) else (UNPLACED,)
    series = replace(
        series,
        names=tuple(f"{flair.file.name}, {name}" for name in series.names),
        spacing=distances and distances[1:],
        slice_distance=distances and distances[0],
        nifti=flair.header,
        notes=(*notes, *series.notes),
    )
    return series, done


def _volume(file: File) -> _Volume:
    with named(file.name):
        return guarded(_parsed, file)


def _parsed(file: File) -> _Volume:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    start = file.start(NIFTI_2[0])
    second = start.startswith(NIFTI_2[2], NIFTI_2[1])
    kind = Nifti2Header if second else Nifti1Header
    # Unchecked: nibabel's checks log to the console. What matters is checked below.
    stored = kind(start[: NIFTI_2[0] if second else NIFTI_1[0]], check=False)
    shape = tuple(int(side) for side in stored.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        axes = " × ".join(map(str, shape))
        raise SeriesError(f"its shape is {axes}, and one volume of three axes is read. Save it as one.")
    dtype = stored.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise SeriesError("its voxels are no plain numbers (colours, perhaps). Save the volume as grey.")
    header = kind()
    for name in (*PLACE, *OFFSETS):
        header[name] = stored[name]
    # As nibabel would mend them, and tell so on the console.
    header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    for name in ("qform_code", "sform_code"):
        header[name] = header[name] if int(header[name]) in CODES else 0
    header.set_data_shape(shape)
    grid = axial_grid((shape[0], shape[1], shape[2]), header.get_best_affine())
    # Along its shortest side, however it was scanned; a FLAIR's axial slices are looked at later.
    check_volume(*sorted(shape))
    slope, intercept = stored.get_slope_inter()
    return _Volume(file, header, grid, dtype, stored.get_data_offset(), slope or 1.0, intercept or 0.0)


def _values(volume: _Volume) -> NDArray[np.float32]:
    """The voxels in the file's own order of axes, scaled as the header says."""
    data, count = volume.file.whole(), int(np.prod(volume.grid.shape))
    with named(volume.file.name):
        # A ValueError where the file is shorter, which becomes our own.
        stored = guarded(np.frombuffer, data, volume.dtype, count, volume.offset)
        with np.errstate(over="ignore", invalid="ignore"):  # becomes infinite, which is refused
            values = stored.reshape(volume.grid.shape, order="F").astype(np.float32)
            if (volume.slope, volume.intercept) != (1.0, 0.0):
                values = values * np.float32(volume.slope) + np.float32(volume.intercept)
        check_finite(values)
    return values


def _placed(volume: _Volume) -> bool:
    """Whether the header says where in the patient the volume lies."""
    return bool(volume.header["qform_code"] or volume.header["sform_code"])


def _on_flair(flair: _Volume, volume: _Volume, channel: int) -> bool:
    """Whether a volume's voxels are the FLAIR's.

    Raises:
        SeriesError: they are not, and nobody knows where they lie.
    """
    if same_grid(flair.grid, volume.grid):
        return True
    for image in (flair, volume):
        if not _placed(image):
            raise SeriesError(
                f"{image.file.name}: the file does not say how it lies in the patient, so the "
                f"{SEQUENCES[channel]} cannot be brought onto the FLAIR's grid. Convert the volumes from "
                "DICOM once more, or read FLAIR alone."
            )
    return False
