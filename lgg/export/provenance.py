"""Provenance of a result: networks, thresholds, gate. It goes with every result that leaves."""

from dataclasses import dataclass

from lgg.cascade import Cascade
from lgg.postprocess import Gating
from lgg.preprocess import StatisticsMode
from lgg.types import Thresholds

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
