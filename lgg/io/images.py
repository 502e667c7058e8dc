"""TIFF, PNG and JPEG: what a file declares is checked here, then tifffile, Pillow or imagecodecs decode it.

TIFF: tifffile trusts the counts of tags, loads long ones whole, fills in data that is missing, and logs what
it dislikes. For a slice from a stranger the opposite is wanted: the few layouts that MRI tools write,
complete, and an error for all else. Strips are decoded one by one, not by `page.asarray()`, which fills up
what is missing and holds a whole float64 picture beside its float32 copy.

PNG and JPEG: the decoders get a file that is built here from the parts that make pixels, so that nothing in
the metadata is ever unpacked and no gamma, background or transparency changes a value. Pillow would cut PNG
colours of 16 bits to 8: imagecodecs reads those. Its `png_decode` (2026.3.6) releases `None` once too often
whenever it raises, which ends Python 3.11 after some thousands of damaged files: hence the check of the
compressed pixels, which leaves it nothing to raise about.
"""

import io
import json
import logging
import math
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from operator import index

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from tifffile import COMPRESSION, PHOTOMETRIC, PREDICTOR, SAMPLEFORMAT, TiffFile, TiffPage

from lgg.errors import SliceError
from lgg.io.limits import (
    CUT_SHORT,
    MAX_BYTES,
    MAX_SIDE,
    MAX_SLICES,
    MM_PER_INCH,
    MM_PER_METRE,
    STACK,
    check_finite,
    check_size,
    check_volume,
    spacing_from_densities,
    walk_tags,
)
from lgg.io.orientation import exif_orientation, upright

#: Millimetres in the units that ImageJ writes; "pixel" and whatever else is not a length.
IMAGEJ_UNITS = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "inch": MM_PER_INCH} | dict.fromkeys(
    ("micron", "um", "µm", "\\u00B5m"),  # ImageJ escapes the micro sign
    0.001,
)
#: Tags without which the same bytes would be other pixels; tifffile drops one that points out of the file.
LAYOUT = frozenset(
    (256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339)
)
#: Bits of the SubfileType tag that mark a thumbnail and a transparency mask.
NOT_A_PAGE = 0b101
#: White is zero, black is zero, RGB, palette → how many channels each may have.
POSSIBLE_CHANNELS: dict[int, tuple[int, ...]] = {0: (1, 3), 1: (1, 3), 2: (3,), 3: (1,)}
#: Lossless and simple, so that nothing decodes to more than its strip declares.
PREDICTABLE = (COMPRESSION.LZW, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE, COMPRESSION.ZSTD)
READ_COMPRESSIONS = (COMPRESSION.NONE, COMPRESSION.PACKBITS, *PREDICTABLE)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CHUNKS = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"pHYs", b"eXIf", b"acTL"))
#: The colour types of PNG, and the values of a pixel in each.
GREY, COLOURS, INDEXED, GREY_ALPHA, COLOURS_ALPHA = 0, 2, 3, 4, 6
PNG_SAMPLES = {GREY: 1, COLOURS: 3, INDEXED: 1, GREY_ALPHA: 2, COLOURS_ALPHA: 4}
LAST_FILTER = 4
#: Chunks of a file; writers put the pixels into one, or into pieces of some KiB.
MAX_CHUNKS = 100_000

#: A JPEG segment's marker, which may be padded, and its length, which counts itself.
SEGMENT = re.compile(rb"\xff+([\x01-\xfe])(..)", re.DOTALL)
SCAN, EXIF_SEGMENT, COMMENT = 0xDA, 0xE1, 0xFE
#: Start-of-frame markers, which hold the size: C0 to CF, but for tables (C4, CC) and an extension (C8).
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Those of lossless and hierarchical JPEG and of JPEG-LS, which Pillow does not read.
UNREAD = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7))
#: JFIF's and Adobe's segments say how colours are stored; the other application segments are metadata.
METADATA = frozenset((*range(0xE0, 0xF0), COMMENT)) - {0xE0, 0xEE}
#: A progressive JPEG has about ten scans; each costs a pass over the whole picture.
MAX_SEGMENTS, MAX_SCANS = 10_000, 100

_reading: ContextVar[bool] = ContextVar("_reading", default=False)
# Only what tifffile logs about our files is dropped, only in the thread that reads one.
logging.getLogger("tifffile").addFilter(lambda _: not _reading.get())


@dataclass(frozen=True)
class Picture:
    """One decoded picture, upright, before it becomes a slice or a mask.

    Attributes:
        pixels: (H, W, 1) or (H, W, 3) float32, finite; transparency is already dropped.
        spacing: (row, column) millimetres, or None where the file does not state it.
        palette: whether the colours came from a colour table.
        lossy: whether the compression changed pixel values.
    """

    pixels: NDArray[np.float32]
    spacing: tuple[float, float] | None = None
    palette: bool = False
    lossy: bool = False

    def __post_init__(self) -> None:
        """Raises SliceError where a pixel is NaN or infinite."""
        check_finite(self.pixels)


def decode_tiff(data: bytes) -> Picture:
    """Decode a TIFF file of one page.

    Integers of 1 to 16, 32 and 64 bits and floats of 16 to 64; one or three channels, interleaved or planar,
    with or without transparency; colour tables; strips or tiles; no compression, LZW, deflate, PackBits or
    Zstandard; either byte order, BigTIFF; the orientation tag is applied.

    Raises:
        SliceError: another layout (named), several pages, or missing data.
    """
    return _decode_pages(data, 1)[0]


def decode_stack(data: bytes) -> list[Picture]:
    """Decode a TIFF file whose pages are the slices of a series, in the file's order.

    Raises:
        SliceError: as `decode_tiff`, for any of the pages; or channels that are pages of their own.
        SeriesError: there are too many pages or pixels; told before any is decoded.
    """
    return _decode_pages(data, MAX_SLICES + 1)


def decode_png(data: bytes) -> Picture:
    """Decode a PNG of 1 to 16 bits: grey, RGB or palette, with or without transparency (dropped).

    Raises:
        SliceError: it is animated, interlaced with 16 bits a colour, its size is beyond the limits, or data
            is missing or damaged.
        struct.error, KeyError: its header is damaged.
    """
    chunks = _png_chunks(data)
    width, height, bits, colour, *methods = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    check_size(height, width)
    if int.from_bytes(chunks[b"acTL"][:4], "big") > 1:
        raise SliceError("this is an animated PNG. Save one picture of it as its own PNG.")
    interlaced, row_bytes = methods == [0, 0, 1], 1 + math.ceil(width * PNG_SAMPLES[colour] * bits / 8)
    if not interlaced and (any(methods) or not _complete(chunks[b"IDAT"], height, row_bytes)):
        raise SliceError(CUT_SHORT)
    if colour == INDEXED and (not chunks[b"PLTE"] or len(chunks[b"PLTE"]) % 3):
        raise SliceError("its colour table is missing or damaged. Save it as RGB or grey.")
    if bits == 16 and colour != GREY:
        if interlaced:
            raise SliceError("this is an interlaced PNG of 16 bits. Save it without interlacing.")
        pixels = imagecodecs.png_decode(_lean_png(chunks, b"IHDR", b"IDAT", b"IEND"))
    else:
        with PngImageFile(io.BytesIO(_lean_png(chunks, b"IHDR", b"PLTE", b"IDAT", b"IEND"))) as file:
            mode = {"1": "L", "P": "RGB"}.get(file.mode)
            pixels = np.asarray(file.convert(mode) if mode else file)
    channels = 1 if colour in (GREY, GREY_ALPHA) else 3
    image = pixels.reshape(height, width, -1)[..., :channels].astype(np.float32)
    turned = upright(image, _png_spacing(chunks[b"pHYs"]), exif_orientation(chunks[b"eXIf"]))
    return Picture(*turned, palette=colour == INDEXED)


def decode_jpeg(data: bytes) -> Picture:
    """Decode a grey or RGB JPEG of 8 bits, turned upright by its EXIF orientation.

    Its density field is not read: cameras and screenshots fill it, scanners do not write JPEG.

    Raises:
        SliceError: CMYK, 12 bits, lossless, a size beyond the limits, or data is missing or damaged.
    """
    lean, exif = _without_metadata(data)
    with JpegImageFile(io.BytesIO(lean)) as image:  # not Image.open, whose size limit is the host's
        pixels = np.asarray(image, np.float32)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return Picture(*upright(pixels, None, exif_orientation(exif)), lossy=True)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Marker, start and content of each segment of a JPEG, up to the first scan.

    Raises:
        SliceError: there is no further segment, or there are too many.
    """
    position = 2
    for _ in range(MAX_SEGMENTS):
        if not (segment := SEGMENT.match(data, position)):
            break
        position = segment.start(2) + int.from_bytes(segment[2], "big")
        yield segment[1][0], segment.start(1) - 1, data[segment.end() : position]  # start without the padding
    raise SliceError(CUT_SHORT)


def _decode_pages(data: bytes, most: int) -> list[Picture]:
    codes = walk_tags(data, most)
    token = _reading.set(True)
    try:
        with io.BytesIO(data) as stream, TiffFile(stream, is_scanimage=False) as file:
            pages = _pages(file, codes)
            if most == 1 and len(pages) > 1:
                raise SliceError(STACK)
            imagej = file.imagej_metadata or {}
            for page in pages:
                height, width = index(page.imagelength), index(page.imagewidth)
                check_volume(len(pages), height, width)
            _refuse_stack(pages, imagej)
            return [_picture(data, page, imagej) for page in pages]
    finally:
        _reading.reset(token)


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
    deep = any(page.imagedepth > 1 or page.tiledepth > 1 for page in pages)
    if deep or (isinstance(images, int | float) and images > len(pages)):
        raise SliceError(STACK)
    # tifffile calls any first axis channels, so only three, or some of each slice, are taken for sequences.
    sequences = isinstance(channels, int | float) and (channels == 3 or 1 < channels < len(pages))
    if len(pages) > 1 and sequences:
        raise SliceError("its channels are pages of their own. Save a slice as one page of three channels.")


def _picture(data: bytes, page: TiffPage, imagej: dict[str, object]) -> Picture:
    _check_samples(page)
    channels = _channels(page)
    _check_segments(page)
    pixels = _assemble(data, page, channels)
    turned = upright(pixels, _tiff_spacing(page, imagej), page.tags.valueof("Orientation", 1))
    return Picture(*turned, palette=_photometric(page) == PHOTOMETRIC.PALETTE)


def _check_samples(page: TiffPage) -> None:
    """Refuse the numeric types, compressions and predictors that are not read here."""
    bits, dtype = page.bitspersample, page.dtype
    if not isinstance(bits, int):
        raise SliceError("its channels have different numeric types. Save all of them with the same one.")
    if page.sampleformat in (SAMPLEFORMAT.COMPLEXINT, SAMPLEFORMAT.COMPLEXIEEEFP):
        raise SliceError("its pixels are complex numbers. Save their magnitude.")
    whole = dtype is not None and bits == 8 * dtype.itemsize
    if dtype is None or not (whole or 1 <= bits < 16):
        raise SliceError(
            f"its values have {bits} bits, which is not read here. Save it with 8, 16 or 32 bits."
        )
    if page.compression not in READ_COMPRESSIONS:
        raise SliceError(
            "its compression is not read here. Save the TIFF uncompressed, or with LZW or deflate."
        )
    predictors = {PREDICTOR.NONE}
    if whole and page.compression in PREDICTABLE:
        predictors |= {PREDICTOR.HORIZONTAL} | ({PREDICTOR.FLOATINGPOINT} if dtype.kind == "f" else set())
    if page.predictor not in predictors:
        raise SliceError("its compression predictor is not read here. Save the TIFF uncompressed.")


def _photometric(page: TiffPage) -> int:
    return page.tags.valueof("PhotometricInterpretation", PHOTOMETRIC.MINISBLACK)


def _channels(page: TiffPage) -> int:
    """How many of the samples of a pixel are channels, 1 or 3; the rest is transparency."""
    samples, photometric = page.samplesperpixel, _photometric(page)
    possible = POSSIBLE_CHANNELS.get(photometric)
    if possible is None:
        raise SliceError(
            "its colours are neither grey, RGB nor a palette (CMYK, perhaps). Save it as RGB or grey."
        )
    named = bool(set(page.extrasamples[-1:]) & {1, 2})
    alpha = samples in (2, 4) and (named or (samples, photometric) == (4, PHOTOMETRIC.RGB))
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


def _colour_table(page: TiffPage) -> NDArray[np.float32] | None:
    """(2 ** bits, 3) float32 colours, 0 to 65535; None where the pixels are no indices into one."""
    photometric = _photometric(page)
    signed = page.sampleformat not in (SAMPLEFORMAT.UINT, SAMPLEFORMAT.VOID)
    if signed and photometric in (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.PALETTE):
        raise SliceError("its colours are no plain grey, and its values are signed. Save it as RGB or grey.")
    if photometric != PHOTOMETRIC.PALETTE:
        return None
    colours = np.asarray(page.tags.valueof("ColorMap"))
    if page.bitspersample > 16 or colours.shape != (3, 2**page.bitspersample):
        raise SliceError("its colour table is missing or damaged. Save it as RGB or grey.")
    return np.ascontiguousarray(colours.T, np.float32)


def _assemble(data: bytes, page: TiffPage, channels: int) -> NDArray[np.float32]:
    """Decode every strip or tile and put it in its place, as (H, W, C) float32; no pixel is left unset."""
    height, width, colours = page.imagelength, page.imagewidth, _colour_table(page)
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
    if _photometric(page) == PHOTOMETRIC.MINISWHITE:
        np.subtract(np.float32(2.0**page.bitspersample - 1), pixels, out=pixels)
    return pixels


def _tiff_spacing(page: TiffPage, imagej: dict[str, object]) -> tuple[float, float] | None:
    row, column = _density(page, "YResolution"), _density(page, "XResolution")
    if imagej:
        unit = IMAGEJ_UNITS.get(str(imagej.get("unit")))
        return spacing_from_densities(row, column, unit, certain=True) if unit else None
    # Without the tag the unit would be the inch by default, but then nobody has stated it.
    unit = {2: MM_PER_INCH, 3: 10.0}.get(page.tags.valueof("ResolutionUnit", 1))
    return spacing_from_densities(row, column, unit) if unit else None


def _density(page: TiffPage, tag: str) -> float:
    """Pixels a unit; NaN where the tag is missing or no fraction."""
    value = page.tags.valueof(tag, ())
    return value[0] / value[1] if len(value) == 2 and value[1] else math.nan


def _png_chunks(data: bytes) -> dict[bytes, bytes]:
    """The content of the chunks of use here, empty where there is none, up to the end mark."""
    pieces: dict[bytes, list[bytes]] = defaultdict(list)
    position = len(PNG_SIGNATURE)
    for _ in range(MAX_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, position)
        start, end = position + 8, position + 8 + length
        if kind in PNG_CHUNKS:
            if data[end : end + 4] != struct.pack(">I", zlib.crc32(data[start - 4 : end])):
                break
            pieces[kind].append(data[start:end])
        if kind == b"IEND":
            return {kind: b"".join(pieces[kind]) for kind in PNG_CHUNKS}
        position = end + 4
    raise SliceError(CUT_SHORT)


def _complete(packed: bytes, height: int, row_bytes: int) -> bool:
    """Unpack the pixels, never more than declared: are all there, and are their filters known?"""
    unpacker = zlib.decompressobj()
    unpacked = np.frombuffer(unpacker.decompress(packed, height * row_bytes + 1), np.uint8)
    complete = len(unpacked) == height * row_bytes and unpacker.eof and not unpacker.unused_data
    return bool(complete and (unpacked[::row_bytes] <= LAST_FILTER).all())


def _lean_png(chunks: dict[bytes, bytes], *kinds: bytes) -> bytes:
    """A PNG of these chunks and nothing else."""
    file = PNG_SIGNATURE
    for kind in kinds:
        if chunks[kind] or kind == b"IEND":
            body = kind + chunks[kind]
            file += struct.pack(">I", len(chunks[kind])) + body + struct.pack(">I", zlib.crc32(body))
    return file


def _png_spacing(content: bytes) -> tuple[float, float] | None:
    if len(content) != 9 or content[8] != 1:  # 1: the unit is the metre, else there is none
        return None
    column, row = struct.unpack(">II", content[:8])
    return spacing_from_densities(row, column, MM_PER_METRE)


def _without_metadata(data: bytes) -> tuple[bytes, bytes]:
    """A JPEG as Pillow gets it, its size and colours checked; and its EXIF block.

    Pillow would parse the metadata first, at any size, and warn about it.
    """
    lean, exif, frames = [data[:2]], b"", 0
    for marker, start, content in jpeg_segments(data):
        if marker == SCAN and frames == 1 and data.count(b"\xff\xda", start) <= MAX_SCANS:
            return b"".join((*lean, data[start:])), exif
        if marker in UNREAD:
            raise SliceError(
                "this is a JPEG of a rare kind (lossless, perhaps), not read here. Save it as TIFF or PNG."
            )
        if marker in FRAMES:
            frames += 1
            _check_frame(content)
        if marker == EXIF_SEGMENT and content.startswith(b"Exif\0\0"):
            exif = exif or content[6:]
        if marker not in METADATA:
            lean.append(data[start : start + 2] + struct.pack(">H", len(content) + 2) + content)
    raise SliceError(CUT_SHORT)


def _check_frame(content: bytes) -> None:
    bits, height, width, layers = struct.unpack_from(">BHHB", content)
    check_size(height, width)
    if bits != 8:
        raise SliceError(f"this JPEG has {bits} bits a value. Save it as TIFF or PNG.")
    if layers not in (1, 3):
        raise SliceError(
            "this JPEG is made for printing (CMYK). Save it as RGB or grey, best as TIFF or PNG."
        )
