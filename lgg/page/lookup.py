"""What may be missing when a visitor asks for something: the weights, or an upload that was deleted."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from lgg.cascade import Cascade
from lgg.errors import SliceError, WeightsError
from lgg.weights import Thresholds


def cascade_of(cascades: Mapping[str, Cascade], architecture: str | None) -> Cascade:
    """The cascade of an architecture.

    Raises:
        WeightsError: there is none.
    """
    cascade = cascades.get(architecture or "")
    if cascade is None:
        raise WeightsError("There are no weights to run. Train or download them, then restart.")
    return cascade


def own_thresholds(
    cascades: Mapping[str, Cascade], architecture: str | None, series: bool = False
) -> tuple[float, float]:
    """Of the mask and of the gate, as they came with the weights; the defaults where there are none.

    Args:
        series: those for a series instead of a lone slice.
    """
    cascade = cascades.get(architecture or "")
    own = (cascade.series_thresholds if series else cascade.thresholds) if cascade else Thresholds()
    return own.mask, own.gate


def check_still_there(paths: Iterable[str]) -> None:
    """Refuse uploads that were deleted meanwhile.

    Raises:
        SliceError: at least one is gone.
    """
    if not all(Path(path).is_file() for path in paths):
        raise SliceError("Uploads are deleted after a while, and this one is gone. Upload it once more.")
