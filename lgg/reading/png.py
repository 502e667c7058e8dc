"""PNG: its chunks and its compressed pixels, checked, and then its filters undone by libpng.

Pillow is not used: it reduces 16-bit RGB to 8 bits. libpng, through imagecodecs, gets a file that is built
here from the parts already found sound, and so cannot fail on it. That matters: nothing in the metadata
(iCCP, zTXt, iTXt) is ever unpacked, no gamma, background or transparency changes a value, and `png_decode` of
imagecodecs 2026.3.6 releases `None` once too often whenever it raises, which ends Python 3.11 after some
thousands of damaged files.
"""

import math
import struct
import zlib
from dataclasses import dataclass, field

import imagecodecs
import numpy as np

from lgg.errors import SliceError
from lgg.reading.picture import CUT_SHORT, Picture, check_size, upright, upright_spacing
from lgg.reading.spacing import believable
from lgg.reading.tags import exif_orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Length and type before a chunk's content, CRC behind it.
HEAD_BYTES, CRC_BYTES = 8, 4
METADATA = (b"pHYs", b"eXIf", b"acTL")
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
#: Samples a pixel of each colour type, and the bit depths it may have.
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGB_ALPHA: (8, 16),
}
#: The seven passes of an interlaced image: first row and column, and steps.
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
LAST_FILTER = 4
MM_PER_METRE = 1000.0


@dataclass(frozen=True)
class _Header:
    """The IHDR chunk: sizes in pixels, bits a sample, colour type, and whether it is interlaced."""

    width: int
    height: int
    bits: int
    colour: int
    interlaced: bool

    def passes(self) -> list[tuple[int, int]]:
        """Rows, and bytes a row with its filter byte, of each pass over the image."""
        steps = ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        bits = self.bits * SAMPLES[self.colour]
        return [
            (
                math.ceil((self.height - top) / down),
                1 + math.ceil(math.ceil((self.width - left) / right) * bits / 8),
            )
            for top, left, down, right in steps
        ]


@dataclass
class _Chunks:
    """What the walk through a file found: palette, compressed pixels, and the metadata of use here."""

    palette: bytes = b""
    pixels: list[bytes] = field(default_factory=list)
    metadata: dict[bytes, bytes] = field(default_factory=dict)


def decode_png(data: bytes) -> Picture:
    """Decode a PNG of 1 to 16 bits: grey, RGB or palette, with or without transparency (dropped).

    Raises:
        SliceError: it is animated, its size is beyond the limits, or data is missing or damaged.
    """
    header = _header(data)
    chunks = _walk(data)
    frames = struct.unpack(">I", chunks.metadata.get(b"acTL", b"\0\0\0\1")[:4])[0]
    if frames > 1:
        raise SliceError("this is an animated PNG. Save one picture of it as its own PNG.")
    packed = b"".join(chunks.pixels)
    _check_pixels(packed, header)
    pixels = imagecodecs.png_decode(_clean_file(header, chunks.palette, packed))
    pixels = pixels.reshape(header.height, header.width, -1)
    channels = 1 if header.colour in (GREY, GREY_ALPHA) else 3
    orientation = exif_orientation(chunks.metadata.get(b"eXIf", b""))
    return Picture(
        upright(pixels[..., :channels].astype(np.float32), orientation),
        upright_spacing(_spacing(chunks.metadata.get(b"pHYs", b"")), orientation),
        palette=header.colour == PALETTE,
    )


def _header(data: bytes) -> _Header:
    """Read the chunk that must come first, and check what it declares."""
    if len(data) < 33 or data[8:16] != b"\0\0\0\x0dIHDR":
        raise SliceError(CUT_SHORT)
    width, height, bits, colour, packing, filtering, interlace = struct.unpack(">IIBBBBB", data[16:29])
    check_size(height, width)
    if bits not in DEPTHS.get(colour, ()) or packing or filtering or interlace > 1:
        raise SliceError(CUT_SHORT)
    return _Header(width, height, bits, colour, interlace == 1)


def _walk(data: bytes) -> _Chunks:
    """Collect the chunks up to the end mark, without which the file is cut short."""
    found = _Chunks()
    position, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        if position + HEAD_BYTES > len(data):
            raise SliceError(CUT_SHORT)
        length, kind = struct.unpack(">I4s", data[position : position + HEAD_BYTES])
        end = position + HEAD_BYTES + length + CRC_BYTES
        if end > len(data):
            raise SliceError(CUT_SHORT)
        content = data[position + HEAD_BYTES : end - CRC_BYTES]
        if kind in (b"IHDR", b"PLTE", b"IDAT") and data[end - CRC_BYTES : end] != _crc(kind + content):
            raise SliceError(CUT_SHORT)
        if kind == b"PLTE":
            found.palette = content
        elif kind == b"IDAT":
            found.pixels.append(content)
        elif kind in METADATA:
            found.metadata[kind] = content
        position = end
    return found


def _check_pixels(packed: bytes, header: _Header) -> None:
    """Unpack the pixels, never more than declared, and see that they are complete and their filters known."""
    expected = sum(rows * row_bytes for rows, row_bytes in header.passes())
    unpacker = zlib.decompressobj()
    unpacked = np.frombuffer(unpacker.decompress(packed, expected + 1), np.uint8)
    if len(unpacked) != expected or not unpacker.eof or unpacker.unused_data:
        raise SliceError(CUT_SHORT)
    start = 0
    for rows, row_bytes in header.passes():
        end = start + rows * row_bytes
        if (unpacked[start:end:row_bytes] > LAST_FILTER).any():
            raise SliceError(CUT_SHORT)
        start = end


def _clean_file(header: _Header, palette: bytes, packed: bytes) -> bytes:
    """A PNG of the four chunks that a decoder needs, each with the right check sum."""
    interlace = int(header.interlaced)
    declared = struct.pack(
        ">IIBBBBB", header.width, header.height, header.bits, header.colour, 0, 0, interlace
    )
    parts = [SIGNATURE, _chunk(b"IHDR", declared)]
    if header.colour == PALETTE:
        colours = 3 * 2**header.bits
        if not 0 < len(palette) <= colours or len(palette) % 3:
            raise SliceError("its colour table is missing or damaged. Save it as RGB or grey.")
        parts.append(
            _chunk(b"PLTE", palette.ljust(colours, b"\0"))
        )  # pixels may name colours that are not there
    parts += [_chunk(b"IDAT", packed), _chunk(b"IEND", b"")]
    return b"".join(parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + _crc(kind + content)


def _crc(content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content))


def _spacing(content: bytes) -> tuple[float, float] | None:
    if len(content) != 9 or content[8] != 1:  # 1: the unit is the metre, else there is none
        return None
    column, row = struct.unpack(">II", content[:8])
    return believable(row, column, MM_PER_METRE)
