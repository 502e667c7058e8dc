"""The weights that the page runs: every cascade that they hold, and others in their place when they fail."""

from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from lgg.cascade import DEFAULT_ARCHITECTURE, Cascade, best_device
from lgg.engine import make_engine
from lgg.errors import WeightsError
from lgg.models import GATE, SEGMENTERS, TITLES
from lgg.weights import REPOSITORY_WEIGHTS, available, defer_model, load_model
from lgg.weights.hub import Address, Source, find_address, load_pin, obtain


@dataclass(frozen=True)
class Shelf:
    """What can be run.

    cascades: architecture → cascade. reasons: architecture → why there is none.
    source: where the weights came from.
    warning: why these are not the weights that were asked for, or not all of those that are pinned, or "".
    """

    cascades: dict[str, Cascade]
    reasons: dict[str, str]
    source: Source
    warning: str = ""


def open_shelf(weights: Path | str | None = None) -> Shelf:
    """Load the weights that are meant, or else those in the repository; never fails.

    Args:
        weights: as `lgg.weights.hub.find_address` takes them.
    """
    try:
        shelf = _load(find_address(weights))
    except WeightsError as error:
        return replace(_load(Address(REPOSITORY_WEIGHTS)), warning=str(error))
    if shelf.cascades or shelf.source.folder.resolve() == REPOSITORY_WEIGHTS:
        return shelf
    warning = shelf.warning or next(iter(shelf.reasons.values()))
    return replace(_load(Address(REPOSITORY_WEIGHTS)), warning=warning[:1].upper() + warning[1:])


def _load(address: Address) -> Shelf:
    """Everything at one address.

    Raises:
        WeightsError: the Hub does not hand over the gate.
    """
    source = obtain(address, (GATE,))
    missing: dict[str, str] = {}
    pin = load_pin() if address.folder is None else None
    pinned = pin.models if pin and pin.revision == source.revision else ()
    if address.folder is None:
        for name in SEGMENTERS:
            if pinned and name not in pinned:
                continue  # not asked for: without a network each question takes its time
            try:
                obtain(replace(address, revision=source.revision), (name,))
            except WeightsError as error:
                missing[name] = str(error)
    cascades, reasons = load_cascades(source.folder, source)
    reasons = {name: missing.get(name, reason) for name, reason in reasons.items()}
    # Of what is pinned it is known that it was there: the page says so where it lacks some of it.
    lost = [f"{TITLES[name]}: {reason}" for name, reason in reasons.items() if name in pinned]
    return Shelf(cascades, reasons, source, " ".join(lost))


def load_cascades(folder: Path, source: Source | None = None) -> tuple[dict[str, Cascade], dict[str, str]]:
    """Every segmenter that has weights in a folder, with one gate for all.

    On a GPU all networks are read at the start: ZeroGPU lends its own only to models that were there before
    the first request. On a CPU they are checked, and read when they are asked for; OpenVINO needs them only
    where it has not converted them before. The first visitor does not wait for the gate or the default.

    Returns:
        architecture → cascade, and architecture → why there is none.
    """
    device = best_device()
    read = defer_model if device.type == "cpu" else load_model
    try:
        gate = read(folder / GATE)
        gate_engine = make_engine(*gate, device)
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


#: Digits of a commit that people compare.
SHORT = 7


def name(source: Source) -> str:
    """Name and commit: `user/lgg at revision 0123abc`."""
    return f"{source.name} at revision {source.revision[:SHORT]}" if source.revision else source.name


def origin_html(shelf: Shelf) -> str:
    """Name, revision and the day on which each training ended, for the page's foot."""
    if not shelf.cascades:
        return ""
    configs = [cascade.config for cascade in shelf.cascades.values()]
    dates = sorted({config.date for config in configs if config.date})
    trained = f", trained until {dates[-1]}" if dates else ""
    return f'<p class="hint" id="origin">Weights: {escape(name(shelf.source))}{trained}.</p>'


def banner_html(shelf: Shelf) -> str:
    """Why the page does not run what it was told to, or not all of it; "" where it does."""
    if not shelf.warning:
        return ""
    return (
        '<section class="verdict error" role="alert"><h2>Other weights than intended</h2>'
        f"<p>{escape(shelf.warning)} Until then the page runs {escape(name(shelf.source))}.</p></section>"
    )
