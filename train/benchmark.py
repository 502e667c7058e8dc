"""How fast is it here? `python -m train.benchmark` measures the page and the networks and prints a table.

The page is timed as a visitor meets it: from the start of `python app.py` to the answer to its first upload.
"""

import json
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tifffile
import torch
import tyro

from lgg.cascade import Cascade, best_device
from lgg.files import write_text
from lgg.gallery import load_examples
from lgg.models import GATE, TITLES
from lgg.reading import read_slice
from lgg.weights import REPOSITORY_WEIGHTS, available, load_config

RESULTS = REPOSITORY_WEIGHTS / "benchmark.json"
PATIENCE = 120  # seconds until a page that does not answer is given up
#: Slices of the series that is timed, three in five with a lesion.
SERIES = 100


@dataclass(frozen=True)
class Benchmark:
    """What was measured, and on what.

    slice_ms: architecture → stage → median milliseconds of one warm slice through gate and segmenter.
    first_answer_s: from `python app.py` to the answer to the first upload.
    page_mb: resident memory of the page's process after that answer, in MB of 10⁶ bytes; None off Linux.
    series_s: a series of `SERIES` slices through the page with the smallest segmenter, from asking to the
        archive with everything in it.
    """

    hardware: str
    torch: str
    slice_ms: dict[str, dict[str, float]]
    first_answer_s: float | None
    page_mb: float | None
    series_s: float | None = None


def time_slice(architecture: str, repeats: int) -> dict[str, float]:
    """Median milliseconds of each stage and in total for a lone 256×256 slice, after three to warm up."""
    cascade = Cascade.from_pretrained(architecture=architecture)
    one = read_slice(load_examples()[0].image)
    runs = [cascade.predict(one, always_segment=True).milliseconds for _ in range(repeats + 3)][3:]
    stages = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
    stages["total"] = statistics.median(sum(run.values()) for run in runs)
    return {stage: round(value, 1) for stage, value in stages.items()}


def time_page(architecture: str, series: str) -> tuple[float, float | None, float]:
    """Start the page, upload a slice, then a series.

    Args:
        architecture: the segmenter for the slice.
        series: the segmenter for the series.

    Returns:
        seconds to the first answer, the page's memory after it, and seconds that the series took.
    """
    import httpx  # comes with gradio_client
    from gradio_client import Client, handle_file

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
    app = Path(__file__).resolve().parents[1] / "app.py"
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
        first, memory = time.monotonic() - began, _resident_mb(page.pid)
        with TemporaryDirectory() as folder:
            path = _write_series(Path(folder))
            began = time.monotonic()
            client.predict([handle_file(path)], series, None, api_name="/segment_series")
            return first, memory, time.monotonic() - began
    finally:
        page.terminate()
        page.wait(10)


def _write_series(folder: Path) -> Path:
    """The examples over and over, a page each."""
    examples = [tifffile.imread(one.image) for one in load_examples()]
    colours = [one for one in examples if one.ndim == 3]
    pages = np.stack([colours[number % len(colours)] for number in range(SERIES)])
    tifffile.imwrite(folder / "series.tif", pages, photometric="rgb")
    return folder / "series.tif"


def _resident_mb(process: int) -> float | None:
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return None
    match = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
    return int(match[1]) * 1024 / 1e6 if match else None


def run(repeats: int = 20, page: bool = True, out: Path = RESULTS) -> None:
    """Measure, print a table and write the figures as JSON.

    Args:
        repeats: Warm slices a network.
        page: Also start the page and time its first answer, and a series.
        out: JSON file.
    """
    slices = {name: time_slice(name, repeats) for name in available() if name != GATE}
    seconds = memory = series = None
    if page:
        smallest = min(slices, key=lambda name: load_config(REPOSITORY_WEIGHTS / name).parameters)
        seconds, memory, series = time_page(available()[-1], smallest)
    device = best_device()
    hardware = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU"
    hardware += f", {torch.get_num_threads()} threads"
    result = Benchmark(
        hardware,
        torch.__version__,
        slices,
        None if seconds is None else round(seconds, 1),
        None if memory is None else round(memory),
        None if series is None else round(series, 1),
    )
    print(table(result))
    text = json.dumps(asdict(result), indent=1) + "\n"
    write_text(out, text)


def table(result: Benchmark) -> str:
    """The figures as a Markdown table."""
    lines = [
        f"| one 256×256 slice, warm, {result.hardware} | preprocess | gate | segment | total |",
        "|---|---|---|---|---|",
    ]
    for name, stages in result.slice_ms.items():
        cells = " | ".join(f"{stages[stage]:.0f} ms" for stage in ("preprocess", "gate", "segment", "total"))
        lines.append(f"| gate + {TITLES[name]} | {cells} |")
    if result.first_answer_s is not None:
        memory = f"; the page then holds {result.page_mb:.0f} MB" if result.page_mb else ""
        lines += ["", f"`python app.py` to its first answer: {result.first_answer_s:.1f} s{memory}."]
    if result.series_s is not None:
        lines += [f"A series of {SERIES} slices, from the upload to its archive: {result.series_s:.1f} s."]
    return "\n".join(lines)


def load_benchmark(path: Path = RESULTS) -> Benchmark | None:
    """The figures written last, if any."""
    return Benchmark(**json.loads(path.read_text())) if path.exists() else None


if __name__ == "__main__":
    tyro.cli(run, prog="python -m train.benchmark")
