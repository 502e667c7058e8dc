"""What a visitor takes away: everything that was found in a slice or a series, in one ZIP archive.

Files are named after slices' numbers, never after the upload, whose name may be a patient's.
"""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from lgg.files import write_atomically
from lgg.picture import flair_picture, overlay
from lgg.prediction import Prediction
from lgg.series.series import Series
from lgg.takeaway.method import NOTICE, Method, method_of
from lgg.takeaway.segmentation import dicom_segmentation
from lgg.takeaway.texts import readme, table
from lgg.takeaway.volume import nifti_mask

__all__ = ["NOTICE", "Method", "method_of", "pack", "write_pack"]

README, TABLE, PROBABILITY = "README.txt", "slices.csv", "probability.tif"
NIFTI, SEGMENTATION = "mask.nii.gz", "segmentation.dcm"
#: Packed as they are: PNG, gzip and the like do not shrink.
SHRINKS = (".txt", ".csv", ".dcm")


def pack(series: Series, predictions: Sequence[Prediction], method: Method) -> bytes:
    """The archive of a series and its predictions.

    `README.txt`; `slices.csv`, a row a slice; `masks/` and `overlays/`, a PNG a slice; `probability.tif`, a
    page a slice, 16 bits from 0 (0 %) to 65535 (100 %); for a NIfTI upload `mask.nii.gz` and for a DICOM
    upload `segmentation.dcm`, both on the upload's own grid.

    Args:
        series: what was examined; `lgg.series.series_of` makes one of a lone slice.
        predictions: of each slice, in the same order.
        method: by what.

    Raises:
        ValueError: there are not as many predictions as slices.
    """
    if len(predictions) != len(series):
        raise ValueError("a prediction for each slice is needed")
    masks = np.stack([one.mask for one in predictions])
    files = {TABLE: table(predictions).encode(), PROBABILITY: _probability(predictions)}
    if series.nifti is not None:
        files[NIFTI] = nifti_mask(series, masks)
    if (segmentation := dicom_segmentation(series, masks, method)) is not None:
        files[SEGMENTATION] = segmentation
    for number, (one, prediction) in enumerate(zip(series.slices(), predictions, strict=True), start=1):
        picture = overlay(flair_picture(one, prediction.head), prediction.mask)
        files[f"masks/slice_{number:03}.png"] = _png(prediction.mask.astype(np.uint8) * 255)
        files[f"overlays/slice_{number:03}.png"] = _png(picture)
    files = {README: readme(series, predictions, method, set(files)).encode(), **files}
    return _zipped(files)


def write_pack(path: Path, series: Series, predictions: Sequence[Prediction], method: Method) -> None:
    """Write `pack`'s archive, whole or not at all."""
    data = pack(series, predictions, method)
    write_atomically(path, lambda partial: partial.write_bytes(data))


def _probability(predictions: Sequence[Prediction]) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for one in predictions:
            values = (one.probability.clip(0, 1) * 65535).round().astype(np.uint16)
            writer.write(values, photometric="minisblack", compression="zlib", metadata=None)
    return stream.getvalue()


def _png(picture: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()


def _zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            # With the format's earliest date: the time of an examination is nobody's business.
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED if name.endswith(SHRINKS) else zipfile.ZIP_STORED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return stream.getvalue()
