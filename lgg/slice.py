"""The one type that reading returns and everything else takes: an MRI slice."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: The order of the channels everywhere in this project, as in the `kaggle_3m` data.
SEQUENCES = ("pre-contrast T1", "FLAIR", "post-contrast T1")
PRE, FLAIR, POST = range(3)


@dataclass(frozen=True)
class Slice:
    """One axial brain MRI slice.

    Attributes:
        pixels: (H, W, 3) float32, channels in the order of `SEQUENCES`, in the file's own units: any
            finite range, not all equal. A one-channel file is taken as FLAIR and stands in all three.
        source: the file's bare name (no folder), for messages and reports.
        flair_only: whether the file held one channel only.
        spacing: (row, column) distance of pixel centres in millimetres, or None where the file does
            not state it. Never guessed.
    """

    pixels: NDArray[np.float32]
    source: str
    flair_only: bool = False
    spacing: tuple[float, float] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]
