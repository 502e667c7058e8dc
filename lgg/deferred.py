"""A network that is read when it is first run: all five weigh more than most visitors ask for."""

import threading
from pathlib import Path

import torch
from torch import Tensor, nn

from lgg.errors import WeightsError
from lgg.weights import ModelConfig, check_model, load_model


class DeferredModel(nn.Module):
    """Stands for the network in a folder, and runs where its first input lies. Threads may share it."""

    def __init__(self, folder: Path, sha256: str) -> None:
        """`sha256` is that of the weights that are meant."""
        super().__init__()
        self._folder, self._sha256 = folder, sha256
        self._lock = threading.Lock()
        self._network: nn.Module | None = None

    def read(self, device: torch.device) -> nn.Module:
        """The network itself, on a device; read now if it was not before.

        Raises:
            WeightsError: the weights have changed since, or cannot be read any more.
        """
        with self._lock:
            if self._network is None:
                network, config = load_model(self._folder, device)
                if config.sha256 != self._sha256:
                    raise WeightsError(
                        f"The weights '{self._folder.name}' were replaced while the page was running. "
                        "Start it again."
                    )
                self._network = network
            return self._network

    def forward(self, inputs: Tensor) -> Tensor:
        """The network's logits; raises as `read`."""
        logits: Tensor = self.read(inputs.device)(inputs)
        return logits


def defer_model(folder: Path) -> tuple[nn.Module, ModelConfig]:
    """As `lgg.weights.load_model` on a CPU, but only checked, not read.

    Raises:
        WeightsError: as `check_model`.
    """
    config = check_model(folder)
    return DeferredModel(folder, config.sha256).eval(), config
