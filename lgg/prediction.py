"""What the predictor returns: a slice's answer with the mask that was decided, or the networks' raw maps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lgg.gating import Gating, decide, drop_lone, gate_floor
from lgg.weights import Thresholds


@dataclass(frozen=True)
class Prediction:
    """What the cascade says about one slice.

    Attributes:
        gate_probability: that the slice holds a glioma, 0 to 1.
        passed: whether the gate let the segmenter decide; if not, the mask is empty.
        probability: (H, W) float32, tumour probability of each pixel of the upload, 0 to 1; zeros where the
            segmenter did not run.
        mask: (H, W) bool at the upload's own size; of a series, without what no neighbouring slice confirms.
        head: (H, W) bool, where the head was found.
        thresholds: those that decided.
        milliseconds: stage (`preprocess`, `gate`, `segment`) → its time, shared evenly in a batch.
        spacing: (row, column) in millimetres if the file stated it.
    """

    gate_probability: float
    passed: bool
    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    head: NDArray[np.bool_]
    thresholds: Thresholds
    milliseconds: dict[str, float]
    spacing: tuple[float, float] | None = None

    @property
    def area(self) -> int:
        """Tumour pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def area_mm2(self) -> float | None:
        """Tumour area in square millimetres, only where the file states its spacing."""
        return None if self.spacing is None else self.area * self.spacing[0] * self.spacing[1]

    @property
    def head_percent(self) -> float:
        """How much of the head is tumour, in percent; 0 where no head was found."""
        head = np.count_nonzero(self.head)
        return 100 * float(np.count_nonzero(self.mask & self.head)) / head if head else 0.0

    def decided(self, thresholds: Thresholds, gating: Gating = "hard") -> "Prediction":
        """The same answers of the networks, judged by other thresholds.

        Where the segmenter did not run (`always_segment`), there is no mask that another gate could let pass.
        """
        mask = decide(self.gate_probability, self.probability, thresholds, gating)
        passed = self.gate_probability >= gate_floor(thresholds, gating)
        return replace(self, mask=mask, passed=passed, thresholds=thresholds)


def confirmed(predictions: Sequence[Prediction]) -> list[Prediction]:
    """A whole series' predictions, in its order, without what no neighbouring slice confirms.

    See `lgg.gating.drop_lone`. What was confirmed already stays as it is.
    """
    masks = drop_lone(np.stack([one.mask for one in predictions]))
    return [replace(one, mask=mask) for one, mask in zip(predictions, masks, strict=True)]


@dataclass(frozen=True)
class Maps:
    """Both networks' raw answers for N slices, before any threshold.

    gate: (N,) float32. probability: (N, H, W) float32, zeros where `segmented` (N,) bool is False.
    heads: (N, H, W) bool. milliseconds: stage → time of the whole batch.
    """

    gate: NDArray[np.float32]
    probability: NDArray[np.float32]
    segmented: NDArray[np.bool_]
    heads: NDArray[np.bool_]
    milliseconds: dict[str, float]
