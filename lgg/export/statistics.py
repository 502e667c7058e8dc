"""A result in numbers: volume, components, the gate, and what it was made by."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lgg.cascade import Cascade
from lgg.input_check import series_warnings
from lgg.io.orientation import axial_to_source
from lgg.postprocess import Gating
from lgg.preprocess import StatisticsMode
from lgg.types import FLAIR, SEQUENCES, Series, SeriesResult, Thresholds

#: Of more voxels than that, only the corners of their hull are compared with each other.
MANY = 200
#: Says in every file that can hold a text what the result must not be used for.
NOTICE = "Research only, not for clinical use"


@dataclass(frozen=True)
class Provenance:
    """What a result was made by.

    Attributes:
        architecture: the segmenter's.
        gate_weights, segmenter_weights: sha256 of the weights' files, 64 hexadecimal digits.
        thresholds: all of them.
        gating: what the gate could veto.
        statistics: over what z-scores were taken.
    """

    architecture: str
    gate_weights: str
    segmenter_weights: str
    thresholds: Thresholds
    gating: Gating = "hard"
    statistics: StatisticsMode = "volume"


def provenance_of(
    cascade: Cascade, gating: Gating = "hard", statistics: StatisticsMode = "volume"
) -> Provenance:
    """What a cascade predicts by: `slice` statistics for a lone slice, `volume` for a series."""
    return Provenance(
        cascade.config.architecture,
        cascade.gate_config.sha256,
        cascade.config.sha256,
        cascade.thresholds if statistics == "slice" else cascade.series_thresholds,
        gating,
        statistics,
    )


def statistics(result: SeriesResult, provenance: Provenance | None = None) -> dict[str, Any]:
    """What `statistics.json` says of a result: plain values, None where the series does not state it.

    Places are those of the source's own array, counted from 0, and millimetres in the patient's RAS axes
    (NIfTI's: to the right, to the front, up).
    """
    series, gates = result.series, result.gate_probabilities
    heads = [prediction.head for prediction in result.predictions]
    return {
        "notice": NOTICE,
        "volume_ml": rounded(result.volume_ml),
        "voxels": result.voxels,
        "voxel_mm3": rounded(series.voxel_mm3, 6),
        "slices": len(result),
        "slices_with_tumour": list(result.with_tumour),
        "components": components(series, result.masks),
        "gate": {
            "maximum": rounded(max(gates)),
            "slice": int(np.argmax(gates)) + 1,
            "passed": len(result.suspected),
        },
        "sequences": _sequences(series),
        "volumes": [asdict(volume) for volume in series.found],
        "warnings": list(series_warnings(series.slices(), heads)),
        "notes": list(series.notes),
        "corrected_by_hand": result.corrected,
        "made_by": None if provenance is None else asdict(provenance),
    }


def components(series: Series, masks: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """The outlined components, the largest first; voxels that touch at a corner belong together.

    Args:
        masks: (N, H, W) bool, of the series' axial slices.

    Returns:
        of each: voxels; volume_ml; centroid_voxel and centroid_mm; largest_diameter_mm, the largest distance
        between the centres of two of its voxels; slices, the first and the last.
    """
    if not masks.any():
        return []
    (affine, known), to_source = _affine(series), axial_to_source(series.grid)
    # Tumours are small: labels of a whole large series would take more memory than all else.
    (box,) = ndimage.find_objects(masks.view(np.uint8))
    labels, _ = ndimage.label(masks[box], np.ones((3, 3, 3)))
    corner = [side.start for side in box]
    found = []
    for number, part in enumerate(ndimage.find_objects(labels), start=1):
        axial = np.argwhere(labels[part] == number) + [side.start for side in part] + corner
        places = axial @ to_source[:3, :3].T + to_source[:3, 3]
        positions = places @ affine[:3, :3].T + affine[:3, 3]
        volume = None if series.voxel_mm3 is None else len(places) * series.voxel_mm3 / 1000
        found.append(
            {
                "voxels": len(places),
                "volume_ml": rounded(volume),
                "centroid_voxel": [rounded(value, 2) for value in places.mean(0)],
                "centroid_mm": [rounded(value, 2) for value in positions.mean(0)] if known else None,
                "largest_diameter_mm": rounded(_diameter(positions), 2) if known else None,
                "slices": [int(axial[:, 0].min()) + 1, int(axial[:, 0].max()) + 1],
            }
        )
    return sorted(found, key=lambda component: -component["voxels"])


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV with a header; None is an empty cell."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
    return stream.getvalue()


def rounded(value: float | None, digits: int = 4) -> float | None:
    """A plain float of so many digits behind the point; None stays."""
    return None if value is None else round(float(value), digits)


def _sequences(series: Series) -> dict[str, dict[str, Any]]:
    """Of each sequence: whether it was found, in which volume, and what was done with it or in its place."""
    if not series.found:  # pictures, whose channels are the sequences
        found = {SEQUENCES[FLAIR]} if series.flair_only else set(SEQUENCES)
        rows = dict.fromkeys(found, ("", "read as it is"))
    else:
        rows = {volume.sequence: (volume.name, volume.done) for volume in series.found if volume.sequence}
    missing = ("", "not found: FLAIR stands in")
    return {
        name: {"found": name in rows, **dict(zip(("volume", "done"), rows.get(name, missing), strict=True))}
        for name in SEQUENCES
    }


def _affine(series: Series) -> tuple[NDArray[np.float64], bool]:
    """From the source's voxels to millimetres, and whether that is known."""
    if series.grid.affine is not None:
        return series.grid.affine, series.voxel_mm3 is not None
    return np.diag([*(series.distances or (1.0, 1.0, 1.0)), 1.0]), series.distances is not None


def _diameter(positions: NDArray[np.float64]) -> float:
    """The largest distance between two of (N, 3) positions."""
    # Here, as they take 12 MB, and slices by themselves do not need them.
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    if len(positions) > MANY:
        # Moved by rounding errors (QJ), so that what lies in one plane has a hull too.
        positions = positions[ConvexHull(positions, qhull_options="QJ").vertices]
    return float(pdist(positions).max()) if len(positions) > 1 else 0.0
