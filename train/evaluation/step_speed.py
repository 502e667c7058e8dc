"""How fast is a training step (`speed`)? Beside what the hardware's bf16 matrix products reach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from lgg.models import BUILDERS, build
from train.evaluation.results import markdown_table
from train.fit.losses import NetworkWithLoss
from train.hardware import depthwise_in_fp32, hardware, make_accelerator
from train.recipes import RECIPES

#: Side of the matrices whose product shows what bf16 reaches: large enough on CUDA, bearable on a CPU.
MATRIX = {"cuda": 8192, "cpu": 2048}
#: Seconds for which a step, and the matrix product before and after it, are repeated.
LONG, SHORT = 3.0, 0.5


@dataclass(frozen=True)
class StepSpeed:
    """One network's training step: forward, backward and update of a batch that is already on the device.

    teraflops: of the step, forward and backward counted. share: of the bf16 matrix product's rate, 0 to 1.
    """

    model: str
    hardware: str
    size: int
    batch_size: int
    compiled: bool
    ms_per_step: float
    slices_per_second: float
    teraflops: float
    matmul_teraflops: float
    share: float


def measure(
    models: Sequence[str] = (), size: int = 256, batch_size: int | None = None, compiled: bool = False
) -> list[StepSpeed]:
    """Time each network's step and, beside it, the bf16 matrix product; arguments as for the command."""
    accelerator = make_accelerator()
    batch_size = batch_size or (32 if accelerator.device.type == "cuda" else 4)
    return [_time_step(name, accelerator, size, batch_size, compiled) for name in models or BUILDERS]


def _time_step(name: str, accelerator: Accelerator, size: int, batch_size: int, compiled: bool) -> StepSpeed:
    """One network's step, and the matrix product before and after it, the faster one: machines swing."""
    device = accelerator.device
    network = build(name)
    learner = NetworkWithLoss(name, network, RECIPES["gpu"][name][0], torch.ones((), device=device), None)
    if device.type == "cpu" and accelerator.mixed_precision == "bf16":
        depthwise_in_fp32(network)
    learner = learner.to(device).to(memory_format=torch.channels_last).train()
    inputs = torch.randn(batch_size, 3, size, size, device=device)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    masks = (torch.rand(batch_size, 1, size, size, device=device) > 0.9).float()
    tumour = torch.ones(batch_size, dtype=torch.bool, device=device)
    optimizer = torch.optim.AdamW(learner.parameters(), fused=device.type != "mps")

    def step() -> None:
        with accelerator.autocast():
            loss = learner(inputs, masks, tumour)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    flops = counter.get_total_flops()
    if compiled:
        learner.compile()
    rate = matmul_rate(device)
    seconds = _median_seconds(step, LONG)
    rate = max(rate, matmul_rate(device))
    reached = flops / seconds / 1e12
    return StepSpeed(
        model=name,
        hardware=hardware(),
        size=size,
        batch_size=batch_size,
        compiled=compiled,
        ms_per_step=round(1000 * seconds, 2),
        slices_per_second=round(batch_size / seconds, 1),
        teraflops=round(reached, 6),  # a CPU without bf16 reaches thousandths
        matmul_teraflops=round(rate, 6),
        share=round(reached / rate, 4),
    )


def matmul_rate(device: torch.device) -> float:
    """Teraflops of a bf16 matrix product on the device."""
    side = MATRIX["cuda" if device.type == "cuda" else "cpu"]
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / _median_seconds(lambda: a @ b, SHORT) / 1e12


def _median_seconds(work: Callable[[], object], seconds: float) -> float:
    """Of one run among those that take so many seconds together, after some to warm up."""
    timer = Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=seconds).median


def step_table(speeds: Sequence[StepSpeed]) -> str:
    """The figures as a Markdown table under a sentence about how they were measured."""
    first, rate = speeds[0], max(speed.matmul_teraflops for speed in speeds)
    rows = [
        (
            speed.model,
            f"{speed.ms_per_step:.0f}",
            f"{speed.slices_per_second:.1f}",
            f"{speed.teraflops:.2f}",
            f"{100 * speed.share:.0f} %",
        )
        for speed in speeds
    ]
    return (
        f"One training step, {first.batch_size} slices of {first.size}×{first.size}, {first.hardware}"
        f"{', compiled' if first.compiled else ''}; "
        f"bf16 matrix product in the same run: {rate:.2f} TFLOP/s.\n\n"
        + markdown_table(("", "ms a step", "slices/s", "TFLOP/s", "share of the matrix product"), rows)
    )
