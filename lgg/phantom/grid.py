"""The grid that a head is drawn on, and the two brushes that draw it: smooth noise and soft steps."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: A picture on the fine grid: (GRID, GRID) unless said otherwise. Double precision, so that the
#: last bit of another machine's arithmetic next to never changes a grey level.
Map = NDArray[np.float64]

#: Pixels along a side of the fine grid. The scanner averages 2×2 of them: that is the partial volume
#: in the plane, and the finished slice has the 256×256 of the `kaggle_3m` data.
GRID = 512
#: Millimetres between two points of the fine grid (the finished pixel is 1 mm wide, close to the data).
STEP = 0.5


def pixel_positions() -> tuple[Map, Map]:
    """Millimetres from the middle of the picture for each point of the fine grid: x to the right, y up."""
    steps = (np.arange(GRID) - (GRID - 1) / 2) * STEP
    y, x = np.meshgrid(-steps, steps, indexing="ij")
    return x, y


def smooth_noise(rng: np.random.Generator, sigma_mm: float) -> Map:
    """Gaussian noise of mean 0 and variance 1 on the fine grid, with details about `sigma_mm` wide.

    The noise is drawn on a grid as coarse as its details allow and enlarged, which is much faster than
    filtering the fine grid with a wide kernel.
    """
    factor = max(1, int(sigma_mm / STEP / 3))
    coarse = rng.standard_normal((GRID // factor + 4,) * 2)
    coarse = ndimage.gaussian_filter(coarse, sigma_mm / STEP / factor, mode="wrap")
    fine = ndimage.zoom(coarse, factor, order=3)[:GRID, :GRID] if factor > 1 else coarse[:GRID, :GRID]
    if factor > 1:
        fine = ndimage.gaussian_filter(fine, factor / 2)
    return (fine - fine.mean()) / fine.std()


def step_at(value: Map, edge: Map | float, softness: float) -> Map:
    """A soft step from 0 to 1 where `value` passes `edge`; both and `softness` in the same unit."""
    return 1 / (1 + np.exp(np.clip((edge - value) / softness, -30, 30)))
