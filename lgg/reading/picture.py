"""What every decoder hands over, and the limits that hold before any of them runs."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from lgg.errors import SliceError

#: Pixels a side. A brain slice has 128 to 1024; more is a scanned film or an attack.
MAX_SIDE = 4096
#: Pixels a side. Below this there is no anatomy left to segment.
MIN_SIDE = 32
#: Bytes of a file, and of one TIFF strip or tile unpacked: 256 MiB, which is 4096 × 4096 pixels × 4 channels
#: × 4 bytes, the largest picture that `MAX_SIDE` allows in 32 bits.
MAX_BYTES = MAX_SIDE * MAX_SIDE * 4 * 4

#: Bytes of an EXIF block that are looked at: the orientation stands near its beginning, a thumbnail follows.
MAX_EXIF_BYTES = 2**14

#: What a reader answers about a file whose end, or whose middle, is missing.
CUT_SHORT = "the file is cut short or damaged. Copy or download it again, or export the slice once more."


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
