"""Visitors who want what they began to be given up: asked for in one event, obeyed in another."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event


class Stops:
    """Who has something running, and whether it is still wanted. What has ended is forgotten.

    Not Gradio's `cancels`: what was cancelled may still send an answer that it had ready, and in Gradio 6.31
    that sometimes came after, and so in place of, the answer of the button that cancelled it.
    """

    def __init__(self) -> None:
        self._running: dict[str, Event] = {}

    @contextmanager
    def running(self, visitor: str) -> Iterator[Callable[[], bool]]:
        """While the visitor's work runs: whether it is to stop."""
        event = self._running[visitor] = Event()
        try:
            yield event.is_set
        finally:
            if self._running.get(visitor) is event:
                del self._running[visitor]

    def ask(self, visitor: str) -> None:
        """Have the visitor's work stop at its next step; nothing where nothing runs."""
        if event := self._running.get(visitor):
            event.set()
