"""A series of pictures: one file a slice, or one TIFF of many pages, in the order of their names or pages."""

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from lgg.errors import SeriesError
from lgg.reading import read_slice, read_stack
from lgg.reading.kinds import TIFF, kind_of
from lgg.series.archive import File
from lgg.series.grid import Grid
from lgg.series.series import MAX_SLICES, Series, check_content, check_volume
from lgg.slice import Slice


def read_pictures(files: Sequence[File], source: str) -> Series:
    """Read slices that are TIFF, PNG or JPEG files, in the order given; or one TIFF with a page a slice.

    Ground-truth masks beside the slices, `…_mask`, are left out.

    Raises:
        SliceError, SeriesError: a file cannot be read (it is named), the sizes differ, or there is too much.
    """
    kept = [file for file in files if not PurePath(file.name).stem.lower().endswith("_mask")] or list(files)
    notes = []
    if len(kept) < len(files):
        notes.append(f"Files whose names end with “_mask” were left out: {len(files) - len(kept)}.")
    if len(kept) == 1 and kind_of(kept[0].data) == TIFF:
        slices = read_stack(kept[0].data, kept[0].name, MAX_SLICES + 1, check_volume)
        _check_sizes(slices)
    else:
        slices = _read(kept)
    pixels = np.stack([one.pixels for one in slices])
    check_content(pixels, source)
    spacings = {one.spacing for one in slices}
    return Series(
        pixels,
        source,
        tuple(one.source for one in slices),
        Grid(pixels.shape[:3]),
        flair_only=all(one.flair_only for one in slices),
        spacing=spacings.pop() if len(spacings) == 1 else None,
        notes=tuple(notes),
    )


def _read(files: Sequence[File]) -> list[Slice]:
    slices: list[Slice] = []
    for file in files:
        slices.append(read_slice(file.data, file.name, allow_constant=True))
        # At once, so that no more is kept than one series may take.
        check_volume(len(files), *slices[0].size)
        _check_sizes((slices[0], slices[-1]))
    return slices


def _check_sizes(slices: Sequence[Slice]) -> None:
    first = slices[0]
    for one in slices:
        if one.size != first.size:
            raise SeriesError(
                f"{one.source} is {one.size[1]} × {one.size[0]} pixels, {first.source} is "
                f"{first.size[1]} × {first.size[0]}. Upload the slices of one series."
            )
