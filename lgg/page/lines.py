"""Lines that visitors wait in: for what runs a model on a slice or on a series, and for what only draws."""

from typing import Any

MODEL: dict[str, Any] = {"concurrency_id": "model", "api_visibility": "private"}
#: A series takes up to a minute; visitors of single slices do not wait for it.
SERIES: dict[str, Any] = {
    "concurrency_id": "series",
    "concurrency_limit": 1,
    "api_visibility": "private",
    "show_progress": "minimal",
}
DRAW: dict[str, Any] = {
    "concurrency_id": "draw",
    "concurrency_limit": 4,
    "api_visibility": "private",
    "show_progress": "hidden",
    "trigger_mode": "always_last",
}
