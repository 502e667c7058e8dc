"""The slices of one side of a split, ready for the device: resized once, normalised in each step.

Kept as the library's `fit` leaves them, in raw units, beside both kinds of statistics, so that a step can mix
slice and volume statistics by the library's own `normalise`.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lgg.preprocess import fit, measure
from train.index import SliceFiles, Volume, load_volume


@dataclass(frozen=True)
class Slices:
    """N slices of any number of patients.

    Attributes:
        fitted: (N, 3, S, S) float32, raw units.
        masks: (N, 1, S, S) float32, the share of tumour in each pixel, 0 to 1.
        tumour: (N,) bool, whether the slice holds any tumour at its own resolution.
        mean, std: (N, 2, 3) float32, statistics of the slice and of its volume.
        patient: (N,) int64, index into the patients given.
    """

    fitted: Tensor
    masks: Tensor
    tumour: Tensor
    mean: Tensor
    std: Tensor
    patient: Tensor

    def __len__(self) -> int:
        return len(self.fitted)

    @property
    def bytes(self) -> int:
        """Memory that the slices take."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def to(self, device: torch.device, non_blocking: bool = False) -> "Slices":
        """The same on another device."""
        moved = (getattr(self, field.name).to(device, non_blocking=non_blocking) for field in fields(self))
        return Slices(*moved)

    def pin_memory(self) -> "Slices":
        """The same in page-locked memory, from which CUDA copies while it computes."""
        return Slices(*(getattr(self, field.name).pin_memory() for field in fields(self)))

    def fingerprint(self) -> str:
        """A hash of the slices' statistics and masks: other data has another, other paths have not."""
        digest = hashlib.sha256()
        for one in (self.mean, self.std, self.tumour, self.masks.sum((1, 2, 3))):
            digest.update(one.cpu().numpy().tobytes())
        return digest.hexdigest()

    def __getitem__(self, index: Tensor) -> "Slices":
        return Slices(*(getattr(self, field.name)[index] for field in fields(self)))


def load_slices(
    patients: dict[str, list[SliceFiles]], size: int, keep: Sequence[str] | None = None, quiet: bool = False
) -> Slices:
    """Read patients into one `Slices`.

    Args:
        patients: as `index_folder` returns them.
        size: side of the network's input.
        keep: the slices wanted, as `<patient>_<number>`; all by default. Volume statistics are always
            those of the whole volume.

    Raises:
        DataError: as `load_volume`.
    """
    wanted = None if keep is None else set(keep)

    def load(item: tuple[int, list[SliceFiles]]) -> Slices:
        number, slices = item
        rows = [row for row, one in enumerate(slices) if wanted is None or one.key in wanted]
        return volume_slices(load_volume(slices), number, size)[torch.tensor(rows, dtype=torch.long)]

    with ThreadPoolExecutor(2) as pool:
        work = pool.map(load, enumerate(patients.values()))
        parts = list(tqdm(work, "reading", len(patients), unit="patient", disable=quiet))
    return Slices(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Slices)))


def volume_slices(volume: Volume, patient: int, size: int) -> Slices:
    """One volume as `Slices`."""
    # Of the slice first, of the volume second: the order of `train.augment.SLICE` and `VOLUME`.
    pairs = list(zip(measure(volume.pixels, "slice")[1], measure(volume.pixels, "volume")[1], strict=True))
    masks = fit(volume.masks[..., None].astype(np.float32), size)
    return Slices(
        fit(volume.pixels, size),
        masks,
        torch.from_numpy(volume.tumour),
        torch.from_numpy(np.stack([[one.mean for one in pair] for pair in pairs])),
        torch.from_numpy(np.stack([[one.std for one in pair] for pair in pairs])),
        torch.full((len(masks),), patient),
    )
