"""From a file to a typed slice: TIFF, PNG, JPEG and DICOM, told apart by their first bytes.

Uploads are hostile until proven otherwise. So tifffile, Pillow, pydicom and imagecodecs, which decode them,
are fenced in: a declared size is checked before memory is reserved for it, metadata is bounded or taken out
first, and data that is missing is an error. Nothing global is changed (no Pillow limit, no warning filter;
tifffile's log is filtered for our own files only), so any number of threads may read at once.

Transparency is ignored throughout: it says where a program would show its background, not what the scanner
measured, and blending it in would change intensities.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SliceError
from lgg.reading.dicom import decode_dicom
from lgg.reading.guard import check_finite, guarded
from lgg.reading.jpeg import decode_jpeg
from lgg.reading.kinds import DICOM, JPEG, PNG, TIFF, kind_of
from lgg.reading.picture import MAX_BYTES, MAX_SIDE, MIN_SIDE, Picture
from lgg.reading.png import decode_png
from lgg.reading.source import Source, bare_name, load_bytes
from lgg.reading.tiff import decode_stack, decode_tiff
from lgg.slice import Slice

__all__ = ["MAX_BYTES", "MAX_SIDE", "MIN_SIDE", "as_slice", "read_mask", "read_slice", "read_stack"]

ONE_SLICE = "Upload one slice, not a series."
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
    name = bare_name(source, name)
    try:
        picture = _decode(load_bytes(source, ONE_SLICE))
        if not allow_constant:
            _check_content(picture.pixels)
    except SliceError as error:
        raise SliceError(f"{name}: {error}") from error.__cause__
    return as_slice(picture, name)


def read_mask(source: Source, name: str | None = None) -> NDArray[np.bool_]:
    """Read a ground-truth mask: (H, W) bool, True where the file's value is above zero.

    One channel, three equal ones, or a colour table (where black is background). Empty masks are valid.

    Args:
        source, name: as for `read_slice`.

    Raises:
        SliceError: as for `read_slice`; also for a JPEG, whose compression blurs the outline into values
            above zero, and for a coloured picture.
    """
    name = bare_name(source, name)
    try:
        picture = _decode(load_bytes(source, ONE_SLICE))
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


def read_stack(data: bytes, name: str, pages: int, check: Callable[[int, int, int], None]) -> list[Slice]:
    """Read the pages of a TIFF as slices, by the rules of `read_slice`; pages of one value are accepted.

    Args:
        data: the file's bytes.
        name: what messages and, with the page's number, `Slice.source` call it.
        pages, check: the limits, as for `lgg.reading.tiff.decode_stack`.

    Raises:
        SliceError: as `read_slice`, or `check` refuses.
    """
    try:
        pictures = guarded(decode_stack, data, pages, check)
        for picture in pictures:
            check_finite(picture.pixels)
    except SliceError as error:
        raise type(error)(f"{name}: {error}") from error.__cause__
    return [as_slice(picture, f"{name}, page {page}") for page, picture in enumerate(pictures, start=1)]


def as_slice(picture: Picture, name: str) -> Slice:
    """A picture as a slice: one channel, or three equal ones, is FLAIR in all three."""
    grey = _is_grey(picture.pixels)
    pixels = np.repeat(picture.pixels[..., :1], 3, axis=2) if grey else picture.pixels
    return Slice(np.ascontiguousarray(pixels), name, flair_only=grey, spacing=picture.spacing)


def _decode(data: bytes) -> Picture:
    kind = kind_of(data)
    picture = guarded(DECODERS[kind], data)
    check_finite(picture.pixels)
    return picture


def _check_content(pixels: NDArray[np.float32]) -> None:
    if (pixels == pixels[:1, :1]).all():
        raise SliceError("every pixel has the same value: there is nothing to see. Choose another slice.")


def _is_grey(pixels: NDArray[np.float32]) -> bool:
    return bool((pixels == pixels[..., :1]).all())
