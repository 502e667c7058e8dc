"""Makers of files for the tests of reading: valid ones, forged ones and mutated ones."""

import io
import struct
import tracemalloc
import zlib
from contextlib import contextmanager

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from lgg.errors import SliceError
from lgg.io import read_slice


def noise(*shape, dtype="uint8", seed=0):
    """Pixels that use the whole range of an integer type, or normal noise in a float one."""
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.normal(0, 100, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def tiff(pixels, **options):
    stream = io.BytesIO()
    options.setdefault("photometric", "rgb" if pixels.ndim == 3 else "minisblack")
    tifffile.imwrite(stream, pixels, **options)
    return stream.getvalue()


def pillow(pixels_or_image, kind, **options):
    image = pixels_or_image if isinstance(pixels_or_image, Image.Image) else Image.fromarray(pixels_or_image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, raw, *, bits=8, colour=0, interlace=0, extra=b""):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def with_chunk(data, kind, content):
    """A PNG with one more chunk right behind its header."""
    return data[:33] + chunk(kind, content) + data[33:]


def with_tag(data, code, value):
    """A TIFF with another value in one of its tags (same count and type)."""
    stream = io.BytesIO(data)
    with tifffile.TiffFile(stream, mode="r+b") as file:
        file.pages[0].tags[code].overwrite(value)
        stream.seek(0)
        return stream.read()


def forged_tiff(width=64, height=64, *, offset=None, length=4096, size=4096, **changes):
    """A hand-written little-endian TIFF, so that its tags can claim what no writer would write."""
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1, 278: height, 279: length}
    entries.update({int(code[1:]): value for code, value in changes.items()})
    start = 8 + 2 + 12 * (len(entries) + 1) + 4
    entries[273] = start if offset is None else offset
    body = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in sorted(entries.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4) + noise(size).tobytes()


def tiff_of_strip(strip, compression, side=64, **changes):
    """A forged TIFF whose one strip is given packed."""
    data = forged_tiff(side, side, length=len(strip), size=0, **{"t259": compression}, **changes)
    return data + strip


VALID = {
    "TIFF": tiff(noise(48, 40)),
    "TIFF in LZW": tiff(noise(48, 40, 3), compression="lzw", predictor=True, rowsperstrip=7),
    "TIFF in deflate tiles": tiff(noise(48, 40, 3, dtype="uint16"), compression="zlib", tile=(16, 16)),
    "planar float TIFF": tiff(noise(3, 48, 40, dtype="float32"), planarconfig="separate"),
    "big-endian TIFF": tiff(noise(48, 40, dtype="uint16"), byteorder=">"),
    "BigTIFF": tiff(noise(48, 40), bigtiff=True),
    "PNG": pillow(noise(48, 40), "PNG"),
    "RGB PNG": pillow(noise(48, 40, 3), "PNG"),
    "16-bit PNG": imagecodecs.png_encode(noise(48, 40, 3, dtype="uint16")),
    "palette PNG": pillow(Image.fromarray(noise(48, 40, 3)).quantize(16), "PNG"),
    "JPEG": pillow(noise(48, 40, 3), "JPEG"),
    "grey JPEG": pillow(noise(48, 40), "JPEG"),
    "progressive JPEG": pillow(noise(48, 40, 3), "JPEG", progressive=True),
}


def read_or_refuse(data, name="scan"):
    """Read; whatever is wrong must be a SliceError with a clean message."""
    try:
        slice_ = read_slice(data, name)
    except SliceError as error:
        message = str(error)
        assert "/" not in message
        assert "Traceback" not in message
        assert message.startswith(f"{name}: ")
        return None
    assert slice_.pixels.dtype == np.float32
    assert slice_.pixels.shape == (*slice_.size, 3)
    assert np.isfinite(slice_.pixels).all()
    return slice_


@contextmanager
def memory_below(limit):
    """Fails where Python and NumPy reserve that many bytes at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def mutate(data, random):
    """Flip some bytes, cut, insert or repeat: one of each at random, mostly near the header."""
    data = bytearray(data)
    reach = len(data) if random.random() < 0.4 else min(len(data), 300)
    match random.integers(5):
        case 0 | 1:
            for _ in range(random.integers(1, 9)):
                data[random.integers(reach)] = random.integers(256)
        case 2:
            del data[random.integers(len(data)) :]
        case 3:
            place = random.integers(reach)
            data[place:place] = random.bytes(random.integers(1, 40))
        case 4:
            place, length = random.integers(reach), random.integers(1, 40)
            data[place : place + length] = random.choice([b"\xff", b"\0"]) * int(length)
    return bytes(data)
