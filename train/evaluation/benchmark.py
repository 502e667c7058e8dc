"""How fast is it here (`benchmark`, `speed`)? The page, a warm slice, a training step of each network.

The page is timed from the start of `python app.py` to the answer to its first upload.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil  # comes with accelerate
import tifffile
import torch
from accelerate import Accelerator
from torch.utils.flop_counter import FlopCounterMode

from lgg.app.gallery import load_examples
from lgg.cascade import Cascade
from lgg.files import write_text
from lgg.io import read_slice
from lgg.models import BUILDERS, GATE, TITLES, build
from lgg.weights import REPOSITORY_WEIGHTS, available, load_config
from train.evaluation.results import markdown_table
from train.fit.distillation import NetworkWithLoss
from train.hardware import depthwise_in_fp32, hardware, make_accelerator
from train.recipes import RECIPES

RESULTS = REPOSITORY_WEIGHTS / "benchmark.json"
PATIENCE = 120  # seconds until a page that does not answer is given up
#: Slices of the series that is timed, three in five with a lesion.
SERIES = 100
#: Side of the matrices whose product shows what bf16 reaches: large enough on CUDA, bearable on a CPU.
MATRIX = {"cuda": 8192, "cpu": 2048}
WARM_UP = {"cuda": 8, "cpu": 1}


@dataclass(frozen=True)
class Benchmark:
    """What was measured, and on what.

    slice_ms: architecture → stage → median milliseconds of one warm slice through gate and segmenter.
    first_answer_s: from `python app.py` to the answer to the first upload.
    page_mb: resident memory of the page's process after that answer, in MB of 10⁶ bytes.
    series_s: a series of `SERIES` slices through the page with the smallest segmenter, from asking to the
        archive with everything in it.
    """

    hardware: str
    torch: str
    slice_ms: dict[str, dict[str, float]]
    first_answer_s: float | None = None
    page_mb: float | None = None
    series_s: float | None = None


def time_slice(architecture: str, repeats: int) -> dict[str, float]:
    """Median milliseconds of each stage and in total for a lone 256×256 slice, after three to warm up."""
    cascade = Cascade.from_pretrained(architecture=architecture)
    slice_ = read_slice(load_examples()[0].image)
    runs = [cascade.predict(slice_, always_segment=True).milliseconds for _ in range(repeats + 3)][3:]
    stages = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
    stages["total"] = statistics.median(sum(run.values()) for run in runs)
    return {stage: round(value, 1) for stage, value in stages.items()}


def time_page(architecture: str, series: str) -> dict[str, float]:
    """Start the page, upload a slice, then a series.

    Args:
        architecture: the segmenter for the slice.
        series: the segmenter for the series.

    Returns:
        the fields of `Benchmark` that are about the page, rounded.
    """
    import httpx  # comes with gradio_client
    from gradio_client import Client, handle_file

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
    app = Path(__file__).resolve().parents[2] / "app.py"
    image = load_examples()[0].image
    began = time.monotonic()
    page = subprocess.Popen([sys.executable, app], cwd=app.parent, env=environment, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                client = Client(f"http://127.0.0.1:{port}", verbose=False)
                break
            except (OSError, ValueError, httpx.HTTPError):  # not listening yet
                if page.poll() is not None or time.monotonic() - began > PATIENCE:
                    raise RuntimeError("The page did not come up: run `python app.py` to see why.") from None
                time.sleep(0.1)
        client.predict(handle_file(image), architecture, api_name="/segment")
        first, memory = time.monotonic() - began, psutil.Process(page.pid).memory_info().rss / 1e6
        with TemporaryDirectory() as folder:
            path = _write_series(Path(folder))
            began = time.monotonic()
            client.predict([handle_file(path)], series, None, api_name="/segment_series")
            took = time.monotonic() - began
        return {"first_answer_s": round(first, 1), "page_mb": round(memory), "series_s": round(took, 1)}
    finally:
        page.terminate()
        page.wait(10)


def _write_series(folder: Path) -> Path:
    """The examples over and over, a page each."""
    images = [tifffile.imread(example.image) for example in load_examples()]
    colours = [image for image in images if image.ndim == 3]
    pages = np.stack([colours[number % len(colours)] for number in range(SERIES)])
    tifffile.imwrite(folder / "series.tif", pages, photometric="rgb")
    return folder / "series.tif"


def run(repeats: int = 20, page: bool = True, out: Path = RESULTS) -> None:
    """Measure, print a table and write the figures as JSON.

    Args:
        repeats: Warm slices a network.
        page: Also start the page and time its first answer, and a series.
        out: JSON file.
    """
    slices = {name: time_slice(name, repeats) for name in available() if name != GATE}
    timed: dict[str, float] = {}
    if page:
        smallest = min(slices, key=lambda name: load_config(REPOSITORY_WEIGHTS / name).parameters)
        timed = time_page(available()[-1], smallest)
    result = Benchmark(hardware(), torch.__version__, slices, **timed)
    print(table(result))
    write_text(out, json.dumps(asdict(result), indent=1) + "\n")


def table(result: Benchmark) -> str:
    """The figures as a Markdown table, and a sentence each about the page and a series."""
    columns = ("preprocess", "gate", "segment", "total")
    rows = [
        (f"gate + {TITLES[name]}", *(f"{stages[stage]:.0f} ms" for stage in columns))
        for name, stages in result.slice_ms.items()
    ]
    text = markdown_table((f"one 256×256 slice, warm, {result.hardware}", *columns), rows)
    if result.first_answer_s is not None:
        memory = f"; the page then holds {result.page_mb:.0f} MB" if result.page_mb else ""
        text += f"\n\n`python app.py` to its first answer: {result.first_answer_s:.1f} s{memory}."
    if result.series_s is not None:
        text += f"\nA series of {SERIES} slices, from the upload to its archive: {result.series_s:.1f} s."
    return text


def load_benchmark(path: Path = RESULTS) -> Benchmark | None:
    """The figures written last, if any."""
    return Benchmark(**json.loads(path.read_text())) if path.exists() else None


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
    models: Sequence[str] = (),
    size: int = 256,
    batch_size: int | None = None,
    steps: int | None = None,
    compiled: bool = False,
) -> list[StepSpeed]:
    """Time each network's step and, in the same run, the bf16 matrix product.

    Args:
        models: architectures, by default all.
        size, batch_size, steps: of the input, of a step, and how many are timed.
        compiled: by `torch.compile`.
    """
    accelerator = make_accelerator()
    device = accelerator.device
    cuda = device.type == "cuda"
    batch_size, steps = batch_size or (32 if cuda else 4), steps or (20 if cuda else 2)
    rate = matmul_rate(device)
    return [
        _time_step(name, accelerator, size, batch_size, steps, compiled, rate) for name in models or BUILDERS
    ]


def _time_step(
    name: str, accelerator: Accelerator, size: int, batch_size: int, steps: int, compiled: bool, rate: float
) -> StepSpeed:
    """One network's step beside the matrix product's `rate`, in teraflops."""
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
    optimizer = torch.optim.AdamW(learner.parameters(), fused=device.type == "cuda")

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
    seconds = _median_seconds(step, device, steps, WARM_UP["cuda" if device.type == "cuda" else "cpu"])
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
    kind = "cuda" if device.type == "cuda" else "cpu"
    side = MATRIX[kind]
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / _median_seconds(lambda: a @ b, device, 10, 3) / 1e12


def _median_seconds(work: Callable[[], object], device: torch.device, repeats: int, warm_up: int) -> float:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(warm_up):
        work()
    times = []
    for _ in range(repeats):
        wait()
        began = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def step_table(speeds: Sequence[StepSpeed]) -> str:
    """The figures as a Markdown table under a sentence about how they were measured."""
    if not speeds:
        return ""
    first = speeds[0]
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
        f"bf16 matrix product in the same run: {first.matmul_teraflops:.2f} TFLOP/s.\n\n"
        + markdown_table(("", "ms a step", "slices/s", "TFLOP/s", "share of the matrix product"), rows)
    )
