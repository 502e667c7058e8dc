"""The directories ("IFDs") of a TIFF file: tag numbers and their values. EXIF blocks look the same.

Only the tags named here are read, and never more values than a picture within the limits can have, so that a
forged count costs nothing. Layout: TIFF 6.0 specification, section 2; BigTIFF is the same with wider fields.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SliceError
from lgg.reading.picture import CUT_SHORT

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
FILL_ORDER, DESCRIPTION, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP = 266, 270, 273, 274, 277, 278
STRIP_BYTES, X_RESOLUTION, Y_RESOLUTION, PLANAR, RESOLUTION_UNIT, PREDICTOR = 279, 282, 283, 284, 296, 317
COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 320, 322, 323, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, DEPTH = 338, 339, 32997

KNOWN = frozenset(
    [
        *(SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, DESCRIPTION),
        *(STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, X_RESOLUTION, Y_RESOLUTION),
        *(PLANAR, RESOLUTION_UNIT, PREDICTOR, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS),
        *(TILE_BYTES, EXTRA_SAMPLES, SAMPLE_FORMAT, DEPTH),
    ]
)

#: numpy letter of each TIFF field type; a rational is two numbers, text is bytes.
TYPES = {
    1: "u1", 2: "S1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "S1", 8: "i2", 9: "i4", 10: "i4",
    11: "f4", 12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8",
}  # fmt: skip
TEXT, RATIONALS = (2, 7), (5, 10)

#: Values of one tag: enough for 16 × 16 tiles of the largest picture in four planes, and for colour maps.
MAX_VALUES = 2**18
MAX_TEXT = 2**16
MAX_ENTRIES = 4096
#: Directories followed; a file that chains more than this holds no single slice.
MAX_DIRECTORIES = 32


@dataclass(frozen=True)
class Directory:
    """One page's tags: numbers as (N,) arrays in native byte order (rationals divided), its byte order
    as numpy writes it ("<" or ">"), and its text."""

    numbers: dict[int, NDArray[np.generic]]
    order: Literal["<", ">"]
    description: str = ""

    def one(self, tag: int, default: int) -> int:
        """The first value of a tag as an int, or the default that the specification gives."""
        values = self.numbers.get(tag)
        return default if values is None or not len(values) else int(values[0])

    def real(self, tag: int) -> float | None:
        """The first value of a tag as a float, or None where it is absent."""
        values = self.numbers.get(tag)
        return None if values is None or not len(values) else float(values[0])

    def all(self, tag: int) -> list[int]:
        """Every value of a tag as ints; empty where it is absent."""
        values = self.numbers.get(tag)
        return [] if values is None else [int(value) for value in values]


@dataclass(frozen=True)
class _Layout:
    """Byte order, and the width in bytes of a file's counts and offsets."""

    order: Literal["<", ">"]
    wide: bool

    def number(self, data: bytes, offset: int, size: int) -> int:
        if offset < 0 or offset + size > len(data):
            raise SliceError(CUT_SHORT)
        return int.from_bytes(data[offset : offset + size], "little" if self.order == "<" else "big")


def read_directories(data: bytes) -> list[Directory]:
    """Read the chain of main directories, one a page, in the file's order.

    Args:
        data: a whole TIFF file, or an EXIF block from its byte-order mark on.

    Raises:
        SliceError: the chain leaves the file, runs in a circle or does not end.
    """
    order: Literal["<", ">"] = "<" if data[:2] == b"II" else ">"
    layout = _Layout(order, wide=data[2:4] in (b"+\0", b"\0+"))
    if layout.wide and layout.number(data, 4, 2) != 8:
        raise SliceError(CUT_SHORT)
    offset = layout.number(data, 8, 8) if layout.wide else layout.number(data, 4, 4)
    seen: set[int] = set()
    directories = []
    while offset:
        if offset in seen:
            raise SliceError(CUT_SHORT)
        if len(seen) == MAX_DIRECTORIES:
            raise SliceError(
                f"the TIFF has over {MAX_DIRECTORIES} pages. Save one slice of it as its own file."
            )
        seen.add(offset)
        directory, offset = _read_directory(data, offset, layout)
        directories.append(directory)
    return directories


def _read_directory(data: bytes, offset: int, layout: _Layout) -> tuple[Directory, int]:
    """The directory at an offset, and the offset of the next one (0: none)."""
    field = 8 if layout.wide else 4
    count_size, entry_size = (8, 20) if layout.wide else (2, 12)
    entries = layout.number(data, offset, count_size)
    if entries > MAX_ENTRIES:
        raise SliceError(CUT_SHORT)
    numbers: dict[int, NDArray[np.generic]] = {}
    description = ""
    for index in range(entries):
        start = offset + count_size + index * entry_size
        tag, kind = layout.number(data, start, 2), layout.number(data, start + 2, 2)
        if tag not in KNOWN or kind not in TYPES:
            continue
        count = layout.number(data, start + 4, field)
        values = _read_values(data, start + 4 + field, kind, count, layout)
        if values.dtype.kind != "S":
            numbers.setdefault(tag, values)
        elif tag == DESCRIPTION and not description:
            description = values.tobytes().split(b"\0")[0].decode("utf-8", "replace")
    end = offset + count_size + entries * entry_size
    return Directory(numbers, layout.order, description), layout.number(data, end, field)


def _read_values(data: bytes, place: int, kind: int, count: int, layout: _Layout) -> NDArray[np.generic]:
    """A tag's values, which stand in its entry where they fit there, else where the entry points."""
    dtype = np.dtype(layout.order + TYPES[kind])
    items = count * (2 if kind in RATIONALS else 1)
    field = 8 if layout.wide else 4
    if items * dtype.itemsize > field:
        place = layout.number(data, place, field)
    # Text is only searched for a few words at its beginning.
    items = min(items, MAX_TEXT) if kind in TEXT else items
    if items > MAX_VALUES or place + items * dtype.itemsize > len(data):
        raise SliceError(CUT_SHORT)
    values = np.frombuffer(data, dtype, items, place)
    values = values.astype(dtype.newbyteorder("="))
    if kind in RATIONALS:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = values[0::2].astype(np.float64) / values[1::2]
    return values


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, in an EXIF block; 1 where there is none or it cannot be read."""
    try:
        return read_directories(exif)[0].one(ORIENTATION, 1)
    except (SliceError, IndexError, ValueError, OverflowError):
        return 1
