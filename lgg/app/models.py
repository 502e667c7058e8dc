"""The models that the page runs: every cascade that has weights, and others in their place when they fail."""

from dataclasses import dataclass, replace
from pathlib import Path

from lgg.cascade import DEFAULT_ARCHITECTURE, Cascade
from lgg.engine import best_device, make_engine
from lgg.errors import WeightsError
from lgg.models import GATE, SEGMENTERS, TITLES
from lgg.weights import REPOSITORY_WEIGHTS, available, defer_model, load_model
from lgg.weights.hub import Address, Source, find_address, load_pin, obtain


@dataclass(frozen=True)
class LoadedModels:
    """What can be run.

    cascades: architecture → cascade. reasons: architecture → why there is none.
    source: where the weights came from.
    warning: why these are not the weights that were asked for, or not all of those that are pinned, or "".
    """

    cascades: dict[str, Cascade]
    reasons: dict[str, str]
    source: Source
    warning: str = ""


def load_models(weights: Path | str | None = None) -> LoadedModels:
    """Load the weights that are meant, or else those in the repository; never fails.

    Args:
        weights: as `lgg.weights.hub.find_address` takes them.
    """
    try:
        models = _load(find_address(weights))
    except WeightsError as error:
        return replace(_load(Address(REPOSITORY_WEIGHTS)), warning=str(error))
    if models.cascades or models.source.folder.resolve() == REPOSITORY_WEIGHTS:
        return models
    warning = models.warning or next(iter(models.reasons.values()))
    return replace(_load(Address(REPOSITORY_WEIGHTS)), warning=warning[:1].upper() + warning[1:])


def _load(address: Address) -> LoadedModels:
    """Everything at one address.

    Raises:
        WeightsError: the Hub does not hand over the gate.
    """
    source = obtain(address, (GATE,))
    pin = load_pin() if address.folder is None else None
    pinned = pin.models if pin and pin.revision == source.revision else ()
    missing: dict[str, str] = {}
    if address.folder is None:
        # What is not pinned is not asked for: without a network each question takes its time.
        for name in [name for name in SEGMENTERS if name in pinned or not pinned]:
            try:
                obtain(replace(address, revision=source.revision), (name,))
            except WeightsError as error:
                missing[name] = str(error)
    cascades, reasons = load_cascades(source.folder, source)
    reasons = {name: missing.get(name, reason) for name, reason in reasons.items()}
    # Of what is pinned it is known that it was there: the page says so where it lacks some of it.
    lost = [f"{TITLES[name]}: {reason}" for name, reason in reasons.items() if name in pinned]
    return LoadedModels(cascades, reasons, source, " ".join(lost))


def load_cascades(folder: Path, source: Source | None = None) -> tuple[dict[str, Cascade], dict[str, str]]:
    """Every segmenter that has weights in a folder, with one gate for all.

    On a GPU all networks are read at the start: ZeroGPU lends its own only to models that were there before
    the first request. On a CPU they are checked, and read when they are asked for; OpenVINO needs them only
    where it has not converted them before. The first visitor does not wait for the gate or the default.

    Returns:
        architecture → cascade, and architecture → why there is none.
    """
    device = best_device()
    read = defer_model if device == "cpu" else load_model
    try:
        gate = read(folder / GATE)
        gate_engine = make_engine(gate[0], gate[1], device)
        gate_engine.load()
    except WeightsError as error:
        return {}, dict.fromkeys(SEGMENTERS, f"the gate is missing. {error}")
    cascades: dict[str, Cascade] = {}
    reasons = dict.fromkeys(SEGMENTERS, "no weights in this repository yet")
    for name in [name for name in SEGMENTERS if name in available(folder)]:
        try:
            cascade = Cascade(gate, read(folder / name), device, source, gate_engine=gate_engine)
            if name == DEFAULT_ARCHITECTURE:
                cascade.engine.load()
            cascades[name] = cascade
            del reasons[name]
        except WeightsError as error:
            reasons[name] = str(error)
    return cascades, reasons
