"""Makers of series results for the tests: discs for heads, blocks for tumours, no network."""

import numpy as np

from lgg.export import Provenance
from lgg.types import Grid, Prediction, Series, SeriesResult, Thresholds

THRESHOLDS = Thresholds(gate=0.5, mask=0.5)
SIZE = (40, 32)
PROVENANCE = Provenance("unet-lite0", "a" * 64, "b" * 64, Thresholds(gate=0.375, mask=0.625))


def series(count, spacing=None, step=None, notes=(), size=SIZE):
    random = np.random.default_rng(0)
    pixels = random.uniform(1, 100, (count, *size, 3)).astype(np.float32)
    names = tuple(f"slice {number}" for number in range(1, count + 1))
    grid = Grid((count, *size))
    return Series(
        pixels, "scan <b>.zip", names, grid, spacing=spacing, slice_distance=step, notes=tuple(notes)
    )


def prediction(mask, *, gate=0.9, probability=None, head=None, spacing=None, thresholds=THRESHOLDS):
    """What a slice with this mask would get; sure to 70 %, the head everywhere unless told."""
    return Prediction(
        gate_probability=gate,
        passed=gate >= thresholds.gate,
        probability=np.where(mask, 0.7, 0.1).astype(np.float32) if probability is None else probability,
        mask=mask,
        head=np.ones_like(mask) if head is None else head,
        thresholds=thresholds,
        milliseconds={"preprocess": 1.0, "gate": 2.0, "segment": 3.0},
        spacing=spacing,
    )


def result(gates, sides, spacing=None, step=None, notes=(), size=SIZE):
    """A slice for each gate probability, with a square tumour of each side (in pixels)."""
    made = series(len(gates), spacing, step, notes, size)
    head = np.zeros(size, bool)
    head[4:-4, 4:-4] = True
    predictions = []
    for gate, side in zip(gates, sides, strict=True):
        mask = np.zeros(size, bool)
        mask[8 : 8 + side, 10 : 10 + side] = True
        predictions.append(prediction(mask, gate=gate, head=head, spacing=spacing))
    return SeriesResult(made, tuple(predictions))
