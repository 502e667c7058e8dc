"""A ground truth for a whole series: masks as slice files, an archive, a TIFF of many pages, or NIfTI."""

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError
from lgg.reading import read_mask, read_stack
from lgg.reading.dicom_header import is_dicom
from lgg.reading.kinds import TIFF, kind_of
from lgg.reading.source import Source
from lgg.series.archive import File, unpack
from lgg.series.nifti import is_nifti, read_nifti
from lgg.series.series import MAX_SLICES, Series, check_volume
from lgg.slice import FLAIR


def read_truth(
    uploads: Sequence[Source], series: Series, names: Sequence[str] | None = None
) -> NDArray[np.bool_]:
    """Read the mask of each slice of a series; whatever is not black is tumour.

    Args:
        uploads: a NIfTI volume, a TIFF with a page a slice, mask files in the natural order of their names,
            or an archive of them. Where some files are called `…_mask` and others are not, only those count.
        series: what they were drawn on; pictures of masks come in the order of its axial slices.
        names: what messages call the uploads, in the same order; by default their own names.

    Returns:
        (N, H, W) bool, as the series' pixels lie.

    Raises:
        SliceError, SeriesError: they cannot be read as masks, or are not of the series' size.
    """
    files = unpack(uploads, names)
    files = [one for one in files if PurePath(one.name).stem.lower().endswith("_mask")] or files
    masks = _read(files)
    if masks.shape != series.pixels.shape[:3]:
        (count, height, width), (slices, rows, columns) = masks.shape, series.pixels.shape[:3]
        raise SeriesError(
            f"The ground truth is {count} × {width} × {height} and the series {slices} × {columns} × {rows} "
            "(slices, width, height). Upload the masks that were drawn on this series."
        )
    return masks


def _read(files: Sequence[File]) -> NDArray[np.bool_]:
    first = files[0]
    if is_nifti(first.data):
        if len(files) > 1:
            raise SeriesError("A ground truth is one NIfTI volume. Upload that one alone.")
        volume: NDArray[np.bool_] = (
            read_nifti(files, first.name, {first.name: "flair"}).pixels[..., FLAIR] > 0
        )
        return volume
    if any(is_dicom(one.data) for one in files):
        raise SeriesError("A ground truth is not read from DICOM. Save the masks as NIfTI, PNG or TIFF.")
    if len(files) == 1 and kind_of(first.data) == TIFF:
        pages = read_stack(first.data, first.name, MAX_SLICES + 1, check_volume)
        return np.stack([one.pixels.any(2) for one in pages])
    masks: list[NDArray[np.bool_]] = []
    for file in files:
        masks.append(read_mask(file.data, file.name))
        check_volume(len(files), *masks[0].shape)  # at once, before more of them are kept
        if masks[-1].shape != masks[0].shape:
            raise SeriesError(f"{file.name} has another size than {first.name}. Upload masks of one series.")
    return np.stack(masks)
