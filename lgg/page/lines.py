"""Lines that visitors wait in: one for everything that may run a model, one for what only draws."""

from typing import Any

MODEL: dict[str, Any] = {"concurrency_id": "model", "api_visibility": "private"}
DRAW: dict[str, Any] = {
    "concurrency_id": "draw",
    "concurrency_limit": 4,
    "api_visibility": "private",
    "show_progress": "hidden",
    "trigger_mode": "always_last",
}
