"""TIFF: what its tags declare, checked, and then its strips or tiles, one at a time.

Why not tifffile: it follows the metadata of dozens of microscopes, logs what it dislikes, and pads or drops
data that is missing. For a slice from a stranger the opposite is wanted: the few layouts that MRI tools
write, and an error for all else.
"""

import json
import math

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SliceError
from lgg.reading import tags
from lgg.reading.picture import CUT_SHORT, MAX_BYTES, Picture, check_size, upright, upright_spacing
from lgg.reading.segments import COMPRESSIONS, FLOATING, HORIZONTAL, NO_PREDICTOR, Layout, places, segment
from lgg.reading.spacing import IMAGEJ_UNITS, MM_PER_INCH, believable, plausible
from lgg.reading.tags import Directory, read_directories

STACK = (
    "the TIFF holds several images, and one slice is read here. Save one slice as its own file; "
    "if they are the three sequences of one slice, save them as the three channels of one image."
)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE = range(4)
UNSIGNED, SIGNED, FLOAT, UNDEFINED = range(1, 5)
#: Values of the ExtraSamples tag that mean transparency.
ALPHA = (1, 2)
#: Bits of the SubfileType tag that mark a thumbnail and a transparency mask.
NOT_A_PAGE = 0b101


def decode_tiff(data: bytes) -> Picture:
    """Decode a TIFF file of one page.

    Integers of 1 to 16, 32 and 64 bits and floats of 16 to 64; one or three channels, interleaved or planar,
    with or without transparency; colour tables; strips or tiles; no compression, LZW, deflate, PackBits or
    Zstandard; either byte order, BigTIFF; the orientation tag is applied.

    Raises:
        SliceError: another layout (named), several pages, or missing data.
    """
    page = _single_page(read_directories(data))
    layout = _layout(page)
    _refuse_stack(page, layout)
    photometric = page.one(tags.PHOTOMETRIC, BLACK_IS_ZERO)
    colours = _colour_table(page, layout.bits) if photometric == PALETTE else None
    pixels = _assemble(data, layout, colours)
    if photometric == WHITE_IS_ZERO:
        # Integers without sign mirror within their range; other types within the values present.
        with np.errstate(over="ignore", invalid="ignore"):
            top = (
                np.float32(2.0**layout.bits - 1) if layout.dtype.kind == "u" else pixels.max() + pixels.min()
            )
            pixels = np.subtract(top, pixels, out=pixels)
    orientation = page.one(tags.ORIENTATION, 1)
    spacing = upright_spacing(_spacing(page), orientation)
    return Picture(upright(pixels, orientation), spacing, palette=colours is not None)


def _single_page(directories: list[Directory]) -> Directory:
    """The one page that is neither a thumbnail nor a mask of another."""
    pages = [page for page in directories if not page.one(tags.SUBFILE_TYPE, 0) & NOT_A_PAGE]
    if len(pages) > 1:
        raise SliceError(STACK)
    if not directories:
        raise SliceError(CUT_SHORT)
    return (pages or directories)[0]


def _layout(page: Directory) -> Layout:
    """Read the layout from the tags and refuse what is not read here, before any memory is reserved."""
    height, width = page.one(tags.HEIGHT, 0), page.one(tags.WIDTH, 0)
    check_size(height, width)
    if page.one(tags.DEPTH, 1) > 1:
        raise SliceError(STACK)
    bits, dtype = _sample_type(page)
    compression, predictor = _compression(page, bits, dtype)
    samples, wanted = _channels(page)
    planar = page.one(tags.PLANAR, 1) == 2
    tiled = tags.TILE_OFFSETS in page.numbers
    segment_height = (
        page.one(tags.TILE_HEIGHT, 0) if tiled else min(page.one(tags.ROWS_PER_STRIP, height), height)
    )
    segment_width = page.one(tags.TILE_WIDTH, 0) if tiled else width
    layout = Layout(
        height=height,
        width=width,
        wanted=wanted,
        stored=1 if planar else samples,
        planes=samples if planar else 1,
        bits=bits,
        dtype=dtype,
        order=page.order,
        compression=compression,
        predictor=predictor,
        reversed_bits=page.one(tags.FILL_ORDER, 1) == 2,
        segment_height=segment_height,
        segment_width=segment_width,
        tiled=tiled,
        offsets=page.numbers.get(tags.TILE_OFFSETS if tiled else tags.STRIP_OFFSETS, np.zeros(0, np.int64)),
        byte_counts=page.numbers.get(tags.TILE_BYTES if tiled else tags.STRIP_BYTES, np.zeros(0, np.int64)),
    )
    if segment_height < 1 or segment_width < 1:
        raise SliceError(CUT_SHORT)
    if segment_height * layout.row_bytes > MAX_BYTES:  # of the picture as a whole, only float32 is kept
        raise SliceError(
            f"a strip or tile of it takes over {MAX_BYTES >> 20} MiB unpacked. "
            "Save the slice with 32 or 16 bits a value, or in smaller strips."
        )
    return layout


def _sample_type(page: Directory) -> tuple[int, np.dtype]:
    """Bits of a sample, and the native dtype that holds it."""
    sizes = set(page.all(tags.BITS)) or {1}
    formats = set(page.all(tags.SAMPLE_FORMAT)) or {UNSIGNED}
    if len(sizes) > 1 or len(formats) > 1:
        raise SliceError("its channels have different numeric types. Save all of them with the same one.")
    bits, form = sizes.pop(), formats.pop()
    if form == FLOAT and bits in (16, 32, 64):
        return bits, np.dtype(f"f{bits // 8}")
    if form == SIGNED and bits in (8, 16, 32, 64):
        return bits, np.dtype(f"i{bits // 8}")
    if form in (UNSIGNED, UNDEFINED) and (1 <= bits <= 16 or bits in (32, 64)):
        return bits, np.dtype(f"u{max(1, 2 ** math.ceil(math.log2(bits)) // 8)}")
    if form in (5, 6):
        raise SliceError("its pixels are complex numbers. Save their magnitude.")
    raise SliceError(f"its values have {bits} bits, which is not read here. Save it with 8, 16 or 32 bits.")


def _channels(page: Directory) -> tuple[int, int]:
    """Samples stored for a pixel, and how many of them are channels: 1 or 3; the rest is transparency."""
    samples = page.one(tags.SAMPLES, 1)
    photometric = page.one(tags.PHOTOMETRIC, BLACK_IS_ZERO)
    has_alpha = page.all(tags.EXTRA_SAMPLES)[-1:] in ([ALPHA[0]], [ALPHA[1]])
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE):
        raise SliceError(
            "its colours are neither grey, RGB nor a palette (CMYK, perhaps). Save it as RGB or grey."
        )
    if samples == 1 and photometric != RGB:
        return 1, 1
    if samples == 2 and photometric != RGB and has_alpha:
        return 2, 1
    if samples == 3 and photometric != PALETTE:
        return 3, 3
    if samples == 4 and (photometric == RGB or (photometric != PALETTE and has_alpha)):
        return 4, 3
    if samples < 2:
        raise SliceError(CUT_SHORT)
    raise SliceError(
        f"it has {samples} channels. Save the slice with one (FLAIR) or three "
        "(pre-contrast T1, FLAIR, post-contrast T1)."
    )


def _compression(page: Directory, bits: int, dtype: np.dtype) -> tuple[int, int]:
    compression, predictor = page.one(tags.COMPRESSION, 1), page.one(tags.PREDICTOR, NO_PREDICTOR)
    if compression not in COMPRESSIONS:
        raise SliceError(
            "its compression is not read here. Save the TIFF uncompressed, or with LZW or deflate."
        )
    whole_bytes = bits == 8 * dtype.itemsize
    if predictor not in (NO_PREDICTOR, HORIZONTAL, FLOATING) or (
        (predictor == HORIZONTAL and not whole_bytes) or (predictor == FLOATING and dtype.kind != "f")
    ):
        raise SliceError("its compression predictor is not read here. Save the TIFF uncompressed.")
    return compression, predictor


def _refuse_stack(page: Directory, layout: Layout) -> None:
    """Some programs put a whole stack behind one page and tell so in the description only."""
    images = 1
    if page.description.startswith("ImageJ="):
        images = int(_imagej_header(page).get("images", "1"))
    elif page.description.startswith('{"shape":'):  # tifffile
        try:
            shape = json.loads(page.description)["shape"]
            images = math.prod(shape) // (layout.height * layout.width * layout.planes * layout.stored)
        except (ValueError, TypeError, KeyError, RecursionError):
            return  # a text that only looks like it
    if images > 1:
        raise SliceError(STACK)


def _imagej_header(page: Directory) -> dict[str, str]:
    return dict(line.split("=", 1) for line in page.description.splitlines() if "=" in line)


def _spacing(page: Directory) -> tuple[float, float] | None:
    row, column = page.real(tags.Y_RESOLUTION), page.real(tags.X_RESOLUTION)
    if row is None or column is None:
        return None
    if page.description.startswith("ImageJ="):
        unit = IMAGEJ_UNITS.get(_imagej_header(page).get("unit", "").strip())
        return plausible(row, column, unit) if unit else None
    # Without the tag the unit would be the inch by default, but then nobody has stated it.
    unit = {2: MM_PER_INCH, 3: 10.0}.get(page.one(tags.RESOLUTION_UNIT, 1))
    return believable(row, column, unit) if unit else None


def _colour_table(page: Directory, bits: int) -> NDArray[np.float32]:
    """(2 ** bits, 3) float32 colours, 0 to 65535."""
    colours = page.numbers.get(tags.COLOUR_MAP)
    if bits > 16 or colours is None or len(colours) != 3 * 2**bits:
        raise SliceError("its colour table is missing or damaged. Save it as RGB or grey.")
    return np.ascontiguousarray(colours.reshape(3, -1).T, np.float32)


def _assemble(data: bytes, layout: Layout, colours: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Decode every segment and put it in its place in (H, W, C) float32; no pixel is left unset."""
    pixels = np.empty((layout.height, layout.width, layout.wanted if colours is None else 3), np.float32)
    for index, (plane, top, left) in enumerate(places(layout)):
        if plane >= layout.wanted:
            break  # transparency, in planes of its own
        samples = segment(data, layout, index)[: layout.height - top, : layout.width - left]
        channels = slice(plane, plane + 1) if layout.planes > 1 else slice(0, layout.wanted)
        rows, columns = slice(top, top + samples.shape[0]), slice(left, left + samples.shape[1])
        if colours is not None:
            pixels[rows, columns] = colours[samples[..., 0]]
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # becomes infinite, which the caller refuses
            pixels[rows, columns, channels] = samples[..., : layout.wanted]
    return pixels
