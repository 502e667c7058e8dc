"""From slices to the network's input, and from its output back to the slices' own grid.

Training, evaluation, the library and the page all call `resize_pad` and `normalise`: what a network sees
when it serves is, tensor for tensor, what it saw when it learned.

A slice is shifted and scaled by the mean and standard deviation of each channel *inside the head*, scalp
and skull left out, so the input does not change when an image is multiplied by a positive constant. The
statistics are those of the slice (a lone upload) or of the whole volume (a series); the networks are trained
with both.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from lgg.types import FLAIR

if TYPE_CHECKING:
    from torch import Tensor

StatisticsMode = Literal["slice", "volume"]

#: Smoothing before Otsu, as a share of the longer side: 2 px at 256.
HEAD_SMOOTHING = 1 / 128
#: Z-scores are held within ±this. In a slice of near-constant noise, or one whose head was not found, they
#: would reach ten thousands, and a single such slice spoils BatchNorm's statistics for good. Tissue stays
#: below it: in volumes of the data set, 3 pixels in 100,000 do not.
LARGEST_Z = 6.0
#: How far inside the head's rim the statistics begin, as a share of the side of a square of the head's area:
#: past scalp and skull. Where scalp is bright, it squeezes the z-scores of the whole brain together: with it,
#: tumour and brain lie 3.6 of their spreads between the 80 training patients apart, without it 4.5.
RIM = 0.08
#: A "head" below this share of the picture is noise; statistics then come from the whole picture.
SMALLEST_HEAD = 0.01


def head_mask(flair: NDArray[np.floating]) -> NDArray[np.bool_]:
    """The head: largest component of the smoothed FLAIR above its Otsu threshold, holes filled.

    The threshold is taken on the square root of the intensities: on the intensities themselves it parts
    bright scalp from brain in many slices, instead of head from air.

    Args:
        flair: (H, W) a slice or (N, H, W) a volume in slice order; any finite range.

    Returns:
        bool of the same shape; all False where the picture is constant.
    """
    sigma = max(flair.shape[-2:]) * HEAD_SMOOTHING
    smooth = ndimage.gaussian_filter(flair.astype(np.float64), (0, sigma, sigma)[-flair.ndim :])
    if smooth.max() <= smooth.min():
        return np.zeros(flair.shape, bool)
    smooth = np.sqrt(smooth - smooth.min())
    # As np.histogram counts, in a tenth of the time; a slice at a time, to save memory.
    levels, step = np.zeros(256, np.int64), smooth.max() / 256
    for slice_ in smooth.reshape(-1, *smooth.shape[-2:]):
        levels += np.bincount(np.minimum(slice_ / step, 255).astype(np.uint8).ravel(), minlength=256)
    threshold = threshold_otsu(hist=(levels, (np.arange(256) + 0.5) * step))
    components, count = ndimage.label(smooth > threshold)
    if count == 0:
        return np.zeros(flair.shape, bool)
    largest = components == 1 + np.argmax(np.bincount(components.ravel())[1:])
    if largest.ndim == 2:
        return _fill_holes(largest)
    # Slice by slice: the cut through the neck opens a volume's cavities, a slice's stay closed.
    return np.stack([_fill_holes(slice_) for slice_ in largest])


def _fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) bool with what it encloses; scipy's `binary_fill_holes` says the same in five times the time."""
    around, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    return around[1:-1, 1:-1] != around[0, 0]


def inner_head(head: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The head without its rim of scalp and skull, slice by slice.

    Args:
        head: (H, W) or (N, H, W) bool with some True; a volume's largest slice says how wide the rim is.

    Returns:
        bool of the same shape; the head itself where the rim would take all of it.
    """
    slices = head[None] if head.ndim == 2 else head
    rim = RIM * float(np.sqrt(slices.sum((1, 2)).max()))
    inner = np.zeros_like(slices)
    for slice_, deep in zip(slices, inner, strict=True):
        if not slice_.any():
            continue
        (box,) = ndimage.find_objects(slice_.view(np.uint8))  # the rest is no head
        # Beyond the picture there is no head either: a cropped one has a rim there too.
        distance = ndimage.distance_transform_edt(np.pad(slice_[box], 1))
        deep[box] = distance[1:-1, 1:-1] > rim
    return (inner if inner.any() else slices).reshape(head.shape)


def statistics(
    pixels: NDArray[np.float32], head: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each channel inside the head: (3,) float32 both, the latter above 0.

    Args:
        pixels: (..., H, W, 3), a slice or a volume.
        head: (..., H, W) bool. Where it covers too little to be one, the whole picture counts.
    """
    inside = inner_head(head) if head.mean() >= SMALLEST_HEAD else np.ones_like(head)
    # Rows, along which numpy adds up ten times as fast.
    channels = np.stack([pixels[..., channel][inside] for channel in range(pixels.shape[-1])])
    mean, std = channels.mean(1, dtype=np.float64), channels.std(1, dtype=np.float64)
    # A channel without contrast (black, say) carries no scale of its own: it becomes zeros.
    flat = std <= 1e-6 * np.abs(channels).max(1)
    return mean.astype(np.float32), np.where(flat, 1, std).astype(np.float32)


def resize(pictures: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """(..., H, W) float32 to (..., height, width), by linear interpolation with antialiasing."""
    flat = pictures.reshape(-1, *pictures.shape[-2:])
    resized = np.empty((len(flat), height, width), np.float32)
    for source, target in zip(flat, resized, strict=True):
        target[:] = np.asarray(Image.fromarray(source).resize((width, height), Image.Resampling.BILINEAR))
    return resized.reshape(*pictures.shape[:-2], height, width)


def _place(height: int, width: int, size: int) -> tuple[slice, slice]:
    """The rows and columns in which a picture lies in the square network input of side `size`.

    Its longer side is scaled to `size`, the shorter in proportion and centred.
    """
    scaled = [max(1, round(side * size / max(height, width))) for side in (height, width)]
    starts = [(size - side) // 2 for side in scaled]
    rows, columns = (slice(start, start + side) for start, side in zip(starts, scaled, strict=True))
    return rows, columns


def resize_pad(pixels: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Scale the longer side to `size` and pad the shorter with the channel's darkest value.

    Args:
        pixels: (N, H, W, C) float32 in the file's units.
        size: side of the network's input in pixels.

    Returns:
        (N, C, size, size) float32 in the same units.
    """
    batch = np.ascontiguousarray(np.moveaxis(pixels, -1, 1), np.float32)
    rows, columns = _place(pixels.shape[1], pixels.shape[2], size)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if batch.shape[-2:] != (height, width):
        batch = resize(batch, height, width)
    if height == width == size:
        return batch
    square = np.tile(batch.min((-2, -1), keepdims=True), (size, size))
    square[..., rows, columns] = batch
    return square


Array = TypeVar("Array", NDArray[np.float32], "Tensor")


def normalise(resized: Array, mean: Array, std: Array) -> Array:
    """The z-score of each channel, within ±`LARGEST_Z`: (N, C, S, S) by (N, C) statistics, float32.

    Of numpy's arrays, or of tensors wherever they lie.
    """
    scores = resized - mean[..., None, None]
    scores /= std[..., None, None]
    return scores.clip(-LARGEST_Z, LARGEST_Z)


@dataclass(frozen=True)
class Prepared:
    """N slices of one size, ready for the networks: with their heads and statistics.

    Attributes:
        pixels: (N, H, W, 3) float32 in the file's own units.
        heads: (N, H, W) bool, where the head was found.
        mean, std: (N, 3) float32 inside the head: each slice's own, or N times those of the volume.
    """

    pixels: NDArray[np.float32]
    heads: NDArray[np.bool_]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: slice | list[int] | NDArray[np.bool_]) -> "Prepared":
        return Prepared(self.pixels[rows], self.heads[rows], self.mean[rows], self.std[rows])

    def mirror(self) -> "Prepared":
        """Left and right exchanged; the statistics stay."""
        pixels = np.ascontiguousarray(self.pixels[:, :, ::-1])
        return replace(self, pixels=pixels, heads=self.heads[..., ::-1])

    def network_input(self, size: int) -> NDArray[np.float32]:
        """What a network sees: (N, 3, size, size) float32."""
        return normalise(resize_pad(self.pixels, size), self.mean, self.std)


def prepare(pixels: NDArray[np.float32], mode: StatisticsMode) -> Prepared:
    """Slices with their heads and statistics.

    Args:
        pixels: (N, H, W, 3) float32; with `mode="volume"` the slices of one series in their order.
        mode: whether each slice has its own statistics or all share those of the volume.
    """
    flair = pixels[..., FLAIR]
    if mode == "volume":
        heads = head_mask(flair)
        stats = [statistics(pixels, heads)] * len(pixels)
    else:
        heads = np.stack([head_mask(slice_) for slice_ in flair])
        stats = [statistics(slice_, head) for slice_, head in zip(pixels, heads, strict=True)]
    mean, std = (np.stack(values) for values in zip(*stats, strict=True))
    return Prepared(pixels, heads, mean, std)


def undo(maps: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """The inverse of `resize_pad` for maps of the network's output.

    Args:
        maps: (N, size, size) float32, such as tumour probabilities.
        height, width: of the slices.

    Returns:
        (N, H, W) float32 on the grid of the slices, range kept.
    """
    inner = maps[:, *_place(height, width, maps.shape[-1])]
    return inner if inner.shape[1:] == (height, width) else resize(inner, height, width)
