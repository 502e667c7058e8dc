"""A folder of weights as a whole: which cascades it can run, and why it cannot run the others."""

from pathlib import Path

from lgg.cascade import Cascade
from lgg.errors import WeightsError
from lgg.models import GATE, SEGMENTERS
from lgg.weights import available, load_model


def load_cascades(folder: Path) -> tuple[dict[str, Cascade], dict[str, str]]:
    """Load every segmenter that has weights, with one gate for all.

    All at the start: ZeroGPU lends its GPU only to models that were there before the first request.

    Returns:
        architecture → cascade, and architecture → why there is none.
    """
    try:
        gate = load_model(folder / GATE)
    except WeightsError as error:
        return {}, dict.fromkeys(SEGMENTERS, f"the gate is missing. {error}")
    cascades: dict[str, Cascade] = {}
    reasons = dict.fromkeys(SEGMENTERS, "no weights in this repository yet")
    for name in set(available(folder)) & set(SEGMENTERS):
        try:
            cascades[name] = Cascade(gate, load_model(folder / name))
            del reasons[name]
        except WeightsError as error:
            reasons[name] = str(error)
    return {name: cascades[name] for name in SEGMENTERS if name in cascades}, reasons
