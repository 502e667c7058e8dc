"""TIFF: tifffile reads the tags and decodes the strips and tiles; what they declare is checked here.

tifffile fills in data that is missing and logs what it dislikes. For a slice from a stranger the opposite is
wanted: the few layouts that MRI tools write, complete, and an error for all else.
"""

import io
import json
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from operator import index

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage

from lgg.errors import SliceError
from lgg.reading.picture import CUT_SHORT, MAX_BYTES, MAX_SIDE, Picture, check_size, upright
from lgg.reading.spacing import IMAGEJ_UNITS, MM_PER_INCH, believable, plausible
from lgg.reading.tags import STACK, walk_tags

PHOTOMETRIC, ORIENTATION, COLOUR_MAP = 262, 274, 320
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
#: Tags without which the same bytes would be other pixels; tifffile drops one that points out of the file.
LAYOUT = frozenset(
    (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339)
)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE = range(4)
UNCOMPRESSED, LZW, DEFLATE, OLD_DEFLATE, PACKBITS, ZSTANDARD = 1, 5, 8, 32946, 32773, 50000
UNSIGNED, UNDEFINED = 1, 4
NO_PREDICTOR, HORIZONTAL, FLOATING = 1, 2, 3
#: Bits of the SubfileType tag that mark a thumbnail and a transparency mask.
NOT_A_PAGE = 0b101

_reading: ContextVar[bool] = ContextVar("_reading", default=False)
# Only what tifffile logs about our files is dropped, only in the thread that reads one.
logging.getLogger("tifffile").addFilter(lambda _: not _reading.get())


def decode_tiff(data: bytes) -> Picture:
    """Decode a TIFF file of one page.

    Integers of 1 to 16, 32 and 64 bits and floats of 16 to 64; one or three channels, interleaved or planar,
    with or without transparency; colour tables; strips or tiles; no compression, LZW, deflate, PackBits or
    Zstandard; either byte order, BigTIFF; the orientation tag is applied.

    Raises:
        SliceError: another layout (named), several pages, or missing data.
    """
    return _decode(data, None)[0]


def decode_stack(data: bytes, pages: int, check: Callable[[int, int, int], None]) -> list[Picture]:
    """Decode a TIFF file whose pages are the slices of a series, in the file's order.

    Args:
        pages: at most so many.
        check: called with the number of pages and the height and width of each, before any is decoded; it
            raises if that is too much.

    Raises:
        SliceError: as `decode_tiff`, for any of the pages; or channels that are pages of their own.
    """
    return _decode(data, check, pages)


def _decode(data: bytes, check: Callable[[int, int, int], None] | None, most: int = 1) -> list[Picture]:
    codes = walk_tags(data, most)
    token = _reading.set(True)
    try:
        with io.BytesIO(data) as stream, TiffFile(stream, is_scanimage=False) as file:
            pages = _pages(file, codes)
            if check is None and len(pages) > 1:
                raise SliceError(STACK)
            imagej = file.imagej_metadata or {}
            for page in pages:
                height, width = index(page.imagelength), index(page.imagewidth)
                check_size(height, width)
                if check is not None:
                    check(len(pages), height, width)
            _refuse_stack(pages, imagej)
            return [_picture(data, page, imagej) for page in pages]
    finally:
        _reading.reset(token)


def _picture(data: bytes, page: TiffPage, imagej: dict[str, object]) -> Picture:
    _check_samples(page)
    channels = _channels(page)
    _check_segments(page)
    picture = replace(_assemble(data, page, channels), spacing=_spacing(page, imagej))
    return upright(picture, page.tags.valueof(ORIENTATION, 1))


def _pages(file: TiffFile, codes: list[frozenset[int]]) -> list[TiffPage]:
    """The pages that are neither thumbnails nor masks of others."""
    pages = []
    for number, present in enumerate(codes):
        page = file.pages[number]
        if not isinstance(page, TiffPage) or any(code not in page.tags for code in present & LAYOUT):
            raise SliceError(CUT_SHORT)
        pages.append(page)
    real = [page for page in pages if not page.subfiletype & NOT_A_PAGE] or pages[:1]
    if not real:
        raise SliceError(CUT_SHORT)
    return real


def _refuse_stack(pages: list[TiffPage], imagej: dict[str, object]) -> None:
    """Some programs put a whole stack behind one page and tell so in the description only."""
    page, images, channels = pages[0], imagej.get("images", 1), imagej.get("channels", 1)
    with suppress(ValueError, TypeError, KeyError, RecursionError):  # a text that only looks like a shape
        if page.shaped_description:  # tifffile's own
            images = math.prod(json.loads(page.shaped_description)["shape"]) // math.prod(page.shape)
    deep = any(one.imagedepth > 1 or one.tiledepth > 1 for one in pages)
    if deep or (isinstance(images, int | float) and images > len(pages)):
        raise SliceError(STACK)
    # tifffile calls any first axis channels, so only three, or some of each slice, are taken for sequences.
    sequences = isinstance(channels, int | float) and (channels == 3 or 1 < channels < len(pages))
    if len(pages) > 1 and sequences:
        raise SliceError("its channels are pages of their own. Save a slice as one page of three channels.")


def _check_samples(page: TiffPage) -> None:
    """Refuse the numeric types, compressions and predictors that are not read here."""
    bits, dtype = page.bitspersample, page.dtype
    if not isinstance(bits, int):
        raise SliceError("its channels have different numeric types. Save all of them with the same one.")
    if page.sampleformat in (5, 6):
        raise SliceError("its pixels are complex numbers. Save their magnitude.")
    whole = dtype is not None and bits == 8 * dtype.itemsize
    if dtype is None or not (whole or 1 <= bits < 16):
        raise SliceError(
            f"its values have {bits} bits, which is not read here. Save it with 8, 16 or 32 bits."
        )
    if page.compression not in (UNCOMPRESSED, LZW, DEFLATE, OLD_DEFLATE, PACKBITS, ZSTANDARD):
        raise SliceError(
            "its compression is not read here. Save the TIFF uncompressed, or with LZW or deflate."
        )
    predictable = whole and page.compression not in (UNCOMPRESSED, PACKBITS)
    known = {HORIZONTAL: predictable, FLOATING: predictable and dtype.kind == "f", NO_PREDICTOR: True}
    if not known.get(page.predictor):
        raise SliceError("its compression predictor is not read here. Save the TIFF uncompressed.")


def _channels(page: TiffPage) -> int:
    """How many of the samples of a pixel are channels, 1 or 3; the rest is transparency."""
    samples, photometric = page.samplesperpixel, page.tags.valueof(PHOTOMETRIC, BLACK_IS_ZERO)
    possible = {WHITE_IS_ZERO: (1, 3), BLACK_IS_ZERO: (1, 3), RGB: (3,), PALETTE: (1,)}.get(photometric)
    if possible is None:
        raise SliceError(
            "its colours are neither grey, RGB nor a palette (CMYK, perhaps). Save it as RGB or grey."
        )
    alpha = samples in (2, 4) and (
        bool(set(page.extrasamples[-1:]) & {1, 2}) or (samples, photometric) == (4, RGB)
    )
    if samples - alpha not in possible:
        raise SliceError(
            f"it has {samples} channels. Save the slice with one (FLAIR) or three "
            "(pre-contrast T1, FLAIR, post-contrast T1)."
        )
    return samples - alpha


def _check_segments(page: TiffPage) -> None:
    """Refuse strips or tiles that are too large, too few or longer than can be, before one is decoded."""
    rows, columns = page.rowsperstrip, page.imagewidth
    if page.is_tiled:
        rows, columns = page.tilelength, page.tilewidth
    if not (0 < rows <= MAX_SIDE and 0 < columns <= MAX_SIDE and page.planarconfig in (1, 2)):
        raise SliceError(CUT_SHORT)
    bits = rows * columns * page.bitspersample * (page.samplesperpixel if page.planarconfig == 1 else 1)
    if bits > 8 * MAX_BYTES:  # of the picture as a whole, only float32 is kept
        raise SliceError(
            f"a strip or tile of it takes over {MAX_BYTES >> 20} MiB unpacked. "
            "Save the slice with 32 or 16 bits a value, or in smaller strips."
        )
    count = math.prod(page.chunked)
    packed = page.databytecounts[:count]
    if min(len(page.dataoffsets), len(packed)) < count or sum(packed) > count * bits / 4 + 2**16:
        raise SliceError(CUT_SHORT)


def _colour_table(page: TiffPage) -> NDArray[np.float32]:
    """(2 ** bits, 3) float32 colours, 0 to 65535."""
    colours = np.asarray(page.tags.valueof(COLOUR_MAP))
    if page.bitspersample > 16 or colours.shape != (3, 2**page.bitspersample):
        raise SliceError("its colour table is missing or damaged. Save it as RGB or grey.")
    return np.ascontiguousarray(colours.T, np.float32)


def _assemble(data: bytes, page: TiffPage, channels: int) -> Picture:
    """Decode every strip or tile and put it in its place, as (H, W, C) float32; no pixel is left unset."""
    height, width = page.imagelength, page.imagewidth
    photometric = page.tags.valueof(PHOTOMETRIC, BLACK_IS_ZERO)
    if photometric in (WHITE_IS_ZERO, PALETTE) and page.sampleformat not in (UNSIGNED, UNDEFINED):
        raise SliceError("its colours are no plain grey, and its values are signed. Save it as RGB or grey.")
    colours = _colour_table(page) if photometric == PALETTE else None
    pixels = np.empty((height, width, channels if colours is None else 3), np.float32)
    for number in range(math.prod(page.chunked)):
        start, length = page.dataoffsets[number], page.databytecounts[number]
        if start <= 0 or length <= 0 or start + length > len(data):
            raise SliceError(CUT_SHORT)
        samples, (plane, _, top, left, _), shape = page.decode(data[start : start + length], number)
        if samples is None or samples.shape != shape:  # a short tile, which tifffile would fill up
            raise SliceError(CUT_SHORT)
        if plane >= channels:
            break  # transparency, in planes of its own
        samples = samples[0, : height - top, : width - left, :channels]
        place = pixels[top : top + samples.shape[0], left : left + samples.shape[1]]
        with np.errstate(over="ignore", invalid="ignore"):  # becomes infinite, which the caller refuses
            if colours is not None:
                place[:] = colours[samples[..., 0].astype(np.intp)]
            else:
                place[..., plane : plane + samples.shape[2]] = samples
    if photometric == WHITE_IS_ZERO:
        np.subtract(np.float32(2.0**page.bitspersample - 1), pixels, out=pixels)
    return Picture(pixels, palette=colours is not None)


def _spacing(page: TiffPage, imagej: dict[str, object]) -> tuple[float, float] | None:
    row, column = _density(page, Y_RESOLUTION), _density(page, X_RESOLUTION)
    if imagej:
        unit = IMAGEJ_UNITS.get(str(imagej.get("unit")))
        return plausible(row, column, unit) if unit else None
    # Without the tag the unit would be the inch by default, but then nobody has stated it.
    unit = {2: MM_PER_INCH, 3: 10.0}.get(page.tags.valueof(RESOLUTION_UNIT, 1))
    return believable(row, column, unit) if unit else None


def _density(page: TiffPage, code: int) -> float:
    """Pixels a unit; NaN where the tag is missing or no fraction."""
    value = page.tags.valueof(code, ())
    return value[0] / value[1] if len(value) == 2 and value[1] else math.nan
