"""Where slices are examined: the models, and what they said lately. Nothing of any visitor by name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lgg.cascade import DEFAULT_ARCHITECTURE, Cascade
from lgg.errors import SliceError
from lgg.page.extra import EXTRA, Map, extra_map
from lgg.page.lookup import cascade_of, check_still_there
from lgg.page.memory import Memory
from lgg.page.zero import on_gpu
from lgg.plausible import implausible
from lgg.prediction import Prediction
from lgg.reading import read_mask
from lgg.series import AmbiguousSeriesError, Series, read_series
from lgg.slice import Slice
from lgg.view import Layer


@dataclass(frozen=True)
class Examined:
    """A slice and what a cascade says of it, by the cascade's own thresholds; the segmenter always ran.

    `series` is the same slice as it was read, with the way back to its source's own grid; `warnings` say why
    the networks were not made for it.
    """

    series: Series
    one: Slice
    prediction: Prediction
    cascade: Cascade
    warnings: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What it weighs in memory."""
        maps = (self.prediction.probability, self.prediction.mask, self.prediction.head)
        return self.series.pixels.nbytes + sum(one.nbytes for one in maps)


class Desk:
    """Runs cascades on files. It holds the models, and for a while what they said."""

    def __init__(self, cascades: dict[str, Cascade]) -> None:
        self.cascades = cascades
        self.memory = Memory()
        self._predict, self._explain = on_gpu(self._run), on_gpu(self._look_inside)

    @property
    def preferred(self) -> str | None:
        """The architecture to begin with: the default where it has weights, else any that has."""
        default = DEFAULT_ARCHITECTURE
        return default if default in self.cascades else next(iter(self.cascades), None)

    def examine(self, path: str, architecture: str | None) -> Examined:
        """Read a file and run a cascade on it, or remember what it said.

        Raises:
            SliceError, WeightsError: the file, or the architecture, cannot be used.
        """
        check_still_there([path])
        return self.memory.recall(
            ("slice", path, architecture), lambda: self._examine(path, architecture), lambda made: made.bytes
        )

    def extra(self, path: str, architecture: str, layer: Layer) -> Map | None:
        """The map that a layer needs beside the prediction, (H, W) float32; None where it needs none."""
        if layer not in EXTRA:
            return None
        found: Map = self.memory.recall(
            (layer, path, architecture),
            lambda: self._explain(self.examine(path, architecture).one.pixels[None], architecture, layer),
            lambda made: made.nbytes,
        )
        return found

    def truth(self, path: str | None, examined: Examined) -> NDArray[np.bool_] | None:
        """A ground truth of an examined slice, (H, W) bool; None for none.

        Raises:
            SliceError: the file is no mask, or not of the slice's size.
        """
        if path is None:
            return None
        check_still_there([path])
        read = self.memory.recall(("truth", path), lambda: read_mask(path), lambda made: made.nbytes)
        mask, grid = read[None], examined.series.grid
        if mask.shape != grid.shape:
            (height, width), (rows, columns) = grid.shape[1:], mask.shape[1:]
            raise SliceError(
                f"The mask is {columns} × {rows} pixels and the slice {width} × {height}. Upload the mask "
                "that was drawn on this slice."
            )
        turned: NDArray[np.bool_] = grid.to_axial(mask)[0]  # it was drawn on the file as it lies
        return turned

    def compare(self, path: str) -> list[Examined]:
        """What every architecture that has weights says of a slice."""
        return [self.examine(path, name) for name in self.cascades]

    def _examine(self, path: str, architecture: str | None) -> Examined:
        series = read_one([path])
        cascade = cascade_of(self.cascades, architecture)
        # By the upload's own name: within a series it would be called `page 1`.
        one = replace(series.slices()[0], source=series.source)
        prediction = self._predict(one, architecture)
        warnings = implausible(one, prediction.head)
        return Examined(series, one, prediction, cascade, warnings)

    def _run(self, one: Slice, architecture: str) -> Prediction:
        # By name: ZeroGPU sends arguments to another process, and the cascade is there already.
        return self.cascades[architecture].predict(one, always_segment=True)

    def _look_inside(self, pixels: Map, architecture: str, layer: Layer) -> Map:
        return extra_map(self.cascades[architecture], pixels, layer)


def read_one(uploads: Sequence[Any]) -> Series:
    """One slice as a series of one: whatever `read_series` reads, if it holds no more than that.

    Raises:
        SliceError: it cannot be read, or it holds more than one slice.
    """
    advice = "Open it under “Whole series”"
    try:
        series = read_series(uploads)
    except AmbiguousSeriesError:
        raise SliceError(f"This file holds several volumes. {advice}.") from None
    if len(series) > 1:
        raise SliceError(f"{series.source} holds {len(series)} slices. {advice}, or upload one of them.")
    return series
