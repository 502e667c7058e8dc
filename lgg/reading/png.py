"""PNG: its chunks, checked, and its pixels by Pillow; those that Pillow would cut to 8 bits, by libpng.

Either gets a file that is built here from the chunks that make pixels, so that nothing in the metadata (iCCP,
zTXt, iTXt) is ever unpacked and no gamma, background or transparency changes a value. `png_decode` of
imagecodecs 2026.3.6 releases `None` once too often whenever it raises, which ends Python 3.11 after some
thousands of damaged files: hence the check of the compressed pixels, which leaves it nothing to raise about.
"""

import io
import math
import struct
import zlib
from collections import defaultdict

import imagecodecs
import numpy as np
from PIL.PngImagePlugin import PngImageFile

from lgg.errors import SliceError
from lgg.reading.picture import CUT_SHORT, Picture, check_size, exif_orientation, upright
from lgg.reading.spacing import believable

SIGNATURE = b"\x89PNG\r\n\x1a\n"
USED = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND", b"pHYs", b"eXIf", b"acTL"))
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
LAST_FILTER = 4
#: Chunks of a file; writers put the pixels into one, or into pieces of some KiB.
MAX_CHUNKS = 100_000
MM_PER_METRE = 1000.0


def decode_png(data: bytes) -> Picture:
    """Decode a PNG of 1 to 16 bits: grey, RGB or palette, with or without transparency (dropped).

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
    if colour == PALETTE and (not chunks[b"PLTE"] or len(chunks[b"PLTE"]) % 3):
        raise SliceError("its colour table is missing or damaged. Save it as RGB or grey.")
    if bits == 16 and colour != GREY:
        if interlaced:
            raise SliceError("this is an interlaced PNG of 16 bits. Save it without interlacing.")
        pixels = imagecodecs.png_decode(_lean_file(chunks, b"IHDR", b"IDAT", b"IEND"))
    else:
        with PngImageFile(io.BytesIO(_lean_file(chunks, b"IHDR", b"PLTE", b"IDAT", b"IEND"))) as image:
            mode = {"1": "L", "P": "RGB"}.get(image.mode)
            pixels = np.asarray(image.convert(mode) if mode else image)
    channels = 1 if colour in (GREY, GREY_ALPHA) else 3
    picture = Picture(
        pixels.reshape(height, width, -1)[..., :channels].astype(np.float32),
        _spacing(chunks[b"pHYs"]),
        palette=colour == PALETTE,
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


def _spacing(content: bytes) -> tuple[float, float] | None:
    if len(content) != 9 or content[8] != 1:  # 1: the unit is the metre, else there is none
        return None
    column, row = struct.unpack(">II", content[:8])
    return believable(row, column, MM_PER_METRE)
