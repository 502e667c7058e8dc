"""Low-grade glioma segmentation in brain MRI.

>>> from lgg import Cascade, read_slice
>>> cascade = Cascade.from_pretrained()
>>> prediction = cascade.predict(read_slice("slice.tif"))
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lgg.cascade import Cascade
    from lgg.errors import LggError, SeriesError, SliceError, WeightsError
    from lgg.io import read_series, read_slice
    from lgg.io.study import read_study
    from lgg.types import Prediction, Series, SeriesResult, Slice

__all__ = [
    "Cascade",
    "LggError",
    "Prediction",
    "Series",
    "SeriesError",
    "SeriesResult",
    "Slice",
    "SliceError",
    "WeightsError",
    "read_series",
    "read_slice",
    "read_study",
]

_MODULES = {
    "lgg.cascade": ("Cascade",),
    "lgg.errors": ("LggError", "SeriesError", "SliceError", "WeightsError"),
    "lgg.io": ("read_series", "read_slice"),
    "lgg.io.study": ("read_study",),
    "lgg.types": ("Prediction", "Series", "SeriesResult", "Slice"),
}


def __getattr__(name: str) -> object:
    """A public name, imported when it is first used (PEP 562): torch takes seconds."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
