"""Weights on disk: a folder a model, `model.safetensors` beside a `config.json` that says what it is.

Floats are stored as fp16, BatchNorm's running statistics as fp32 (their variances overflow and underflow
fp16). Loading is strict and checks the file's sha256: weights that are not exactly those that were described
never run. Nothing is ever unpickled.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from lgg.errors import WeightsError
from lgg.files import write_atomically, write_text
from lgg.models import BUILDERS, build, parameters
from lgg.types import SEQUENCES, Thresholds

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# torch takes seconds to import. Only who reads or writes a network waits for it: a page whose networks were
# converted before needs none.

WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
#: Raised when a config means something that older code would misread.
FORMAT = 2
#: How the names of BatchNorm's tensors end that are no parameters.
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
#: sha256 of the files that were hashed, by what the system changes whenever it writes to them.
_HASHED: dict[tuple[int, ...], str] = {}
#: The weights that ship with the repository; an installed package has none.
REPOSITORY_WEIGHTS = Path(__file__).resolve().parents[2] / "weights"


@dataclass(frozen=True)
class ModelConfig:
    """All that is known about a model's weights; `config.json` is exactly this."""

    architecture: str
    """A name of `lgg.models.BUILDERS`."""
    input_size: int
    """Side of the square input in pixels."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    """Where its probabilities become decisions."""
    series_thresholds: Thresholds | None = None
    """The same for a series, whose neighbouring slices clear false alarms away, so that the gate can let more
    pass; None: as for a lone slice."""
    temperature: float = 1.0
    """The gate's logits are divided by it, so that its probabilities mean what they say (Guo, 2017)."""
    channels: tuple[str, ...] = SEQUENCES
    """Meaning of the input's channels."""
    normalisation: str = (
        "z-score of each channel inside the head without its rim, by the slice's or the volume's statistics"
    )
    """What `lgg.preprocess` does to the intensities."""
    parameters: int = 0
    """How many parameters the network has."""
    data: str = ""
    """What it was trained on."""
    split: dict[str, Any] = field(default_factory=dict)
    """Protocol, and the patients of its sides."""
    recipe: list[dict[str, Any]] = field(default_factory=list)
    """The recipe of each stage of its training."""
    training: dict[str, Any] = field(default_factory=dict)
    """How the encoder began, epochs, minutes, hardware."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """What `python -m train report` measured."""
    sha256: str = ""
    """Of `model.safetensors`, in hex."""
    date: str = ""
    """When training ended, as YYYY-MM-DD."""
    format: int = FORMAT
    """Version of this layout."""


def save_model(folder: Path, model: "nn.Module", config: ModelConfig) -> ModelConfig:
    """Write a model's folder; its `README.md`, if any, stays.

    Raises:
        WeightsError: a weight is not finite in fp16; nothing is written then.

    Returns:
        The config as written, with sha256 and parameter count filled in.
    """
    from safetensors.torch import save

    tensors = {name: _compact(name, value) for name, value in model.state_dict().items()}
    if not all(value.isfinite().all() for value in tensors.values()):
        raise WeightsError("The weights are not finite, or too large for fp16: they are not worth keeping.")
    # No metadata beyond one key: safetensors would write more in random order, and the hash would change.
    # To memory first: its own file writer hides a full disk behind an error of another kind.
    stored = save(tensors, {"format": "pt"})
    write_atomically(folder / WEIGHTS_FILE, lambda path: path.write_bytes(stored))
    config = replace(config, sha256=hashlib.sha256(stored).hexdigest(), parameters=parameters(model))
    save_config(folder, config)
    return config


def save_config(folder: Path, config: ModelConfig) -> None:
    """Write `config.json` alone, for thresholds or metrics found later."""
    write_text(folder / CONFIG_FILE, json.dumps(asdict(config), indent=1) + "\n")


def load_config(folder: Path) -> ModelConfig:
    """Read and check `config.json`.

    Raises:
        WeightsError: it is missing, damaged, newer than this code, or of an unknown architecture.
    """
    try:
        stored = json.loads((folder / CONFIG_FILE).read_text())
    except FileNotFoundError:
        raise WeightsError(
            f"There are no weights '{folder.name}' here: {CONFIG_FILE} is missing. "
            "Train or download them first."
        ) from None
    except (OSError, ValueError):
        raise WeightsError(f"{CONFIG_FILE} of '{folder.name}' cannot be read. Download it again.") from None
    if not isinstance(stored, dict) or not isinstance(stored.get("format"), int):
        raise WeightsError(f"{CONFIG_FILE} of '{folder.name}' is not one of this project's.")
    if stored["format"] > FORMAT:
        raise WeightsError(f"The weights '{folder.name}' were made by newer code. Update this project.")
    if stored["format"] < FORMAT:
        raise WeightsError(f"The weights '{folder.name}' expect an older preprocessing. Train them anew.")
    try:
        stored["thresholds"] = _thresholds(stored["thresholds"])
        series = stored.get("series_thresholds")  # weights of before 2026-11-25 have none
        stored["series_thresholds"] = None if series is None else _thresholds(series)
        stored["channels"] = tuple(stored["channels"])
        config = ModelConfig(**{entry.name: stored[entry.name] for entry in fields(ModelConfig)})
    except (KeyError, TypeError, ValueError, AttributeError):
        raise WeightsError(f"{CONFIG_FILE} of '{folder.name}' lacks or mistakes an entry.") from None
    if config.architecture not in list(BUILDERS):  # a list: JSON may hold what cannot be hashed
        raise WeightsError(
            f"The weights '{folder.name}' are for another network; known are {', '.join(BUILDERS)}."
        )
    both = [config.thresholds, config.series_thresholds or config.thresholds]
    probabilities = [value for thresholds in both for value in asdict(thresholds).values()]
    temperature, size = config.temperature, config.input_size
    sensible = {
        "thresholds": all(0 <= value <= 1 for value in probabilities),
        "temperature": isinstance(temperature, int | float) and 0 < temperature < float("inf"),
        "input size": isinstance(size, int) and 32 <= size <= 1024,
    }
    if wrong := [what for what, holds in sensible.items() if not holds]:
        raise WeightsError(f"{CONFIG_FILE} of '{folder.name}' states no sensible {', '.join(wrong)}.")
    return config


def _thresholds(stored: dict[str, Any]) -> Thresholds:
    return Thresholds(**{name: float(value) for name, value in stored.items()})


def load_model(folder: Path, device: "torch.device | str" = "cpu") -> tuple["nn.Module", ModelConfig]:
    """A network with its weights, in float32 and evaluation mode, and its config.

    Raises:
        WeightsError: as `check_model`; or a value is not finite.
    """
    import torch
    from safetensors.torch import load

    with _described(folder) as (config, file):
        tensors = load(file.read())
    with torch.device("meta"):  # what a fresh network begins with would be made only to be written over
        model = build(config.architecture)
    wanted = model.state_dict()
    shapes, expected = ({name: value.shape for name, value in all_.items()} for all_ in (tensors, wanted))
    if shapes != expected:
        raise WeightsError(_misfit(folder, config))
    if not all(value.isfinite().all() for value in tensors.values()):
        raise WeightsError(f"The weights '{folder.name}' hold values that are not finite.")
    tensors = {name: value.to(wanted[name].dtype) for name, value in tensors.items()}
    model.load_state_dict(tensors, assign=True)
    return model.to(device).to(memory_format=torch.channels_last).eval(), config


def check_model(folder: Path) -> ModelConfig:
    """The config, after what can be checked without the network itself; nothing is kept in memory.

    Names and shapes are compared when the weights are read.

    Raises:
        WeightsError: as `load_config`; or the weights are missing, truncated, altered, or not as many as the
            config says.
    """
    with _described(folder) as (config, _), safe_open(folder / WEIGHTS_FILE, "np") as stored:
        sizes = {name: math.prod(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    found = sum(size for name, size in sizes.items() if not name.endswith(BUFFERS))
    if found != config.parameters:
        raise WeightsError(_misfit(folder, config))
    return config


def _misfit(folder: Path, config: ModelConfig) -> str:
    return f"The weights '{folder.name}' do not fit the architecture {config.architecture}."


@contextmanager
def _described(folder: Path) -> Iterator[tuple[ModelConfig, BufferedReader]]:
    """A config, and the open file that it describes, hashed."""
    config = load_config(folder)
    try:
        with (folder / WEIGHTS_FILE).open("rb") as file:
            if sha256_of(file) != config.sha256:
                raise WeightsError(
                    f"{WEIGHTS_FILE} of '{folder.name}' is not the file that {CONFIG_FILE} describes: "
                    "truncated, altered, or of another version. Download both again."
                )
            yield config, file
    except OSError:
        raise WeightsError(f"{WEIGHTS_FILE} of '{folder.name}' is missing. Download it again.") from None
    except SafetensorError:
        raise WeightsError(f"{WEIGHTS_FILE} of '{folder.name}' is not a safetensors file.") from None


def sha256_of(file: BufferedReader) -> str:
    """The sha256 of an open file, in hex; the file is left at its beginning.

    A file that has not changed since is not hashed again: the page downloads, checks and loads each file, and
    hashing all of them takes as long as reading them.
    """
    stat = os.fstat(file.fileno())
    key = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if key not in _HASHED:
        _HASHED[key] = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    return _HASHED[key]


def available(folder: Path = REPOSITORY_WEIGHTS) -> list[str]:
    """Names of the architectures that have weights in `folder`, in the registry's order."""
    return [name for name in BUILDERS if (folder / name / WEIGHTS_FILE).is_file()]


def _compact(name: str, value: "Tensor") -> "Tensor":
    """fp16, but for BatchNorm's statistics and its integer counter."""
    running = name.endswith(("running_mean", "running_var"))
    kept = value if running or not value.is_floating_point() else value.half()
    return kept.detach().cpu().contiguous()


@dataclass(frozen=True)
class DeferredModel:
    """Stands for the network in a folder, whose weights were checked but not read."""

    folder: Path
    sha256: str
    """Of the weights that are meant."""

    def load(self, device: "torch.device | str" = "cpu") -> "nn.Module":
        """The network itself, on a device, read now.

        Raises:
            WeightsError: the weights have changed since, or cannot be read any more.
        """
        network, config = load_model(self.folder, device)
        if config.sha256 != self.sha256:
            raise WeightsError(
                f"The weights '{self.folder.name}' were replaced while the page was running. Start it again."
            )
        return network


def defer_model(folder: Path) -> tuple[DeferredModel, ModelConfig]:
    """As `lgg.weights.load_model`, but only checked, not read.

    Raises:
        WeightsError: as `check_model`.
    """
    config = check_model(folder)
    return DeferredModel(folder, config.sha256), config
