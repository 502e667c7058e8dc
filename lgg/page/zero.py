"""ZeroGPU: Hugging Face Spaces lend a GPU to functions that ask for one. Elsewhere nothing changes."""

from collections.abc import Callable
from typing import Any

try:  # On Spaces only, and before anything touches CUDA.
    import spaces
except ImportError:
    spaces = None

#: Seconds that a call may take there.
DURATION = 20

on_gpu: Callable[..., Any] = spaces.GPU(duration=DURATION) if spaces else lambda function: function
