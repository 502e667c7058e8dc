"""From a file to a typed slice: TIFF, PNG, JPEG and DICOM, told apart by their first bytes.

Uploads are hostile until proven otherwise. So tifffile, Pillow, pydicom and imagecodecs, which decode them,
are fenced in: a declared size is checked before memory is reserved for it, metadata is bounded or taken out
first, and data that is missing is an error. Nothing global is changed (no Pillow limit, no warning filter;
tifffile's log is filtered for our own files only), so any number of threads may read at once.

Transparency is ignored throughout: it says where a program would show its background, not what the scanner
measured, and blending it in would change intensities.
"""

import os
from pathlib import PureWindowsPath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SliceError
from lgg.reading.dicom import decode_dicom
from lgg.reading.jpeg import decode_jpeg
from lgg.reading.kinds import DICOM, JPEG, PNG, TIFF, kind_of
from lgg.reading.picture import CUT_SHORT, MAX_BYTES, MAX_SIDE, MIN_SIDE, Picture
from lgg.reading.png import decode_png
from lgg.reading.tiff import decode_tiff
from lgg.slice import Slice

__all__ = ["MAX_BYTES", "MAX_SIDE", "MIN_SIDE", "read_mask", "read_slice"]

Source = str | os.PathLike[str] | bytes | BinaryIO

DECODERS = {TIFF: decode_tiff, PNG: decode_png, JPEG: decode_jpeg, DICOM: decode_dicom}


def read_slice(source: Source, name: str | None = None, *, allow_constant: bool = False) -> Slice:
    """Read one axial MRI slice from a TIFF, PNG, JPEG or DICOM file.

    Three channels are taken as pre-contrast T1, FLAIR and post-contrast T1, in this order. One channel, and
    three that are equal in every pixel (a grey picture saved as RGB), are taken as FLAIR: `flair_only`.
    A fourth channel, and a second beside grey, must be transparency and is ignored. Pixel values stay the
    file's own (in DICOM the scanner's, after its slope and intercept and before any window), except that
    "white is zero" is inverted and colour tables are looked up. Spacing is filled in only where the file
    states one that can be believed (rules in `lgg.reading.spacing`; in DICOM, PixelSpacing).

    Args:
        source: a path, the file's bytes, or a binary stream, read from where it stands and left open.
        name: what messages and `Slice.source` call the file; its bare name, or "slice", by default.
        allow_constant: accept a picture of one value, as the air above the head is within a series.

    Returns:
        A `Slice`: pixels (H, W, 3) float32, finite, not all equal, 32 to 4096 pixels a side.

    Raises:
        SliceError: the file cannot be read or is no slice; the message names the file and says what to do.
    """
    name = _bare_name(source, name)
    try:
        picture = _decode(_load(source))
        if not allow_constant:
            _check_content(picture.pixels)
    except SliceError as error:
        raise SliceError(f"{name}: {error}") from error.__cause__
    grey = _is_grey(picture.pixels)
    pixels = np.repeat(picture.pixels[..., :1], 3, axis=2) if grey else picture.pixels
    return Slice(np.ascontiguousarray(pixels), name, flair_only=grey, spacing=picture.spacing)


def read_mask(source: Source, name: str | None = None) -> NDArray[np.bool_]:
    """Read a ground-truth mask: (H, W) bool, True where the file's value is above zero.

    One channel, three equal ones, or a colour table (where black is background). Empty masks are valid.

    Args:
        source, name: as for `read_slice`.

    Raises:
        SliceError: as for `read_slice`; also for a JPEG, whose compression blurs the outline into values
            above zero, and for a coloured picture.
    """
    name = _bare_name(source, name)
    try:
        picture = _decode(_load(source))
        if picture.lossy:
            raise SliceError(
                "a JPEG cannot hold a mask, its edges are blurred. Save the mask as PNG or TIFF."
            )
        if not picture.palette and not _is_grey(picture.pixels):
            raise SliceError(
                "a mask has one channel, and this picture is coloured. Save it as black and white."
            )
    except SliceError as error:
        raise SliceError(f"{name}: {error}") from error.__cause__
    return np.any(picture.pixels > 0, axis=2)


def _bare_name(source: Source, name: str | None) -> str:
    """The last part of a path of either convention, without what could not be printed."""
    if name is None:
        name = getattr(source, "name", None) if not isinstance(source, str | os.PathLike | bytes) else None
    if name is None and isinstance(source, str | os.PathLike):
        name = os.fspath(source)
    bare = PureWindowsPath(name).name if isinstance(name, str) else ""
    return "".join(character for character in bare if character.isprintable()) or "slice"


def _load(source: Source) -> bytes:
    """The file's bytes, at most `MAX_BYTES` of them."""
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
        raise SliceError(f"the file is over {MAX_BYTES >> 20} MiB. Upload one slice, not a series.")
    return data


def _decode(data: bytes) -> Picture:
    kind = kind_of(data)
    try:
        picture = DECODERS[kind](data)
    except SliceError:
        raise
    except MemoryError as error:
        raise SliceError("the image needs more memory than there is. Export it at its own size.") from error
    except (
        Exception
    ) as error:  # whatever a damaged file provokes in a decoder is the file's fault, not the user's
        raise SliceError(CUT_SHORT) from error
    if not np.isfinite(picture.pixels).all():
        raise SliceError(
            "some pixels are NaN, infinite or beyond what 32-bit floats hold. Replace them and save again."
        )
    return picture


def _check_content(pixels: NDArray[np.float32]) -> None:
    if (pixels == pixels[:1, :1]).all():
        raise SliceError("every pixel has the same value: there is nothing to see. Choose another slice.")


def _is_grey(pixels: NDArray[np.float32]) -> bool:
    return bool((pixels == pixels[..., :1]).all())
