"""The hardware, as Accelerate finds it: one process or many, on CPU, CUDA or MPS, and in which precision."""

import os
import platform
from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import Tensor, nn


def make_accelerator() -> Accelerator:
    """bf16 where the hardware multiplies it natively: every CUDA device of today, and some CPUs.

    `accelerate launch --mixed_precision` (the variable ACCELERATE_MIXED_PRECISION) has the last word.
    """
    native = torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION")
    torch.backends.cudnn.benchmark = True  # every step has the same shapes
    return Accelerator(mixed_precision=asked or ("bf16" if native else "no"))


def depthwise_in_fp32(network: nn.Module) -> None:
    """Let a network's depthwise convolutions, in place, compute in fp32 under bf16 autocast.

    On CPUs their backward pass in bf16 is up to 13 times slower than in fp32 (144 channels, 5×5, stride 2:
    48 ms against 3.6) and took two thirds of a U-Net Lite0 step. Copy the network before, not after: a copy
    would compute with the weights of the original.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1:
            layer.forward = _in_fp32(layer.forward)  # type: ignore[method-assign, assignment]


def _in_fp32(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def in_fp32(inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            return forward(inputs.float())

    return in_fp32


def hardware() -> str:
    """What trains here, for whoever reads a time: the GPU's name, or the CPU's kind and threads."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
