"""A mask as NIfTI, voxel for voxel on the grid of the volume that was uploaded."""

import gzip

import numpy as np
from numpy.typing import NDArray

from lgg.series.series import Series
from lgg.takeaway.method import NOTICE


def nifti_mask(series: Series, masks: NDArray[np.bool_]) -> bytes:
    """A packed NIfTI file of 0 and 1, with the shape, affine, and qform and sform codes of the upload's.

    Args:
        series: that of a NIfTI upload.
        masks: (N, H, W) bool, of its axial slices.

    Raises:
        ValueError: the series does not come from NIfTI.
    """
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Header, Nifti2Image

    if series.nifti is None:
        raise ValueError("only the series of a NIfTI upload has a NIfTI mask")
    header = series.nifti.copy()
    header.set_data_dtype(np.uint8)
    header["descrip"] = NOTICE.encode()
    # Without an affine of its own, the image keeps the header's, code for code.
    kind = Nifti2Image if isinstance(header, Nifti2Header) else Nifti1Image
    image = kind(series.to_source(masks).astype(np.uint8), None, header)
    return gzip.compress(image.to_bytes(), mtime=0)
