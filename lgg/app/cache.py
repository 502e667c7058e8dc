"""What was examined lately, so that a control that moves does not run a network again."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
#: Bytes kept in all. The latest is kept even where it alone is larger.
BUDGET = 256 * 2**20
#: Seconds after which anything is forgotten: as long as uploads stay on the disk. Looked for every
#: `SWEEP`, even where nobody visits any more.
LIFETIME = 3000.0
SWEEP = 60.0


@dataclass(frozen=True)
class _Entry:
    value: Any
    weight: int
    born: float


class Cache:
    """A store of bounded size and age. Safe to share between threads.

    Two threads that miss the same key at once both make it: dearer than a lock, but nobody waits for another.
    """

    def __init__(self, budget: int = BUDGET, lifetime: float = LIFETIME) -> None:
        self._budget, self._lifetime = budget, lifetime
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()
        self._sweeper: threading.Timer | None = None

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def recall(self, key: Hashable, make: Callable[[], T], weigh: Callable[[T], int]) -> T:
        """What is remembered under `key`, or else made now.

        Args:
            make: makes it; what it raises is raised here, and nothing is remembered.
            weigh: its size in bytes.
        """
        kept: T | None = self.get(key)
        if kept is not None:
            return kept
        value = make()
        self.put(key, value, weigh(value))
        return value

    def get(self, key: Hashable) -> Any | None:
        """What is remembered under `key`, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key].value

    def put(self, key: Hashable, value: object, weight: int) -> None:
        """Remember `value`, of so many bytes, under `key`."""
        with self._lock:
            self._entries[key] = _Entry(value, weight, time.monotonic())
            self._entries.move_to_end(key)
            while (
                len(self._entries) > 1
                and sum(entry.weight for entry in self._entries.values()) > self._budget
            ):
                self._entries.popitem(last=False)
            self._sweep_later()

    def _sweep_later(self) -> None:
        if self._sweeper is None and self._entries:
            self._sweeper = threading.Timer(min(SWEEP, self._lifetime), self._sweep)
            self._sweeper.daemon = True
            self._sweeper.start()

    def _sweep(self) -> None:
        with self._lock:
            self._sweeper = None
            oldest = time.monotonic() - self._lifetime
            for key in [key for key, entry in self._entries.items() if entry.born < oldest]:
                del self._entries[key]
            self._sweep_later()
