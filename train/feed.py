"""From the data set to the device: resident where it fits, else streamed ahead of the step that needs it."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import torch
from torch import Tensor

from train.dataset import Slices

Memory = Literal["auto", "resident", "streamed"]
#: Share of the device's free memory that the data set may take; the rest is the network's.
SHARE = 0.4
#: Batches prepared ahead of the one that the device works on.
AHEAD = 2


class Feed:
    """Hands out batches on the device and keeps the time that was spent waiting for them."""

    def __init__(self, slices: Slices, device: torch.device, memory: Memory = "auto") -> None:
        """`auto` keeps the slices on the device if they take no more than `SHARE` of its free memory."""
        self.device = device
        self.resident = memory == "resident" or (memory == "auto" and fits(slices, device))
        self.slices = slices.to(device) if self.resident else slices
        self.seconds_waited = 0.0

    def __len__(self) -> int:
        return len(self.slices)

    def batches(self, indices: Sequence[Tensor]) -> Iterator[Slices]:
        """The slices at each of `indices` ((n,) int64, on the CPU), in this order."""
        source = self._resident(indices) if self.resident else self._streamed(indices)
        while True:
            began = time.perf_counter()
            batch = next(source, None)
            self.seconds_waited += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    def _resident(self, indices: Sequence[Tensor]) -> Iterator[Slices]:
        for index in indices:
            yield self.slices[index.to(self.device)]

    def _streamed(self, indices: Sequence[Tensor]) -> Iterator[Slices]:
        with ThreadPoolExecutor(1) as pool:
            waiting: deque[Future[Slices]] = deque()
            for index in indices:
                waiting.append(pool.submit(self._gather, index))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result().to(self.device, non_blocking=True)
            while waiting:
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
