"""A link that restores the page: `?example=two-lesions&arch=unet-mini&threshold=0.4`. Never an upload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from lgg.models import SEGMENTERS
from lgg.visualize import LAYERS, Layer

#: The sequences' names in a link, in the order of the channels.
SEQUENCE_NAMES = ("pre", "flair", "post")


@dataclass(frozen=True)
class UrlState:
    """What a link asks for; None or a default where it says nothing, or nothing that can be understood.

    Attributes:
        example: name of an example.
        architecture: of the segmenter.
        threshold, gate: of the mask and of the gate, 0 to 1; None: the model's own.
        opacity: of the layer, 0 to 1.
        layer, channel: what is shown, see `lgg.visualize.Display`.
        slider: whether before and after lie under one slider.
    """

    example: str | None = None
    architecture: str | None = None
    threshold: float | None = None
    gate: float | None = None
    opacity: float | None = None
    layer: Layer | None = None
    channel: int | None = None
    slider: bool = False


def read_link(query: Mapping[str, str], examples: Sequence[str]) -> UrlState:
    """What a link's query says; anything strange in it is left out, as links get cut and mistyped.

    Args:
        query: parameter → value.
        examples: names of the examples there are; a link may also count them, from 1.
    """
    example = query.get("example", "")
    if example.isascii() and example.isdigit() and 1 <= int(example[:6]) <= len(examples):
        example = examples[int(example) - 1]
    sequence = query.get("sequence", "")
    return UrlState(
        example=example if example in examples else None,
        architecture=next((one for one in SEGMENTERS if one == query.get("arch")), None),
        threshold=_share(query.get("threshold")),
        gate=_share(query.get("gate")),
        opacity=_share(query.get("opacity")),
        layer=next((one for one in LAYERS if one == query.get("show")), None),
        channel=SEQUENCE_NAMES.index(sequence) if sequence in SEQUENCE_NAMES else None,
        slider=query.get("slider") == "1",
    )


def write_link(wish: UrlState) -> str:
    """The query that `read_link` reads back, `?` and all; "" where nothing is wished."""
    parts = {
        "example": wish.example,
        "arch": wish.architecture,
        "threshold": _short(wish.threshold),
        "gate": _short(wish.gate),
        "opacity": _short(wish.opacity),
        "show": wish.layer,
        "sequence": None if wish.channel is None else SEQUENCE_NAMES[wish.channel],
        "slider": "1" if wish.slider else None,
    }
    given = {name: value for name, value in parts.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def _share(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None  # NaN is neither


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"
