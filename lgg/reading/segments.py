"""The strips and tiles of a TIFF page: where each stands in the picture, and its samples.

Decompression is imagecodecs' and zlib's, always into a bounded buffer.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lgg.errors import SliceError
from lgg.reading.picture import CUT_SHORT

COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 50000: "Zstandard"}
NO_PREDICTOR, HORIZONTAL, FLOATING = 1, 2, 3

Packed = bytes | bytearray


@dataclass(frozen=True)
class Layout:
    """A page's declared layout, after every check: what is stored, and how it is cut into segments.

    Sizes are in pixels; `stored` counts the samples that stand together in a segment; `wanted` is how many
    channels leave the reader, before a colour table makes three of one.
    """

    height: int
    width: int
    wanted: int
    stored: int
    planes: int
    bits: int
    dtype: np.dtype
    order: Literal["<", ">"]
    compression: int
    predictor: int
    reversed_bits: bool
    segment_height: int
    segment_width: int
    tiled: bool
    offsets: NDArray[np.generic]
    byte_counts: NDArray[np.generic]

    @property
    def row_bytes(self) -> int:
        return math.ceil(self.segment_width * self.stored * self.bits / 8)


def places(layout: Layout) -> Iterator[tuple[int, int, int]]:
    """Plane, top row and left column of every segment, in the file's order."""
    for plane in range(layout.planes):
        for top in range(0, layout.height, layout.segment_height):
            for left in range(0, layout.width, layout.segment_width):
                yield plane, top, left


def segment(data: bytes, layout: Layout, index: int) -> NDArray[np.generic]:
    """One decoded strip or tile: (rows, columns, stored samples) in the layout's dtype.

    A strip at the bottom has only the rows that are left, though some programs fill it up.
    """
    if index >= len(layout.offsets) or index >= len(layout.byte_counts):
        raise SliceError(CUT_SHORT)
    start, length = int(layout.offsets[index]), int(layout.byte_counts[index])
    if start < 0 or length < 0 or start + length > len(data):
        raise SliceError(CUT_SHORT)
    strips = math.ceil(layout.height / layout.segment_height)
    rows = layout.segment_height
    if not layout.tiled:
        rows = min(rows, layout.height - index % strips * layout.segment_height)
    packed: Packed = data[start : start + length]
    if layout.reversed_bits:
        packed = imagecodecs.bitorder_decode(packed)
    unpacked = _decompress(packed, layout.compression, layout.segment_height * layout.row_bytes)
    if len(unpacked) < rows * layout.row_bytes:
        raise SliceError(CUT_SHORT)
    return _unpredict(unpacked, (rows, layout.segment_width, layout.stored), layout)


def _decompress(packed: Packed, compression: int, limit: int) -> Packed:
    """Unpack at most `limit` bytes; what a segment holds beyond its declared size is not looked at."""
    match COMPRESSIONS[compression]:
        case "LZW":
            return imagecodecs.lzw_decode(packed, out=limit)
        case "deflate":
            return zlib.decompressobj().decompress(packed, limit)
        case "PackBits":
            return imagecodecs.packbits_decode(packed, out=limit)
        case "Zstandard":
            return imagecodecs.zstd_decode(packed, out=limit)
    return packed[:limit]


def _unpredict(unpacked: Packed, shape: tuple[int, int, int], layout: Layout) -> NDArray[np.generic]:
    """Turn a segment's bytes into samples, undoing the differences that help compression."""
    count = math.prod(shape)
    if layout.bits != 8 * layout.dtype.itemsize:
        row = shape[1] * shape[2]
        return imagecodecs.packints_decode(
            unpacked[: shape[0] * layout.row_bytes], layout.dtype, layout.bits, runlen=row
        ).reshape(shape)
    if (
        layout.predictor == FLOATING
    ):  # its bytes are shuffled, so their order in memory is the codec's business
        shuffled = np.frombuffer(unpacked, layout.dtype, count).reshape(shape)
        return imagecodecs.floatpred_decode(shuffled, axis=-2)
    samples = np.frombuffer(unpacked, layout.dtype.newbyteorder(layout.order), count).reshape(shape)
    if layout.predictor == HORIZONTAL:
        # Differences are of the bit patterns, whatever they mean, and wrap around.
        whole = np.dtype(f"u{layout.dtype.itemsize}")
        patterns = samples.astype(layout.dtype).view(whole)
        return np.cumsum(patterns, axis=1, dtype=whole).view(layout.dtype)
    return samples
