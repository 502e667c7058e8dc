"""Maps of a series as NIfTI volumes on the grid that its FLAIR was scanned on."""

import gzip
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lgg.export.provenance import NOTICE
from lgg.types import Series

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

#: A series that tells how it lies in the patient: "scanner's own axes".
SCANNER = 1


def nifti_mask(series: Series, masks: NDArray[np.bool_]) -> bytes:
    """A packed NIfTI file of 0 and 1 on the grid of the series' own file, see `nifti_volume`.

    Args:
        masks: (N, H, W) bool, of its axial slices.
    """
    return nifti_volume(series, masks.astype(np.uint8))


def nifti_volume(series: Series, maps: NDArray[np.uint8] | NDArray[np.float32]) -> bytes:
    """A packed NIfTI file of maps of the slices.

    For a NIfTI series with the shape, affine, and qform and sform codes of its file. Another's array counts
    columns, rows and slices, as its files do; where they do not say how they lie in the patient, neither does
    this one (both codes are 0).

    Args:
        maps: (N, H, W), of its axial slices.
    """
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Header, Nifti2Image

    voxels = series.to_source(maps)
    if series.nifti is None:
        voxels, header = voxels.transpose(2, 1, 0), _header(series)
    else:
        header = series.nifti.copy()
    header.set_data_dtype(maps.dtype)
    header["descrip"] = NOTICE.encode()
    # Without an affine of its own, the image keeps the header's, code for code.
    kind = Nifti2Image if isinstance(header, Nifti2Header) else Nifti1Image
    return gzip.compress(kind(voxels, None, header).to_bytes(), mtime=0)


def _header(series: Series) -> "Nifti1Header":
    """The header of an array (columns, rows, slices) that lies where the series does."""
    from nibabel.nifti1 import Nifti1Header

    header = Nifti1Header()
    header.set_data_shape(series.grid.shape[::-1])
    header.set_xyzt_units("mm")
    if series.grid.affine is not None:
        affine = series.grid.affine[:, [2, 1, 0, 3]]
        header.set_sform(affine, SCANNER)
        header.set_qform(affine, SCANNER, strip_shears=True)
    else:
        row, column = series.spacing or (1.0, 1.0)
        header.set_zooms((column, row, series.slice_distance or 1.0))
    return header
