"""Slices on their way to the network: read and resized once, kept or streamed, drawn and weighted.

They stay as the library's `resize_pad` leaves them, in raw units, beside both kinds of statistics, so that a
step can mix slice and volume statistics by the library's own `normalise`.
"""

import hashlib
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lgg.models import GATE
from lgg.preprocess import prepare, resize_pad
from train.data.kaggle_3m import SliceFiles, Volume, chosen_rows, load_volume

#: Share of the device's free memory that the data set may take; the rest is the network's.
SHARE = 0.4
#: Batches prepared ahead of the one that the device works on.
AHEAD = 2


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
        return fingerprint((self.mean, self.std, self.tumour, self.masks.sum((1, 2, 3))))

    def __getitem__(self, index: Tensor) -> "Slices":
        return Slices(*(getattr(self, field.name)[index] for field in fields(self)))


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """A hash of tensors, by which a run that is resumed knows its data and its teacher again."""
    digest = hashlib.sha256()
    for values in tensors:
        digest.update(values.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def load_slices(
    patients: dict[str, list[SliceFiles]], size: int, ids: Collection[str] | None = None
) -> Slices:
    """Read patients into one `Slices`.

    Args:
        patients: as `index_folder` returns them.
        size: side of the network's input.
        ids: the patients or slices wanted; all by default. Volume statistics are those of the whole volume.

    Raises:
        DataError: as `load_volume`.
    """
    named = None if ids is None else set(ids)
    wanted = [(slices, rows) for slices in patients.values() if (rows := chosen_rows(slices, named))]

    def load(number: int) -> Slices:
        slices, rows = wanted[number]
        return volume_slices(load_volume(slices), number, size)[torch.tensor(rows)]

    with ThreadPoolExecutor(2) as pool:
        work = pool.map(load, range(len(wanted)))
        parts = list(tqdm(work, "reading", len(wanted), unit="patient"))
    return Slices(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Slices)))


def volume_slices(volume: Volume, patient: int, size: int) -> Slices:
    """One volume as `Slices`."""
    # Of the slice first, of the volume second: the order of `train.data.augment.SLICE` and `VOLUME`.
    both = [prepare(volume.pixels, mode) for mode in ("slice", "volume")]
    mean, std = (np.stack([getattr(kind, name) for kind in both], axis=1) for name in ("mean", "std"))
    masks = resize_pad(volume.masks[..., None].astype(np.float32), size)
    return Slices(
        torch.from_numpy(resize_pad(volume.pixels, size)),
        torch.from_numpy(masks),
        torch.from_numpy(volume.tumour),
        torch.from_numpy(mean),
        torch.from_numpy(std),
        torch.full((len(masks),), patient),
    )


class Loader:
    """Batches on the device, from there or streamed to it, and the time spent waiting for them."""

    def __init__(self, slices: Slices, device: torch.device) -> None:
        """Keeps the slices on the device if they take no more than `SHARE` of its free memory."""
        self.device = device
        self.resident = fits(slices, device)
        self.slices = slices.to(device) if self.resident else slices
        self.seconds_waited = 0.0

    def __len__(self) -> int:
        return len(self.slices)

    def batches(self, indices: Sequence[Tensor]) -> Iterator[Slices]:
        """The slices at each of `indices` ((n,) int64, on the CPU), in this order."""
        resident = (self.slices[index.to(self.device)] for index in indices)
        source = resident if self.resident else self._streamed(indices)
        while True:
            began = time.perf_counter()
            batch = next(source, None)
            self.seconds_waited += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    def _streamed(self, indices: Sequence[Tensor]) -> Iterator[Slices]:
        with ThreadPoolExecutor(1) as pool:
            work = (pool.submit(self._gather, index) for index in indices)
            waiting = deque(islice(work, AHEAD))
            while waiting:
                waiting.extend(islice(work, 1))
                yield waiting.popleft().result().to(self.device, non_blocking=True)

    def _gather(self, index: Tensor) -> Slices:
        batch = self.slices[index]
        # Only pinned memory crosses to CUDA while the device computes.
        return batch.pin_memory() if self.device.type == "cuda" else batch


def fits(slices: Slices, device: torch.device) -> bool:
    """Whether the device can hold them beside a network; beside the CPU's own memory, always."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return slices.bytes <= SHARE * free


def draw_epoch(tumour: Tensor, count: int, tumour_weight: float, generator: torch.Generator) -> Tensor:
    """Indices of an epoch's slices: (count,) int64.

    Without replacement as far as the set reaches, so an epoch shows as many different slices as it can.

    Args:
        tumour: (N,) bool.
        tumour_weight: a slice with tumour comes up about this many times as often as one without.
    """
    weights = torch.where(tumour.cpu(), float(tumour_weight), 1.0).double()
    return torch.multinomial(weights, count, replacement=count > len(weights), generator=generator)


def pos_weight(slices: Slices, architecture: str) -> Tensor:
    """The reference's `pos_weight`, a scalar: empty pixels for each tumour pixel; of the gate, slices."""
    if architecture == GATE:
        return (~slices.tumour).sum() / slices.tumour.sum().clamp(min=1)
    share = slices.masks.mean(dtype=torch.float64)
    return ((1 - share) / share.clamp(min=1e-6)).float()
