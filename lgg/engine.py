"""What runs a network: PyTorch anywhere, or OpenVINO on CPUs, numpy on both sides.

OpenVINO fuses a network's layers and, where the processor multiplies bf16 (AMX, AVX-512), runs them four to
five times as fast as PyTorch in fp32. Masks agree: a pooled Dice of at least 0.998 in bf16, 0.9999 in f32.
Where it has converted a network before, nothing imports PyTorch, which takes seconds and half a gigabyte.
"""

import hashlib
import logging
import os
import shutil
import sys
import tempfile
import threading
import warnings
from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lgg.errors import LggError
from lgg.models import GATE
from lgg.weights import DeferredModel, ModelConfig

if TYPE_CHECKING:
    import openvino
    from torch import nn

    Network = nn.Module | DeferredModel

log = logging.getLogger(__name__)
EngineName = Literal["torch", "openvino"]
#: Slices that go through a network at once.
BATCH = 8
#: The same with OpenVINO, which is hardly faster with eight, and keeps the memory of the largest batch.
OPENVINO_BATCH = 2
#: Says which engine runs the networks where no argument does.
VARIABLE = "LGG_ENGINE"
GRAPH, CHECKSUM = "graph.xml", "sha256"
#: Raised when networks are converted differently: what was kept before is left alone.
CONVERSION = 2
#: Where Linux shows a GPU: NVIDIA's, AMD's, and that of Windows beneath it.
GPU_FILES = ("nvidia*", "nvhost*", "nvgpu", "kfd", "dxg")

#: One network at a time: it takes all cores, and a second one beside it would only take them away.
_cores = threading.Lock()


class Engine(ABC):
    """Runs one network. Threads may share it.

    Attributes:
        name: `torch` or `openvino`.
        precision: in which it multiplies, `fp32` or `bf16`.
    """

    name: EngineName
    precision: str

    @abstractmethod
    def load(self) -> object:
        """Have the network in memory; it is loaded when it is first run otherwise.

        Raises:
            WeightsError: it has to be read, and cannot be.
        """

    @abstractmethod
    def _run(self, inputs: NDArray[np.float32], evidence: bool) -> NDArray[np.float32]: ...

    def __call__(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of (N, 3, S, S) float32 inputs, float32."""
        return self._run(inputs, evidence=False)

    def evidence(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of a gate alone: where its evidence lies, (N, h, w), as `lgg.models.gate` says."""
        return self._run(inputs, evidence=True)


def best_device() -> str:
    """`cuda`, else Apple's `mps`, else `cpu`. PyTorch, slow to import, is asked where there may be a GPU."""
    if sys.platform == "linux" and "SPACES_ZERO_GPU" not in os.environ:
        if not any(any(Path("/dev").glob(pattern)) for pattern in GPU_FILES):
            return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def threads() -> int:
    """Threads of a network on a CPU: `$OMP_NUM_THREADS`, else the cores that this process may use."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said):
        return int(said)
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def choose_engine(device: str, wanted: str | None = None) -> EngineName:
    """Which engine runs networks on a device.

    Args:
        device: as PyTorch names it, `cpu` or `cuda:1`.
        wanted: `torch` or `openvino`; by default `$LGG_ENGINE`, else OpenVINO. It is for CPUs alone.

    Raises:
        LggError: there is no such engine.
    """
    name = wanted or os.environ.get(VARIABLE) or ("openvino" if device == "cpu" else "torch")
    if name not in ("torch", "openvino"):
        raise LggError(f"There is no engine '{name}': choose torch or openvino ({VARIABLE}).")
    if name == "torch" or device != "cpu":
        return "torch"
    if find_spec("openvino") is None:
        log.info("PyTorch runs the networks. On CPUs OpenVINO is far faster: pip install openvino.")
        return "torch"
    return "openvino"


class TorchEngine(Engine):
    """A network as PyTorch runs it, in fp32 on any device."""

    name: EngineName = "torch"
    precision = "fp32"

    def __init__(self, network: "Network", device: str) -> None:
        """A network is moved to the device now; ZeroGPU lends its own to those that were there before."""
        self.network = network if isinstance(network, DeferredModel) else network.to(device).eval()
        self.device = device
        self._loading = threading.Lock()

    def load(self) -> "nn.Module":
        """The network, read now if it was deferred."""
        with self._loading:
            if isinstance(self.network, DeferredModel):
                self.network = self.network.load(self.device)
            return self.network

    def _run(self, inputs: NDArray[np.float32], evidence: bool) -> NDArray[np.float32]:
        import torch

        from lgg.models.gate import LogitsAndEvidence

        network = LogitsAndEvidence(self.load()) if evidence else self.load()
        answers = []
        with torch.inference_mode():
            for part in torch.from_numpy(inputs).split(BATCH):
                answer = network(part.to(self.device, memory_format=torch.channels_last))
                answers.append((answer[1] if evidence else answer).float().cpu())
            return torch.cat(answers).numpy()


class OpenVinoEngine(Engine):
    """A network as OpenVINO runs it on a CPU, from a graph that is converted once and kept on disk."""

    name: EngineName = "openvino"

    def __init__(self, network: "Network", config: ModelConfig, precision: str | None = None) -> None:
        """Nothing is read or converted yet.

        Args:
            network: a network, or a `DeferredModel`, which is only read where no converted graph is there.
            precision: `bf16` or `fp32`; by default bf16 where the processor multiplies it natively.
        """
        import openvino

        self._core = openvino.Core()
        native = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.precision = precision or ("bf16" if native else "fp32")
        self._network, self._config = network, config
        self._request: openvino.InferRequest | None = None
        self._loading = threading.Lock()

    def load(self) -> "openvino.InferRequest":
        """What runs the compiled graph, converted now if it was not before."""
        with self._loading:
            if self._request is None:
                settings = {
                    "INFERENCE_PRECISION_HINT": {"bf16": "bf16", "fp32": "f32"}[self.precision],
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": threads(),
                }
                graph = converted_graph(self._core, self._network, self._config, self.precision)
                self._request = self._core.compile_model(graph, "CPU", settings).create_infer_request()
            return self._request

    def _run(self, inputs: NDArray[np.float32], evidence: bool) -> NDArray[np.float32]:
        request = self.load()
        batches = [inputs[row : row + OPENVINO_BATCH] for row in range(0, len(inputs), OPENVINO_BATCH)]
        with _cores:
            # A copy: the next call writes its own answer into the request's memory.
            parts = [request.infer([batch])[int(evidence)].copy() for batch in batches]
        return np.concatenate(parts)


def make_engine(network: "Network", config: ModelConfig, device: str, wanted: str | None = None) -> Engine:
    """What runs a network.

    Networks that were handed over, without weights that a checksum names, are PyTorch's unless `wanted` says
    otherwise.

    Args:
        network: in evaluation mode, or a `DeferredModel`.
        wanted: as for `choose_engine`.

    Raises:
        LggError: there is no such engine.
    """
    if (wanted or config.sha256) and choose_engine(device, wanted) == "openvino":
        return OpenVinoEngine(network, config)
    return TorchEngine(network, device)


def cache_folder() -> Path:
    """Where converted graphs are kept, a folder each: `$LGG_CACHE`, by default `~/.cache/lgg`."""
    return Path(os.environ.get("LGG_CACHE", "~/.cache/lgg")).expanduser()


def converted_graph(
    core: "openvino.Core", network: "Network", config: ModelConfig, precision: str
) -> "openvino.Model":
    """A network as OpenVINO's graph, from the cache, or converted and put there if that can be written.

    Args:
        precision: in which it will be multiplied, `fp32` or `bf16`.
    """
    import openvino

    version = f"{openvino.__version__.split('-')[0]}-{CONVERSION}"
    name = f"{config.sha256}-{config.input_size}-{precision}-{version}"
    home = cache_folder() / name
    if config.sha256 and (kept := _kept_graph(core, home)) is not None:
        return kept
    graph = _convert(network, config)
    if config.sha256:
        _keep_graph(graph, home, precision)
        # From the disk: what was converted holds a second copy of the weights in memory.
        graph = _kept_graph(core, home) or graph
    return graph


def _convert(network: "Network", config: ModelConfig) -> "openvino.Model":
    import openvino
    import torch

    from lgg.models.gate import LogitsAndEvidence

    if isinstance(network, DeferredModel):
        network = network.load()  # for this alone: it is not kept
    if config.architecture == GATE:
        network = LogitsAndEvidence(network).eval()
    size = config.input_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: the input's size is fixed, and tracing is deprecated
        example = torch.zeros(1, 3, size, size)
        return openvino.convert_model(network, example_input=example, input=[-1, 3, size, size])


def _kept_graph(core: "openvino.Core", home: Path) -> "openvino.Model | None":
    """The graph in a folder; None where there is none, or it is damaged, which OpenVINO may not notice."""
    try:
        if (home / CHECKSUM).read_text() == _checksum(home):
            return core.read_model(home / GRAPH)
    except (OSError, RuntimeError):
        pass
    return None


def _keep_graph(graph: "openvino.Model", home: Path, precision: str) -> None:
    """Put a graph into a folder, whole or not at all; a disk that does not take it costs time only.

    What bf16 multiplies is kept in fp16, which is finer, and half as large on disk and in memory. For fp32 it
    would not do, though weights are stored so: BatchNorm, folded in, is no longer fp16.
    """
    import openvino

    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=".", suffix=".partial") as folder:
            partial = Path(folder) / "graph"
            partial.mkdir()
            openvino.save_model(graph, partial / GRAPH, compress_to_fp16=precision == "bf16")
            (partial / CHECKSUM).write_text(_checksum(partial))
            shutil.rmtree(home, ignore_errors=True)
            partial.rename(home)
    except (OSError, RuntimeError) as error:
        log.warning(
            "The converted network is not kept (%s): each start converts it anew.", error.__class__.__name__
        )


def _checksum(home: Path) -> str:
    digest = hashlib.sha256()
    for suffix in (".xml", ".bin"):
        with (home / GRAPH).with_suffix(suffix).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
