"""A result as files: everything about a slice or a series in one ZIP archive.

Files are named after slices' numbers, never after the upload, whose name may be a patient's.
"""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from lgg.export.dicom_seg import dicom_segmentation
from lgg.export.folder import MASK, SEGMENTATION, STATISTICS, export, nifti_volume, png_bytes
from lgg.export.statistics import NOTICE, Provenance, csv_text, provenance_of, statistics
from lgg.files import write_atomically
from lgg.postprocess import DEPTH, FEWEST, SHARE
from lgg.types import SEQUENCES, Prediction, SeriesResult
from lgg.visualize import flair_picture, overlay

__all__ = ["Provenance", "export", "export_zip", "provenance_of", "write_zip"]

README, TABLE, COMPONENTS, PROBABILITY = "README.txt", "slices.csv", "components.csv", "probability.tif"
#: Compressed in the archive; PNG, gzip and the like do not shrink.
SHRINKS = (".txt", ".csv", ".json", ".dcm")
COLUMNS = ("slice", "gate_probability", "gate_passed", "area_px", "area_mm2", "head_percent")
COMPONENT_COLUMNS = ("component", "voxels", "volume_ml", "largest_diameter_mm", "first_slice", "last_slice")

#: File or folder → what it is.
MEANINGS = {
    TABLE: "a row a slice: the gate's probability of a glioma, whether it passed, the outlined area "
    "in pixels and, where the upload states its pixel spacing, in mm², and its share of the head in percent",
    COMPONENTS: "a row for each outlined component, the largest first: its volume, its largest diameter "
    "where the upload states its distances, and the slices that it reaches through",
    STATISTICS: "volume, the components with their volumes and largest diameters, the gate, what made them",
    "masks": "the outlined tumour, white on black, at the size of the slices",
    "overlays": "FLAIR with the tumour outlined in orange, enlarged where slices are small",
    PROBABILITY: "a page a slice, 16 bits: 0 is 0 % and 65535 is 100 %; black where the segmenter did "
    "not run, because the gate did not pass",
    MASK: "the mask on the grid of the NIfTI volume that was uploaded, 0 and 1",
    SEGMENTATION: "DICOM Segmentation that refers to the images that were uploaded; the patient's "
    "fields are left empty, they were never read",
}


def export_zip(result: SeriesResult, provenance: Provenance) -> bytes:
    """The archive of a series and what was found in it.

    `README.txt`; `slices.csv`, a row a slice; `components.csv`, a row a component; `statistics.json`;
    `masks/` and `overlays/`, a PNG a slice; `probability.tif`, a page a slice, 16 bits from 0 (0 %) to 65535
    (100 %); for a NIfTI upload `mask.nii.gz` and for a DICOM upload `segmentation.dcm`, both on its own grid.

    Args:
        result: what was found; `Series.from_slice` makes a series of a lone slice.
        provenance: by what.
    """
    series, predictions, masks = result.series, result.predictions, result.masks
    numbers = statistics(result, provenance)
    files = {TABLE: table(predictions).encode(), PROBABILITY: _probability(predictions)}
    files[COMPONENTS] = component_table(numbers).encode()
    files[STATISTICS] = (json.dumps(numbers, indent=1) + "\n").encode()
    if series.nifti is not None:
        files[MASK] = nifti_volume(series, masks)
    segmentation = dicom_segmentation(series, masks, provenance, corrected=result.corrected)
    if segmentation is not None:
        files[SEGMENTATION] = segmentation
    for number, (slice_, prediction) in enumerate(zip(series.slices(), predictions, strict=True), start=1):
        picture = overlay(flair_picture(slice_, prediction.head), prediction.mask)
        files[f"masks/slice_{number:03}.png"] = png_bytes(
            Image.fromarray(prediction.mask.astype(np.uint8) * 255)
        )
        files[f"overlays/slice_{number:03}.png"] = png_bytes(Image.fromarray(picture))
    files = {README: readme(result, provenance, set(files)).encode(), **files}
    return _zipped(files)


def write_zip(path: Path, result: SeriesResult, provenance: Provenance) -> None:
    """Write `export_zip`'s archive, whole or not at all."""
    data = export_zip(result, provenance)
    write_atomically(path, lambda partial: partial.write_bytes(data))


def table(predictions: Sequence[Prediction]) -> str:
    """`slices.csv`: slices from 1, in their order; `area_mm2` is empty where no spacing is known."""
    rows = (
        (
            number,
            f"{prediction.gate_probability:.6f}",
            int(prediction.passed),
            prediction.area,
            None if prediction.area_mm2 is None else f"{prediction.area_mm2:.2f}",
            f"{prediction.head_percent:.4f}",
        )
        for number, prediction in enumerate(predictions, start=1)
    )
    return csv_text(COLUMNS, rows)


def component_table(numbers: dict[str, Any]) -> str:
    """`components.csv` from a result's statistics: the largest first; empty is what no spacing tells."""
    rows = (
        (number, *(component[name] for name in COMPONENT_COLUMNS[1:4]), *component["slices"])
        for number, component in enumerate(numbers["components"], start=1)
    )
    return csv_text(COMPONENT_COLUMNS, rows)


def readme(result: SeriesResult, provenance: Provenance, files: set[str]) -> str:
    """`README.txt`: what must not be done with the results, what each file is, and by what it was made."""
    series = result.series
    height, width = series.pixels.shape[1:3]
    roots = {name.split("/")[0] for name in files}
    held = provenance.thresholds
    gates = {
        "hard": f"hard: slices at or above {held.gate:g} are segmented",
        "soft": f"soft: below {held.low:g} empty, from {held.high:g} on segmented, between them kept if the "
        f"mean probability inside the mask is at least {held.keep:g}",
        "none": "none: every slice is segmented",
    }
    sequences = "FLAIR alone" if series.flair_only else ", ".join(SEQUENCES)
    volume = "" if result.volume_ml is None else f", {result.volume_ml:.2f} ml"
    order = "in the order of their names or pages" if series.grid.affine is None else "from bottom to top"
    lines = [
        "Low-grade glioma segmentation: results",
        f"{NOTICE}. Not a medical device.",
        "",
        f"Slices      {len(series)} of {width} x {height} pixels, {order} ({sequences})",
        f"With tumour {len(result.with_tumour)}" + volume,
        "",
        "Files",
        *(f"  {name}: {meaning}." for name, meaning in MEANINGS.items() if name in roots),
        "",
        "Made by",
        f"  gate: resnet18, weights sha256 {provenance.gate_weights or 'unknown'}",
        f"  segmenter: {provenance.architecture}, weights sha256 {provenance.segmenter_weights or 'unknown'}",
        f"  gating: {gates[provenance.gating]}",
        f"  mask: pixels at or above {held.mask:g}",
        f"  z-scores: by the statistics of the {provenance.statistics}",
    ]
    if provenance.statistics == "volume" and len(series) >= FEWEST:
        lines.append(
            f"  neighbours: what reaches through fewer than {DEPTH} slices, or holds less than {SHARE:.0%} "
            "of the largest outline, is left out"
        )
    if result.corrected:
        lines.append("  outline: corrected by hand, after all of this")
    notes = list(series.notes)
    if series.dicom and SEGMENTATION not in roots:
        notes.append(
            "No DICOM Segmentation was made: the images lack identifiers or their place in the patient."
        )
    if notes:
        lines += ["", "Notes on the upload", *(f"  {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def _probability(predictions: Sequence[Prediction]) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for prediction in predictions:
            values = (prediction.probability.clip(0, 1) * 65535).round().astype(np.uint16)
            writer.write(values, photometric="minisblack", compression="zlib", metadata=None)
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
