"""A link that restores the page: `?example=two-lesions&arch=unet-mini&threshold=0.4`. Never an upload."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from lgg.models import SEGMENTERS
from lgg.visualize import LAYERS

#: The sequences' names in a link, in the order of the channels.
SEQUENCE_NAMES = ("pre", "flair", "post")
#: What a link states, as far as it can be understood: name of a control → its value.
UrlState = dict[str, Any]


def _one_of(names: Sequence[str]) -> Callable[[str], str | None]:
    return lambda text: text if text in names else None


def _share(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None  # NaN is neither


def _channel(text: str) -> int | None:
    return SEQUENCE_NAMES.index(text) if text in SEQUENCE_NAMES else None


#: Control → its name in a link, and from the link's text to its value, None for what is strange, and back.
PARAMETERS: dict[str, tuple[str, Callable[[str], Any], Callable[[Any], str]]] = {
    "example": ("example", lambda text: text or None, str),
    "architecture": ("arch", _one_of(SEGMENTERS), str),
    "threshold": ("threshold", _share, "{:.3g}".format),
    "gate": ("gate", _share, "{:.3g}".format),
    "opacity": ("opacity", _share, "{:.3g}".format),
    "layer": ("show", _one_of(LAYERS), str),
    "channel": ("sequence", _channel, SEQUENCE_NAMES.__getitem__),
    "before_after": ("slider", {"0": False, "1": True}.get, lambda value: str(int(value))),
}


def read_link(query: Mapping[str, str], examples: Sequence[str]) -> UrlState:
    """What a link's query states; anything strange in it is left out, as links get cut and mistyped.

    Args:
        query: parameter → value.
        examples: names of the examples there are; a link may also count them, from 1.
    """
    example = query.get("example", "")
    if example.isascii() and example.isdigit() and 1 <= int(example[:6]) <= len(examples):
        example = examples[int(example) - 1]
    query = {**query, "example": example if example in examples else ""}
    state = {control: read(query.get(name, "")) for control, (name, read, _) in PARAMETERS.items()}
    return {control: value for control, value in state.items() if value is not None}


def write_link(state: UrlState) -> str:
    """The query that `read_link` reads back, `?` and all; "" where nothing is stated."""
    stated = {
        name: write(state[control]) for control, (name, _, write) in PARAMETERS.items() if control in state
    }
    return f"?{urlencode(stated)}" if stated else ""
