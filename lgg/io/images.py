"""What every decoder hands over, and the limits that hold before any of them runs."""

import io
import json
import logging
import math
import re
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from operator import index

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from tifffile import TiffFile, TiffPage

from lgg.errors import SliceError
from lgg.io.limits import CUT_SHORT, MAX_BYTES, MAX_SIDE, check_size

#: Bytes of an EXIF block that are looked at: the orientation stands near its beginning, a thumbnail follows.
MAX_EXIF_BYTES = 2**14


@dataclass(frozen=True)
class Picture:
    """One decoded picture, upright, before it becomes a slice or a mask.

    Attributes:
        pixels: (H, W, 1) or (H, W, 3) float32, any values; transparency is already dropped.
        spacing: (row, column) millimetres, or None where the file does not state it.
        palette: whether the colours came from a colour table.
        lossy: whether the compression changed pixel values.
    """

    pixels: NDArray[np.float32]
    spacing: tuple[float, float] | None = None
    palette: bool = False
    lossy: bool = False


def exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, in an EXIF block; 1 where there is none or it cannot be read."""
    block = Image.Exif()
    try:
        block.load(exif[:MAX_EXIF_BYTES])
        orientation = block.get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever Pillow raises about a damaged block
        return 1
    return orientation if isinstance(orientation, int) else 1


def upright(picture: Picture, orientation: int) -> Picture:
    """Turn a picture as the orientation tag of TIFF and EXIF says, 2 to 8; else leave it."""
    pixels, spacing = picture.pixels, picture.spacing
    if orientation in (5, 6, 7, 8):
        pixels, spacing = pixels.transpose(1, 0, 2), spacing and (spacing[1], spacing[0])
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return replace(picture, pixels=pixels, spacing=spacing)


#: Plausible distance of MRI pixel centres, in millimetres.
SMALLEST, LARGEST = 0.1, 10.0
MM_PER_INCH = 25.4
#: Slack in dots an inch: PNG holds whole dots a metre, which turns 72 into 72.009.
WHOLE_DPI_SLACK = 0.02
SCREEN_DPI, SCREEN_SLACK = (72.0, 96.0), 0.5

#: Millimetres in the units that ImageJ writes; "pixel" and whatever else is not a length.
IMAGEJ_UNITS = {
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "inch": MM_PER_INCH,
    "micron": 0.001,
    "um": 0.001,
    "µm": 0.001,
    "\\u00B5m": 0.001,  # ImageJ escapes the micro sign
}


def believable(row_density: float, column_density: float, unit_mm: float) -> tuple[float, float] | None:
    """Spacing from a resolution field, by all three rules above.

    Args:
        row_density: pixels a unit from row to row.
        column_density: pixels a unit from column to column.
        unit_mm: the stated unit in millimetres.

    Returns:
        (row, column) spacing in millimetres, or None where it is doubtful.
    """
    if any(_is_default(density, unit_mm) for density in (row_density, column_density)):
        return None
    return plausible(row_density, column_density, unit_mm)


def plausible(row_density: float, column_density: float, unit_mm: float) -> tuple[float, float] | None:
    """Spacing by rule 2 alone, for a header that a person filled in. Arguments as in `believable`."""
    spacing = tuple(
        unit_mm / density if math.isfinite(density) and density > 0 else math.nan
        for density in (row_density, column_density)
    )
    if not all(SMALLEST <= distance <= LARGEST for distance in spacing):
        return None
    return spacing[0], spacing[1]


def _is_default(density: float, unit_mm: float) -> bool:
    if not math.isfinite(density) or density == 1:
        return True
    dpi = density * MM_PER_INCH / unit_mm
    whole = abs(dpi - round(dpi)) <= WHOLE_DPI_SLACK
    return whole or any(abs(dpi - screen) <= SCREEN_SLACK for screen in SCREEN_DPI)


STACK = (
    "the TIFF holds several images, and one slice is read here. Save one slice as its own file; "
    "if they are the three sequences of one slice, save them as the three channels of one image."
)
#: Pages in a chain, thumbnails among them, and tags a page. A slice has about one and twenty.
MAX_PAGES, MAX_TAGS = 32, 1024
#: Values in all tags together: enough for strips of one row and for tiles of 16 × 16 pixels. A stack may have
#: four times as many: 512 pages of 512 strips.
MAX_VALUES = 2**19
#: XMP, IPTC, Photoshop and ICC blocks may be longer: tifffile reads them only when asked.
OPAQUE = frozenset((700, 33723, 34377, 34675, 37724))
#: Tags by which tifffile knows MetaMorph, Zeiss and Hamamatsu files, and reads their pixels by other rules.
MICROSCOPES = frozenset((33628, 34412, 65420))
IMAGEJ_LENGTHS, IMAGEJ_BLOCK = 50838, 50839


def walk_tags(data: bytes, pages: int = 1) -> list[frozenset[int]]:
    """The tag codes of every page of a TIFF or BigTIFF, in the file's order.

    Args:
        pages: how many slices the file may hold; thumbnails and masks come on top.

    Raises:
        SliceError: the chain runs in a circle or beyond the limits, or the file is a microscope's.
        struct.error: the chain leaves the file.
    """
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    number, entry, link = (
        struct.Struct(order + kinds) for kinds in (("Q", "HHQQ", "Q") if big else ("H", "HHII", "I"))
    )
    (offset,) = link.unpack_from(data, 8 if big else 4)
    found: dict[int, frozenset[int]] = {}
    lengths: Counter[int] = Counter()
    while offset:
        if offset in found:
            raise SliceError(CUT_SHORT)
        if len(found) == pages - 1 + MAX_PAGES:
            raise SliceError(STACK)
        (count,) = number.unpack_from(data, offset)
        if count > MAX_TAGS:
            raise SliceError(CUT_SHORT)
        start = offset + number.size
        end = start + count * entry.size
        tags = list(entry.iter_unpack(data[start:end]))
        for code, _, length, _ in tags:
            lengths[code] += length
        found[offset] = frozenset(code for code, *_ in tags)
        (offset,) = link.unpack_from(data, end)
    if lengths.keys() & MICROSCOPES:
        raise SliceError("it is a microscope's TIFF, which is not read here. Save the slice as a plain TIFF.")
    # tifffile cuts ImageJ's block into as many pieces as there are lengths, each up to the block's own.
    pieces = lengths[IMAGEJ_LENGTHS] * lengths[IMAGEJ_BLOCK]
    values = sum(lengths[code] for code in lengths.keys() - OPAQUE)
    if pieces > MAX_BYTES or values > MAX_VALUES * min(pages, 4):
        raise SliceError(CUT_SHORT)
    return list(found.values())


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


SIGNATURE = b"\x89PNG\r\n\x1a\n"
USED = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"pHYs", b"eXIf", b"acTL"))
GREY, PNG_RGB, PNG_PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, PNG_RGB: 3, PNG_PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
LAST_FILTER = 4
#: Chunks of a file; writers put the pixels into one, or into pieces of some KiB.
MAX_CHUNKS = 100_000
MM_PER_METRE = 1000.0


def decode_png(data: bytes) -> Picture:
    """Decode a PNG of 1 to 16 bits: grey, PNG_RGB or palette, with or without transparency (dropped).

    Raises:
        SliceError: it is animated, interlaced with 16 bits a colour, its size is beyond the limits, or data
            is missing or damaged.
        struct.error, KeyError: its header is damaged.
    """
    chunks = _walk(data)
    width, height, bits, colour, *methods = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    check_size(height, width)
    if int.from_bytes(chunks[b"acTL"][:4], "big") > 1:
        raise SliceError("this is an animated PNG. Save one picture of it as its own PNG.")
    interlaced, row_bits = methods == [0, 0, 1], width * SAMPLES[colour] * bits
    if not interlaced and (
        any(methods) or not _complete(chunks[b"IDAT"], height, 1 + math.ceil(row_bits / 8))
    ):
        raise SliceError(CUT_SHORT)
    if colour == PNG_PALETTE and (not chunks[b"PLTE"] or len(chunks[b"PLTE"]) % 3):
        raise SliceError("its colour table is missing or damaged. Save it as PNG_RGB or grey.")
    if bits == 16 and colour != GREY:
        if interlaced:
            raise SliceError("this is an interlaced PNG of 16 bits. Save it without interlacing.")
        pixels = imagecodecs.png_decode(_lean_file(chunks, b"IHDR", b"IDAT", b"IEND"))
    else:
        with PngImageFile(io.BytesIO(_lean_file(chunks, b"IHDR", b"PLTE", b"IDAT", b"IEND"))) as image:
            mode = {"1": "L", "P": "PNG_RGB"}.get(image.mode)
            pixels = np.asarray(image.convert(mode) if mode else image)
    channels = 1 if colour in (GREY, GREY_ALPHA) else 3
    picture = Picture(
        pixels.reshape(height, width, -1)[..., :channels].astype(np.float32),
        _png_spacing(chunks[b"pHYs"]),
        palette=colour == PNG_PALETTE,
    )
    return upright(picture, exif_orientation(chunks[b"eXIf"]))


def _walk(data: bytes) -> dict[bytes, bytes]:
    """The content of the chunks of use here, empty where there is none, up to the end mark."""
    found: dict[bytes, list[bytes]] = defaultdict(list)
    position = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, position)
        start, end = position + 8, position + 8 + length
        if kind in USED:
            content = data[start:end]
            if data[end : end + 4] != _checksum(kind, content):
                break
            found[kind].append(content)
        if kind == b"IEND":
            return {kind: b"".join(found[kind]) for kind in USED}
        position = end + 4
    raise SliceError(CUT_SHORT)


def _complete(packed: bytes, height: int, row_bytes: int) -> bool:
    """Unpack the pixels, never more than declared: are all there, and are their filters known?"""
    unpacker = zlib.decompressobj()
    unpacked = np.frombuffer(unpacker.decompress(packed, height * row_bytes + 1), np.uint8)
    complete = len(unpacked) == height * row_bytes and unpacker.eof and not unpacker.unused_data
    return bool(complete and (unpacked[::row_bytes] <= LAST_FILTER).all())


def _lean_file(chunks: dict[bytes, bytes], *kinds: bytes) -> bytes:
    """A PNG of these chunks and nothing else."""
    file = SIGNATURE
    for kind in kinds:
        content = chunks[kind]
        if content or kind == b"IEND":
            file += struct.pack(">I", len(content)) + kind + content + _checksum(kind, content)
    return file


def _checksum(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def _png_spacing(content: bytes) -> tuple[float, float] | None:
    if len(content) != 9 or content[8] != 1:  # 1: the unit is the metre, else there is none
        return None
    column, row = struct.unpack(">II", content[:8])
    return believable(row, column, MM_PER_METRE)


#: A segment's marker, which may be padded, and its length, which counts itself.
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
    return upright(Picture(pixels, lossy=True), exif_orientation(exif))


def _without_metadata(data: bytes) -> tuple[bytes, bytes]:
    """The file as Pillow gets it, its size and colours checked; and its EXIF block."""
    lean, exif, frames, position = [data[:2]], b"", 0, 2
    for _ in range(MAX_SEGMENTS):
        segment = SEGMENT.match(data, position)
        if not segment:
            break
        start = segment.start(1) - 1  # without the padding
        marker, end = segment[1][0], segment.start(2) + int.from_bytes(segment[2], "big")
        if marker == SCAN and frames == 1 and data.count(b"\xff\xda", position) <= MAX_SCANS:
            return b"".join((*lean, data[start:])), exif
        content = data[segment.end() : end]
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
            lean.append(data[start:end])
        position = end
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
