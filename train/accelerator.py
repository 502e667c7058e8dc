"""The hardware, as Accelerate finds it: one process or many, on CPU, CUDA or MPS, and in which precision."""

import os
import platform

import torch
from accelerate import Accelerator


def make_accelerator() -> Accelerator:
    """bf16 where the hardware multiplies it natively: every CUDA device of today, and some CPUs.

    `accelerate launch --mixed_precision` (the variable ACCELERATE_MIXED_PRECISION) has the last word.
    """
    native = torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION")
    torch.backends.cudnn.benchmark = True  # every step has the same shapes
    return Accelerator(mixed_precision=asked or ("bf16" if native else "no"))


def hardware() -> str:
    """What trains here, for whoever reads a time: the GPU's name, or the CPU's kind and threads."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
