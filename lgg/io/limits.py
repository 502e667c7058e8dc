"""Around every decoder: whatever a stranger's bytes provoke in it becomes an error for people."""

import os
from collections.abc import Callable
from pathlib import PureWindowsPath
from typing import BinaryIO, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SeriesError, SliceError
from lgg.types import FLAIR

P = ParamSpec("P")
T = TypeVar("T")


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


#: Characters of a name that are kept, its end: no file system allows more, but an archive does.
MAX_NAME = 255

Source = str | os.PathLike[str] | bytes | BinaryIO


def bare_name(source: Source, name: str | None = None) -> str:
    """The last part of a path of either convention, without what could not be printed; or "slice"."""
    if name is None:
        name = getattr(source, "name", None) if not isinstance(source, str | os.PathLike | bytes) else None
    if name is None and isinstance(source, str | os.PathLike):
        name = os.fspath(source)
    bare = PureWindowsPath(name).name if isinstance(name, str) else ""
    return "".join(character for character in bare if character.isprintable())[-MAX_NAME:] or "slice"


def load_bytes(source: Source, advice: str) -> bytes:
    """The file's bytes, at most `MAX_BYTES` of them.

    Raises:
        SliceError: it cannot be opened, or is larger; then `advice` says what to do.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source) if len(source) <= MAX_BYTES else None
    else:
        try:
            if isinstance(source, str | os.PathLike):
                with open(source, "rb") as stream:  # noqa: PTH123 (a str or any PathLike)
                    data = stream.read(MAX_BYTES + 1)
            else:
                data = source.read(MAX_BYTES + 1)
        except (OSError, ValueError):
            # The cause would tell the path, so it goes no further.
            # ValueError: a NUL in a path, a closed stream.
            raise SliceError("the file cannot be opened. Check that it is there and readable.") from None
        if not isinstance(data, bytes):
            raise TypeError("read_slice wants a stream that was opened in binary mode")
    if data is None or len(data) > MAX_BYTES:
        raise SliceError(f"the file is over {MAX_BYTES >> 20} MiB. {advice}")
    return data


#: Pixels a side. A brain slice has 128 to 1024; more is a scanned film or an attack.
MAX_SIDE = 4096
#: Pixels a side. Below this there is no anatomy left to segment.
MIN_SIDE = 32
#: Bytes of a file, and of one TIFF strip or tile unpacked: 256 MiB, which is 4096 × 4096 pixels × 4 channels
#: × 4 bytes, the largest picture that `MAX_SIDE` allows in 32 bits.
MAX_BYTES = MAX_SIDE * MAX_SIDE * 4 * 4


#: What a reader answers about a file whose end, or whose middle, is missing.
CUT_SHORT = "the file is cut short or damaged. Copy or download it again, or export the slice once more."


def check_size(height: int, width: int) -> None:
    """Refuse a declared size, in pixels, before a decoder reserves memory for it.

    Raises:
        SliceError: a side is below `MIN_SIDE` or above `MAX_SIDE`.
    """
    if min(height, width) < MIN_SIDE:
        raise SliceError(
            f"the image is {width} × {height} pixels, and a slice has at least {MIN_SIDE} a side. "
            "Upload the slice itself, not a thumbnail."
        )
    if max(height, width) > MAX_SIDE:
        raise SliceError(
            f"the image is {width} × {height} pixels, and at most {MAX_SIDE} a side can be read. "
            "Export the slice at its own size."
        )


#: Slices of a series, and voxels: 256 slices of 512 × 512. As float32 in three channels these are 768 MiB.
MAX_SLICES, MAX_VOXELS = 512, 2**26


def check_volume(slices: int, height: int, width: int) -> None:
    """Refuse a declared size before memory is reserved for it.

    Raises:
        SliceError: a side of a slice is beyond the limits.
        SeriesError: there are too many slices or voxels.
    """
    check_size(height, width)
    if slices > MAX_SLICES:
        raise SeriesError(
            f"the series has {slices} slices, and at most {MAX_SLICES} can be read. Upload a part of it."
        )
    if slices * height * width > MAX_VOXELS:
        raise SeriesError(
            f"the series has {slices} slices of {width} × {height} pixels, "
            f"and at most {MAX_VOXELS >> 20} million pixels can be read. Upload a part of it."
        )


def combine(sequences: dict[int, NDArray[np.float32]], source: str) -> NDArray[np.float32]:
    """One (N, H, W, 3) array of the sequences (channel → (N, H, W)); FLAIR where one is missing.

    Args:
        source: what a message calls it.

    Raises:
        SeriesError: a voxel is not finite, or all of them are equal.
    """
    flair = sequences[FLAIR]
    pixels = np.empty((*flair.shape, 3), np.float32)
    for channel in range(3):
        pixels[..., channel] = sequences.get(channel, flair)
    check_content(pixels, source)
    return pixels


def check_content(pixels: NDArray[np.float32], source: str) -> None:
    """Refuse what no network could use.

    Raises:
        SeriesError: as for `combine`.
    """
    if not np.isfinite(pixels).all():
        raise SeriesError(
            f"{source}: some voxels are NaN or infinite. Replace them and save the series again."
        )
    if (pixels == pixels[:1, :1, :1]).all():
        pixel, what = ("pixel", "slice") if len(pixels) == 1 else ("voxel", "series")
        raise SeriesError(
            f"{source}: every {pixel} has the same value: there is nothing to see. Choose another {what}."
        )
