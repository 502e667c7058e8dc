"""What a whole examined series says: how much tumour, in which slices, and how sure the gate was."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lgg.gating import Gating
from lgg.prediction import Prediction, confirmed
from lgg.series.series import Series
from lgg.weights import Thresholds


@dataclass(frozen=True)
class SeriesResult:
    """A series and what was found in each of its slices, N of both. Slices are counted from 1."""

    series: Series
    predictions: tuple[Prediction, ...]

    def __post_init__(self) -> None:
        """Raises ValueError where there is not one prediction for each slice."""
        if len(self.predictions) != len(self.series):
            raise ValueError("a prediction for each slice is needed")

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def thresholds(self) -> Thresholds:
        """Those that decided; the same for all slices."""
        return self.predictions[0].thresholds

    @cached_property
    def areas(self) -> tuple[int, ...]:
        """Outlined pixels of each slice."""
        return tuple(one.area for one in self.predictions)

    @property
    def gate_probabilities(self) -> tuple[float, ...]:
        """The gate's probability for each slice, 0 to 1."""
        return tuple(one.gate_probability for one in self.predictions)

    @property
    def voxels(self) -> int:
        """Outlined voxels of the whole series."""
        return sum(self.areas)

    @property
    def volume_ml(self) -> float | None:
        """Outlined volume in millilitres, only where spacing and slice distance are known."""
        voxel = self.series.voxel_mm3
        return None if voxel is None else self.voxels * voxel / 1000

    @property
    def with_tumour(self) -> tuple[int, ...]:
        """The slices in which something is outlined."""
        return tuple(number for number, area in enumerate(self.areas, start=1) if area)

    @property
    def suspected(self) -> tuple[int, ...]:
        """The slices that the gate let pass."""
        return tuple(number for number, one in enumerate(self.predictions, start=1) if one.passed)

    @property
    def most_telling(self) -> int:
        """The slice to look at first: with the largest outline; without any, where the gate is surest."""
        by = self.areas if self.voxels else self.gate_probabilities
        return int(np.argmax(by)) + 1

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(N, H, W) bool."""
        return np.stack([one.mask for one in self.predictions])

    @property
    def heads(self) -> NDArray[np.bool_]:
        """(N, H, W) bool."""
        return np.stack([one.head for one in self.predictions])

    def decided(self, thresholds: Thresholds, gating: Gating = "hard") -> "SeriesResult":
        """The same answers of the networks, decided by other thresholds.

        Slices that the segmenter never saw stay empty, whatever the gate's threshold is now.
        """
        if thresholds == self.thresholds:
            return self
        decided = [one.decided(thresholds, gating) for one in self.predictions]
        return replace(self, predictions=tuple(confirmed(decided)))
