"""Optional tracking: `--track` sends each epoch's figures to trackio; `trackio show` opens them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lgg.errors import DataError
from train.accelerator import make_accelerator
from train.loop import Watch

PROJECT = "lgg"


@contextmanager
def tracking(name: str, config: dict[str, Any], wanted: bool) -> Iterator[Watch | None]:
    """A callback for each epoch's figures, or None where tracking is not wanted or another process does it.

    Everything stays on this machine, unless trackio's own environment variables say otherwise.

    Args:
        name: of the run; a resumed one goes on under it.
        config: what the run's page shows beside its curves.

    Raises:
        DataError: trackio is not installed.
    """
    if not wanted or not make_accelerator().is_main_process:
        yield None
        return
    try:
        import trackio
    except ImportError:
        raise DataError("--track needs trackio: `pip install trackio`, or leave --track out.") from None
    trackio.init(project=PROJECT, name=name, config=config, resume="allow", embed=False, auto_log_cpu=False)
    try:
        yield lambda row: trackio.log(row)
    finally:
        trackio.finish()
