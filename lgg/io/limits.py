"""What holds before and around every decoder: names, sizes, counts of tags, and when a spacing is believed.

Whatever a stranger's bytes provoke in a decoder becomes an error for people. Nothing global is changed (no
Pillow limit, no warning filter), so any number of threads may read at once.

Spacing: TIFF and PNG have a field for the resolution, but most programs fill it with a default (72 or 96 dots
an inch) that says nothing about the patient. A spacing that is wrong makes every reported area wrong, and one
that is missing only leaves the area in pixels; so a stated resolution counts only when all of this holds:

1. its unit is stated: centimetre, inch or (PNG) metre, or the unit in ImageJ's own header;
2. both spacings lie within 0.1 to 10 mm, where MRI pixels do;
3. unless ImageJ stated the unit, neither axis looks like a default: not exactly one dot a unit, not a whole
   number of dots an inch (72, 96, 150, 300 …: printers and screens; 1 mm is 25.4), and not close to 72 or 96.
"""

import math
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError, SliceError

P = ParamSpec("P")
T = TypeVar("T")

#: Pixels a side. A brain slice has 128 to 1024; more is a scanned film or an attack.
MAX_SIDE = 4096
#: Pixels a side. Below this there is no anatomy left to segment.
MIN_SIDE = 32
#: Bytes of a file, and of one TIFF strip or tile unpacked: 256 MiB, which is 4096 × 4096 pixels × 4 channels
#: × 4 bytes, the largest picture that `MAX_SIDE` allows in 32 bits.
MAX_BYTES = MAX_SIDE * MAX_SIDE * 4 * 4
#: What a reader answers about a file whose end, or whose middle, is missing.
CUT_SHORT = "the file is cut short or damaged. Copy or download it again, or export the slice once more."
#: Slices of a series, and voxels: 256 slices of 512 × 512. As float32 in three channels these are 768 MiB.
MAX_SLICES, MAX_VOXELS = 512, 2**26

#: Plausible distance of MRI pixel centres, in millimetres.
SMALLEST, LARGEST = 0.1, 10.0
MM_PER_INCH, MM_PER_METRE = 25.4, 1000.0
#: Slack in dots an inch: PNG holds whole dots a metre, which turns 72 into 72.009.
WHOLE_DPI_SLACK = 0.02
SCREEN_DPI, SCREEN_SLACK = (72.0, 96.0), 0.5

#: Pages in a TIFF's chain, thumbnails among them, and tags a page. A slice has about one and twenty.
MAX_PAGES, MAX_TAGS = 32, 1024
#: Values in all tags together: enough for strips of one row and for tiles of 16 × 16 pixels. A stack may have
#: four times as many: 512 pages of 512 strips.
MAX_VALUES = 2**19
#: XMP, IPTC, Photoshop and ICC blocks may be longer: tifffile reads them only when asked.
OPAQUE = frozenset((700, 33723, 34377, 34675, 37724))
#: Tags by which tifffile knows MetaMorph, Zeiss and Hamamatsu files, and reads their pixels by other rules.
MICROSCOPES = frozenset((33628, 34412, 65420))
IMAGEJ_LENGTHS, IMAGEJ_BLOCK = 50838, 50839
STACK = (
    "the TIFF holds several images, and one slice is read here. Save one slice as its own file; "
    "if they are the three sequences of one slice, save them as the three channels of one image."
)


def guarded(decode: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a decoder with its arguments.

    Raises:
        SliceError: whatever it raises. A damaged file is the file's fault, not the user's.
    """
    try:
        return decode(*args, **kwargs)
    except SliceError:
        raise
    except MemoryError as error:
        raise SliceError("the image needs more memory than there is. Export it at its own size.") from error
    except Exception as error:
        raise SliceError(CUT_SHORT) from error


def check_finite(pixels: NDArray[np.float32]) -> None:
    """Refuse pixels that are no numbers.

    Raises:
        SliceError: one is NaN or infinite.
    """
    if not np.isfinite(pixels).all():
        raise SliceError(
            "some pixels are NaN, infinite or beyond what 32-bit floats hold. Replace them and save again."
        )


@contextmanager
def named(name: str) -> Iterator[None]:
    """Put a file's name before whatever is said about it.

    Raises:
        SliceError: the same error with the name; no path of the server in its cause.
    """
    try:
        yield
    except SliceError as error:
        raise type(error)(f"{name}: {error}") from error.__cause__


def check_size(height: int, width: int) -> None:
    """Refuse a declared size, in pixels, before a decoder reserves memory for it.

    Raises:
        SliceError: a side is below `MIN_SIDE` or above `MAX_SIDE`.
    """
    if min(height, width) < MIN_SIDE:
        raise SliceError(
            f"the image is {width} × {height} pixels, and a slice has at least {MIN_SIDE} a side. "
            "Give the slice itself, not a thumbnail."
        )
    if max(height, width) > MAX_SIDE:
        raise SliceError(
            f"the image is {width} × {height} pixels, and at most {MAX_SIDE} a side can be read. "
            "Export the slice at its own size."
        )


def check_volume(slices: int, height: int, width: int) -> None:
    """Refuse a declared size before memory is reserved for it.

    Raises:
        SliceError: a side of a slice is beyond the limits.
        SeriesError: there are too many slices or voxels.
    """
    check_size(height, width)
    if slices > MAX_SLICES:
        raise SeriesError(
            f"the series has {slices} slices, and at most {MAX_SLICES} can be read. Give a part of it."
        )
    if slices * height * width > MAX_VOXELS:
        raise SeriesError(
            f"the series has {slices} slices of {width} × {height} pixels, "
            f"and at most {MAX_VOXELS >> 20} million pixels can be read. Give a part of it."
        )


def walk_tags(data: bytes, pages: int) -> list[frozenset[int]]:
    """The tag codes of every page of a TIFF or BigTIFF, in the file's order, before tifffile sees them.

    Args:
        pages: how many slices the file may hold; thumbnails and masks come on top.

    Raises:
        SliceError: the chain runs in a circle or beyond the limits, or the file is a microscope's.
        struct.error: the chain leaves the file.
    """
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    kinds = ("Q", "HHQQ", "Q") if big else ("H", "HHII", "I")
    number, entry, link = (struct.Struct(order + kind) for kind in kinds)
    (offset,) = link.unpack_from(data, 8 if big else 4)
    codes: dict[int, frozenset[int]] = {}
    lengths: Counter[int] = Counter()
    while offset:
        if offset in codes:
            raise SliceError(CUT_SHORT)
        if len(codes) == pages - 1 + MAX_PAGES:
            raise SliceError(STACK)
        (count,) = number.unpack_from(data, offset)
        if count > MAX_TAGS:
            raise SliceError(CUT_SHORT)
        start = offset + number.size
        end = start + count * entry.size
        tags = list(entry.iter_unpack(data[start:end]))
        for code, _, length, _ in tags:
            lengths[code] += length
        codes[offset] = frozenset(code for code, *_ in tags)
        (offset,) = link.unpack_from(data, end)
    if lengths.keys() & MICROSCOPES:
        raise SliceError("it is a microscope's TIFF, which is not read here. Save the slice as a plain TIFF.")
    # tifffile cuts ImageJ's block into as many pieces as there are lengths, each up to the block's own.
    pieces = lengths[IMAGEJ_LENGTHS] * lengths[IMAGEJ_BLOCK]
    values = sum(lengths[code] for code in lengths.keys() - OPAQUE)
    if pieces > MAX_BYTES or values > MAX_VALUES * min(pages, 4):
        raise SliceError(CUT_SHORT)
    return list(codes.values())


def plausible_spacing(spacing: tuple[float, float] | None) -> tuple[float, float] | None:
    """(row, column) spacing in millimetres by rule 2 alone, for one that a scanner or a person stated."""
    return spacing if spacing and all(SMALLEST <= distance <= LARGEST for distance in spacing) else None


def spacing_from_densities(
    row: float, column: float, unit_mm: float, certain: bool = False
) -> tuple[float, float] | None:
    """(row, column) spacing in millimetres by all three rules.

    Args:
        row, column: pixels a unit, from row to row and from column to column; NaN where they are missing.
        unit_mm: the unit in millimetres.
        certain: the unit is no default (ImageJ stated it), so rule 3 does not count.
    """
    densities = (row, column)
    if not all(math.isfinite(density) and density > 0 for density in densities):
        return None
    if not certain and any(_is_default(density, unit_mm) for density in densities):
        return None
    return plausible_spacing((unit_mm / row, unit_mm / column))


def _is_default(density: float, unit_mm: float) -> bool:
    dpi = density * MM_PER_INCH / unit_mm
    whole = abs(dpi - round(dpi)) <= WHOLE_DPI_SLACK
    return density == 1 or whole or any(abs(dpi - screen) <= SCREEN_SLACK for screen in SCREEN_DPI)
