"""Around every decoder: whatever a stranger's bytes provoke in it becomes an error for people."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from lgg.errors import SliceError
from lgg.reading.picture import CUT_SHORT

P = ParamSpec("P")
T = TypeVar("T")


def guarded(decode: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a decoder with its arguments.

    Raises:
        SliceError: whatever it raises. A damaged file is the file's fault, not the user's.
    """
    try:
        return decode(*args, **kwargs)
    except SliceError:
        raise
    except MemoryError as error:
        raise SliceError("the image needs more memory than there is. Export it at its own size.") from error
    except Exception as error:
        raise SliceError(CUT_SHORT) from error


def check_finite(pixels: NDArray[np.float32]) -> None:
    """Refuse pixels that are no numbers.

    Raises:
        SliceError: one is NaN or infinite.
    """
    if not np.isfinite(pixels).all():
        raise SliceError(
            "some pixels are NaN, infinite or beyond what 32-bit floats hold. Replace them and save again."
        )
