"""A result as files in a folder: the mask on the FLAIR's own grid, a picture, numbers, more on request."""

import gzip
import io
import json
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lgg.export.dicom_seg import dicom_segmentation
from lgg.export.mesh import surface_glb
from lgg.export.statistics import NOTICE, Provenance, statistics
from lgg.files import write_atomically, write_text
from lgg.types import Series, SeriesResult
from lgg.visualize import PREDICTED, Rgb, preview

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

Format = Literal["nifti", "png", "probability", "dicom-seg", "mesh"]
#: Of these there is a file of each result, whether it is asked for or not.
ALWAYS: tuple[Format, ...] = ("nifti", "png")
MASK, PREVIEW, STATISTICS = "mask.nii.gz", "preview.png", "statistics.json"
PROBABILITY, SEGMENTATION, SURFACE = "probability.nii.gz", "segmentation.dcm", "surface.glb"
#: NIfTI's code of a series that tells how it lies in the patient: "scanner's own axes".
SCANNER = 1


def export(
    result: SeriesResult,
    out: Path | str,
    formats: Collection[Format] = ALWAYS,
    provenance: Provenance | None = None,
) -> Path:
    """Write a result into a folder: mask, preview and statistics, and the formats that are asked for.

    >>> from lgg import Cascade, read_study
    >>> from lgg.export import export
    >>> export(Cascade.from_pretrained().predict(read_study("patient")), "out", ("dicom-seg", "mesh"))

    Returns:
        The folder.

    Raises:
        DiskError: it cannot be written.
    """
    out = Path(out)
    _, notes = write_files(result, out, formats, provenance)
    numbers = statistics(result, provenance)
    write_statistics(out, numbers | {"notes": [*numbers["notes"], *notes]})
    return out


def write_files(
    result: SeriesResult,
    folder: Path,
    formats: Collection[Format] = ALWAYS,
    provenance: Provenance | None = None,
    patient: Mapping[str, str] | None = None,
) -> tuple[list[str], list[str]]:
    """Write all files of a result but its statistics.

    Args:
        patient: what a DICOM Segmentation repeats of the patient and the study, keyword → value.

    Returns:
        The files' names, and why a file that was asked for is not there, a sentence each.

    Raises:
        DiskError: one cannot be written.
    """
    series, masks = result.series, result.masks
    provenance = provenance or Provenance("unknown", "", "", result.thresholds)
    volume = "" if result.volume_ml is None else f"{result.volume_ml:.1f} ml outlined. "
    files: dict[str, bytes | None] = {
        MASK: nifti_volume(series, masks),
        PREVIEW: _small_png(preview(result, f"{volume}{NOTICE}.")),
    }
    if "probability" in formats:
        maps = np.stack([prediction.probability for prediction in result.predictions])
        files[PROBABILITY] = nifti_volume(series, maps)
    if "dicom-seg" in formats:
        files[SEGMENTATION] = dicom_segmentation(series, masks, provenance, patient, result.corrected)
    if "mesh" in formats:
        files[SURFACE] = surface_glb(result)
    for name, data in files.items():
        if data is not None:
            write_atomically(folder / name, partial(Path.write_bytes, data=data))
    reasons = {
        SEGMENTATION: "No DICOM Segmentation was made: the study is no DICOM, or its images lack identifiers "
        "or their place in the patient.",
        SURFACE: "No mesh was made: nothing is outlined.",
    }
    missing = [reasons[name] for name, data in files.items() if data is None]
    return [name for name, data in files.items() if data is not None], missing


def nifti_volume(series: Series, maps: NDArray[np.bool_] | NDArray[np.float32]) -> bytes:
    """A packed NIfTI file of maps of the slices.

    For a NIfTI series with the shape, affine, and qform and sform codes of its file. Another's array counts
    columns, rows and slices, as its files do; where they do not say how they lie in the patient, neither does
    this one (both codes are 0).

    Args:
        maps: (N, H, W), of its axial slices; masks become 0 and 1.
    """
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Header, Nifti2Image

    voxels = series.to_source(maps.astype(np.uint8) if maps.dtype == bool else maps)
    if series.nifti is None:
        voxels, header = voxels.transpose(2, 1, 0), _header(series)
    else:
        header = series.nifti.copy()
    header.set_data_dtype(voxels.dtype)
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


def _small_png(picture: Rgb) -> bytes:
    """A PNG file of a preview, which has greys and one colour: 64 greys take a third of the room."""
    grey = picture[..., 0]
    coloured = (picture != grey[..., None]).any(2)
    indexed = Image.fromarray(np.where(coloured, 64, grey >> 2).astype(np.uint8), "P")
    indexed.putpalette([level << 2 for level in range(64) for _ in range(3)] + list(PREDICTED))
    return png_bytes(indexed)


def png_bytes(image: Image.Image) -> bytes:
    """A picture as a PNG file."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def write_statistics(folder: Path, numbers: Mapping[str, Any], name: str = STATISTICS) -> None:
    """Write statistics, in UTF-8.

    Raises:
        DiskError: they cannot be written.
    """
    write_text(folder / name, json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
