"""Being asked to stop: a batch system's SIGTERM or Ctrl-C ends the step, saves, and leaves."""

import signal
from types import FrameType, TracebackType

from lgg.errors import LggError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(LggError):
    """Training was asked to stop and has saved where it was."""


class StopRequest:
    """While it is entered, the first signal only sets `asked`; a second one has its usual effect."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopRequest":
        try:
            for one in SIGNALS:
                self._before[one] = signal.signal(one, self._ask)
        except ValueError:  # not the main thread: signals are none of its business
            pass
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)  # type: ignore[arg-type]
        self._before = {}
