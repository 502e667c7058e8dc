"""The texts among the take-away: a table with a row a slice, and what all files mean and were made by."""

import csv
import io
from collections.abc import Sequence

from lgg.gating import DEPTH, FEWEST, SHARE
from lgg.prediction import Prediction
from lgg.series.series import Series
from lgg.slice import SEQUENCES
from lgg.takeaway.method import NOTICE, Method

COLUMNS = ("slice", "gate_probability", "gate_passed", "area_px", "area_mm2", "head_percent")

#: File or folder → what it is.
MEANINGS = {
    "slices.csv": "a row a slice: the gate's probability of a glioma, whether it passed, the outlined area "
    "in pixels and, where the upload states its pixel spacing, in mm², and its share of the head in percent",
    "masks": "the outlined tumour, white on black, at the size of the slices",
    "overlays": "FLAIR with the tumour outlined in orange, enlarged where slices are small",
    "probability.tif": "a page a slice, 16 bits: 0 is 0 % and 65535 is 100 %; black where the segmenter did "
    "not run, because the gate did not pass",
    "mask.nii.gz": "the mask on the grid of the NIfTI volume that was uploaded, 0 and 1",
    "segmentation.dcm": "DICOM Segmentation that refers to the images that were uploaded; the patient's "
    "fields are left empty, they were never read",
}


def table(predictions: Sequence[Prediction]) -> str:
    """`slices.csv`: slices from 1, in their order; `area_mm2` is empty where no spacing is known."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, one in enumerate(predictions, start=1):
        mm2 = one.area_mm2
        writer.writerow(
            (
                number,
                f"{one.gate_probability:.6f}",
                int(one.passed),
                one.area,
                "" if mm2 is None else f"{mm2:.2f}",
                f"{one.head_percent:.4f}",
            )
        )
    return stream.getvalue()


def readme(series: Series, predictions: Sequence[Prediction], method: Method, files: set[str]) -> str:
    """`README.txt`: what must not be done with the results, what each file is, and by what it was made."""
    height, width = series.pixels.shape[1:3]
    roots = {name.split("/")[0] for name in files}
    held = method.thresholds
    gates = {
        "hard": f"hard: slices at or above {held.gate:g} are segmented",
        "soft": f"soft: below {held.low:g} empty, from {held.high:g} on segmented, between them kept if the "
        f"mean probability inside the mask is at least {held.keep:g}",
        "none": "none: every slice is segmented",
    }
    sequences = "FLAIR alone" if series.flair_only else ", ".join(SEQUENCES)
    volume = _volume(series, predictions)
    order = "in the order of their names or pages" if series.grid.affine is None else "from bottom to top"
    lines = [
        "Low-grade glioma segmentation: results",
        f"{NOTICE}. Not a medical device.",
        "",
        f"Slices      {len(series)} of {width} x {height} pixels, {order} ({sequences})",
        f"With tumour {sum(one.area > 0 for one in predictions)}" + volume,
        "",
        "Files",
        *(f"  {name}: {meaning}." for name, meaning in MEANINGS.items() if name in roots),
        "",
        "Made by",
        f"  gate: resnet18, weights sha256 {method.gate_weights or 'unknown'}",
        f"  segmenter: {method.architecture}, weights sha256 {method.segmenter_weights or 'unknown'}",
        f"  gating: {gates[method.gating]}",
        f"  mask: pixels at or above {held.mask:g}",
        f"  z-scores: by the statistics of the {method.statistics}",
    ]
    if method.statistics == "volume" and len(series) >= FEWEST:
        lines.append(
            f"  neighbours: what reaches through fewer than {DEPTH} slices, or holds less than {SHARE:.0%} "
            "of the largest outline, is left out"
        )
    notes = list(series.notes)
    if series.dicom and "segmentation.dcm" not in roots:
        notes.append(
            "No DICOM Segmentation was made: the images lack identifiers or their place in the patient."
        )
    if notes:
        lines += ["", "Notes on the upload", *(f"  {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def _volume(series: Series, predictions: Sequence[Prediction]) -> str:
    """The tumour's volume where all distances are known."""
    if series.voxel_mm3 is None:
        return ""
    return f", {sum(one.area for one in predictions) * series.voxel_mm3 / 1000:.2f} ml"
