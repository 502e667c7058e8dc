"""What the viewer in the browser gets: display copies of a series' volumes, the mask in bits, and NiiVue."""

import gzip
import math
import zlib
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import numpy as np
from gradio import FileData
from numpy.typing import NDArray
from scipy import ndimage

from lgg.errors import SeriesError
from lgg.types import FLAIR, POST, PRE, Series, SeriesResult

#: Served to everybody who asks, and so a folder of its own.
NIIVUE_FOLDER = Path(__file__).resolve().parent / "niivue"
#: Gradio lets browsers keep it, so a new version is a new name.
NIIVUE = NIIVUE_FOLDER / "niivue-0.69.0.js"
NIIVUE_SHA256 = "a967e831f9269c91f96a177391d9792d21d5de5d717101744d3a41cf9185eb18"
#: Channel → the display copy's name, which is never that of the upload.
NAMES = {PRE: "t1-pre.nii.gz", FLAIR: "flair.nii.gz", POST: "t1-post.nii.gz"}
#: Percentiles that are black and white: of the whole volume, and inside the heads.
BLACK, WHITE = 1, 99.5
#: Whole numbers up to here are stored as they are.
LARGEST = np.iinfo(np.int16).max
#: Separate parts of a mask that somebody drew; each is measured, and told in a row of a table.
MOST_PARTS = 500
#: Grey values of other sequences.
STEPS = 4095


def study_value(
    study: str, result: SeriesResult, folder: Path, truth: NDArray[np.bool_] | None = None
) -> dict[str, Any]:
    """A series with its mask, for a viewer that shows another one or none.

    Args:
        study: what names the upload without telling where it lies.
        truth: the masks of a ground truth, (N, H, W) bool, if there is one.
        folder: where the display copies are written; Gradio copies them from there when it takes the value.
    """
    series = result.series
    channels = (FLAIR,) if series.flair_only else (FLAIR, PRE, POST)
    number = result.most_telling
    return {
        **mask_value(study, result, truth),
        "slice": number,
        "centre": _centre(result.predictions[number - 1].mask),
        "script": FileData(path=str(NIIVUE)).model_dump(),
        "oriented": series.oriented,
        "scaled": series.voxel_mm3 is not None,
        "volumes": [_volume(result, channel, folder) for channel in channels],
    }


def mask_value(study: str, result: SeriesResult, truth: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """The mask of a series whose volumes the viewer has, and what it is compared with."""
    return {
        "study": study,
        "mask": packed_mask(result.masks),
        "truth": None if truth is None else packed_mask(truth),
        "corrected": result.corrected,
    }


def packed_mask(masks: NDArray[np.bool_]) -> str:
    """Masks, (N, H, W), on the display copies' grid: a bit a voxel, the first axis fastest; zlib, Base64.

    There, columns run to the patient's right and rows to the front, the other way round than in slices.
    """
    bits = np.packbits(masks[:, ::-1, ::-1], bitorder="little")
    return b64encode(zlib.compress(bits.tobytes())).decode()


def unpacked_mask(packed: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Masks of a shape, (N, H, W), as `packed_mask` packed them.

    Raises:
        SeriesError: whatever else it is.
    """
    size, inflate = -(-math.prod(shape) // 8), zlib.decompressobj()
    try:
        # What cannot be compressed takes four thirds of its size, and little more.
        bits = inflate.decompress(b64decode(packed[: 2 * size + 100], validate=True), size + 1)
    except (TypeError, ValueError, zlib.error):
        bits = b""
    if len(bits) != size or not inflate.eof:
        raise SeriesError("The correction does not fit the series that is shown. Draw it once more.")
    flat = np.unpackbits(np.frombuffer(bits, np.uint8), count=math.prod(shape), bitorder="little")
    return flat.reshape(shape)[:, ::-1, ::-1].astype(bool)


def sent_masks(study: str, series: Series, sent: Any) -> NDArray[np.bool_]:
    """The masks that a browser sends, as `mask_value` has them: (N, H, W) bool.

    Args:
        sent: anything, as nobody knows who sends it.

    Raises:
        SeriesError: they are not of this study, no masks of its size at all, or noise.
    """
    of_study = isinstance(sent, dict) and sent.get("study") == study
    masks = unpacked_mask(sent.get("mask") if of_study else "", series.pixels.shape[:3])
    for box in ndimage.find_objects(masks.view(np.uint8)):
        if ndimage.label(masks[box], np.ones((3, 3, 3)))[1] > MOST_PARTS:
            raise SeriesError(f"The correction has more than {MOST_PARTS} separate parts. Draw fewer.")
    return masks


def _pictures_affine(series: Series) -> NDArray[np.float64]:
    """Of slices that do not say how they lie: upright, from bottom to top, 1 mm where nothing is known."""
    row, column = series.spacing or (1.0, 1.0)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = series.slice_distance or 1.0, -row, -column
    affine[3, 3] = 1
    return affine


def _volume(result: SeriesResult, channel: int, folder: Path) -> dict[str, Any]:
    """The display copy of a sequence, and what is black and white in it.

    Its axes run to the patient's right, front and top: NiiVue counts voxels so. Slice n is then the plane
    n - 1 of the third axis.
    """
    import nibabel

    series, path = result.series, folder / NAMES[channel]
    values = series.pixels[..., channel]
    inside = values[result.heads]
    black, white = np.percentile(values, BLACK), np.percentile(inside if inside.size else values, WHITE)
    stored, step, offset = _stored(values)
    affine = _pictures_affine(series) if series.grid.affine is None else series.grid.affine
    volume = nibabel.as_closest_canonical(nibabel.Nifti1Image(series.to_source(stored), affine))
    volume.header.set_slope_inter(step, offset)
    path.write_bytes(gzip.compress(volume.to_bytes(), compresslevel=1, mtime=0))
    return {
        "channel": channel,
        "name": path.name,
        "file": FileData(path=str(path)).model_dump(),
        "black": float(black),
        "white": float(max(white, black + 1e-6)),
    }


def _centre(mask: NDArray[np.bool_]) -> list[int]:
    """Where the crosshair stands first, as voxels to the right and to the front: in the outline's middle."""
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    row, column = (rows.mean(), columns.mean()) if rows.size else (height / 2, width / 2)
    return [int(width - 1 - column), int(height - 1 - row)]


def _stored(values: NDArray[np.float32]) -> tuple[NDArray[np.int16], float, float]:
    """A sequence in 16 bits, with the step and the offset that lead back to the file's own units.

    Whole numbers stay as they are. Others, of resampled volumes say, come in as many steps as a scanner's:
    32-bit numbers take four times as long to pack and to send.
    """
    low, high = float(values.min()), float(values.max())
    if max(-low, high) <= LARGEST:
        whole = values.astype(np.int16)
        if (whole == values).all():
            return whole, 1.0, 0.0
    step = (high - low) / STEPS
    return ((values - low) / step).round().astype(np.int16), step, low
