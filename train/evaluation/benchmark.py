"""How fast is it here (`benchmark`)? Networks under each runtime, a study, the page, training steps.

Everything is measured in one run on one machine, at 256×256, whatever the shipped weights were trained at:
ours, and the usual way, which is PyTorch in fp32 on one slice after the other, without a gate.
"""

import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil  # comes with accelerate
import torch
from torch import nn

from lgg.cascade import DEFAULT_ARCHITECTURE, Cascade
from lgg.engine import make_engine
from lgg.examples import SHIPPED, load_examples
from lgg.files import write_text
from lgg.io import read_series, read_slice
from lgg.models import GATE, TITLES
from lgg.preprocess import prepare
from lgg.weights import REPOSITORY_WEIGHTS, available, load_model
from train.evaluation.results import markdown_table
from train.evaluation.step_speed import measure
from train.hardware import hardware

RESULTS = REPOSITORY_WEIGHTS / "benchmark.json"
PATIENCE = 120  # seconds until a page that does not answer is given up
#: Side of the input in pixels, the data set's own.
SIZE = 256
STUDY = [SHIPPED / "study" / f"{name}.nii.gz" for name in ("FLAIR", "T1", "T1-post")]
#: Name in the file → column of the table.
RUNTIMES = {
    "eager": "PyTorch fp32",
    "onnxruntime": "ONNX Runtime",
    "openvino_f32": "OpenVINO f32",
    "openvino_bf16": "OpenVINO bf16",
    "ours": "ours",
}


@dataclass(frozen=True)
class Benchmark:
    """What was measured, and on what.

    Attributes:
        engine: engine and precision that run ours.
        networks: architecture → runtime → milliseconds of one 256×256 input, the best of several.
        slice_ms: architecture → stage → median milliseconds of a warm slice, at the size of the weights.
        study: architecture → seconds of the phantom study from its files to its masks, the `usual` way and
            `ours` at 256×256, `shipped` at the size of the weights; and `slice_ms` from one slice's file to
            its mask at 256×256.
        imports_s: `import gradio, torch` in a process of its own.
        first_answer_s: from `python app.py` to the answer to the first upload; `cold_answer_s`: the same
            before the networks were converted once.
        page_mb: resident memory of the page's process after that answer, in MB of 10⁶ bytes; `page_used_mb`:
            after a study with each architecture.
        page_study_s: the study through the page, from the upload to the archive with everything in it.
        training: architecture → `ms_per_step`, `slices_per_second` and `share` of the bf16 matrix product.
    """

    hardware: str
    torch: str
    engine: str
    networks: dict[str, dict[str, float]]
    slice_ms: dict[str, dict[str, float]]
    study: dict[str, dict[str, float]]
    imports_s: float
    first_answer_s: float
    cold_answer_s: float
    page_mb: float
    page_used_mb: float
    page_study_s: float
    training: dict[str, dict[str, float]]


def run(repeats: int = 6, out: Path = RESULTS) -> None:
    """Measure, print tables and write the figures as JSON.

    Args:
        repeats: How often a network and a slice are run.
        out: JSON file.
    """
    segmenters = [name for name in available() if name != GATE]
    engine = Cascade.from_pretrained().engine
    result = Benchmark(
        hardware=hardware(),
        torch=torch.__version__,
        engine=f"{engine.name} {engine.precision}",
        networks={name: time_network(name, repeats) for name in available()},
        slice_ms={name: time_slice(name, repeats) for name in segmenters},
        study={name: time_study(name, repeats) for name in segmenters},
        **time_page(segmenters),
        training=time_training(),
    )
    print(table(result))
    write_text(out, json.dumps(asdict(result), indent=1) + "\n")


def best_of(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest run, after one to warm up."""
    work()
    return min(timeit.repeat(work, number=1, repeat=repeats))


@torch.inference_mode()
def time_network(name: str, repeats: int) -> dict[str, float]:
    """Milliseconds of one 256×256 input through one network under each runtime."""
    import onnxruntime
    import openvino

    model, config = load_model(REPOSITORY_WEIGHTS / name)
    inputs = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    plain = inputs.to(memory_format=torch.channels_last)
    works: dict[str, Callable[[], object]] = {"eager": lambda: model(plain)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(model, (inputs,), path, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: inputs.numpy()}
    works["onnxruntime"] = lambda: session.run(None, feed)
    graph = openvino.convert_model(model, example_input=inputs, input=[1, 3, SIZE, SIZE])
    for precision in ("f32", "bf16"):
        settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        request = openvino.compile_model(graph, "CPU", settings).create_infer_request()
        works[f"openvino_{precision}"] = partial(request.infer, [inputs.numpy()])
    works["ours"] = partial(make_engine(model, replace(config, input_size=SIZE), "cpu"), inputs.numpy())
    return {runtime: round(1000 * best_of(works[runtime], repeats), 1) for runtime in RUNTIMES}


def time_slice(name: str, repeats: int) -> dict[str, float]:
    """Median milliseconds of each stage and in total for a lone 256×256 slice, after three to warm up."""
    cascade = Cascade.from_pretrained(architecture=name)
    slice_ = read_slice(load_examples()[0].image)
    runs = [cascade.predict(slice_, always_segment=True).milliseconds for _ in range(repeats + 3)][3:]
    stages = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
    stages["total"] = statistics.median(sum(run.values()) for run in runs)
    return {stage: round(value, 1) for stage, value in stages.items()}


def time_study(name: str, repeats: int) -> dict[str, float]:
    """Seconds of the phantom study, and milliseconds of a slice, from files to masks."""
    shipped = Cascade.from_pretrained(architecture=name)
    gate, (network, config) = (load_model(REPOSITORY_WEIGHTS / part) for part in (GATE, name))
    ours = Cascade(gate, (network, replace(config, input_size=SIZE)), "cpu")
    image = load_examples()[0].image
    return {
        "usual": round(best_of(partial(segment_as_usual, network), 1), 3),
        "ours": round(best_of(lambda: ours.predict(read_series(STUDY)), repeats), 3),
        "shipped": round(best_of(lambda: shipped.predict(read_series(STUDY)), repeats), 3),
        "slice_ms": round(1000 * best_of(lambda: ours.predict(read_slice(image)), repeats), 1),
    }


@torch.inference_mode()
def segment_as_usual(network: nn.Module) -> np.ndarray:
    """The phantom study's masks as others make them: each slice by itself through PyTorch in fp32."""
    prepared = prepare(read_series(STUDY).pixels, "volume")
    logits = [
        network(slice_[None].to(memory_format=torch.channels_last))
        for slice_ in torch.from_numpy(prepared.network_input(SIZE))
    ]
    return (torch.cat(logits).sigmoid() > 0.5).numpy()


def time_page(segmenters: list[str]) -> dict[str, Any]:
    """The fields of `Benchmark` about the page: cold, then warm, then a study with each architecture."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import gradio, torch"], check=True)
    imports = time.monotonic() - began
    with TemporaryDirectory() as cache:
        cold, warm = (visit_page(cache, segmenters) for _ in range(2))
    return {
        "imports_s": round(imports, 1),
        "cold_answer_s": cold["first_answer_s"],
        **warm,
    }


def visit_page(cache: str, segmenters: list[str]) -> dict[str, float]:
    """Start the page on a cache of converted networks, upload a slice, then the study to each segmenter."""
    import httpx  # comes with gradio_client
    from gradio_client import Client, handle_file

    logging.getLogger("httpx").setLevel(logging.WARNING)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"LGG_CACHE": cache, "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
    app = Path(__file__).resolve().parents[2] / "app.py"
    began = time.monotonic()
    page = subprocess.Popen(
        [sys.executable, app], cwd=app.parent, env=os.environ | settings, stdout=subprocess.DEVNULL
    )

    def memory() -> int:
        return round(psutil.Process(page.pid).memory_info().rss / 1e6)

    try:
        while True:
            try:
                client = Client(f"http://127.0.0.1:{port}", verbose=False)
                break
            except (OSError, ValueError, httpx.HTTPError):  # not listening yet
                if page.poll() is not None or time.monotonic() - began > PATIENCE:
                    raise RuntimeError("The page did not come up: run `python app.py` to see why.") from None
                time.sleep(0.1)
        client.predict(handle_file(load_examples()[0].image), DEFAULT_ARCHITECTURE, api_name="/segment")
        figures = {"first_answer_s": round(time.monotonic() - began, 1), "page_mb": memory()}
        files = [handle_file(path) for path in STUDY]
        for name in segmenters:
            began = time.monotonic()
            client.predict(files, name, None, api_name="/segment_series")
            figures |= {"page_study_s": round(time.monotonic() - began, 2), "page_used_mb": memory()}
        return figures
    finally:
        page.terminate()
        page.wait(10)


def time_training() -> dict[str, dict[str, float]]:
    """Architecture → speed of a training step of 8 slices at 256×256."""
    wanted = ("ms_per_step", "slices_per_second", "share")
    speeds = measure(size=SIZE, batch_size=8)
    return {speed.model: {name: getattr(speed, name) for name in wanted} for speed in speeds}


def table(result: Benchmark) -> str:
    """The figures as Markdown tables and sentences."""
    about = f"On {result.hardware}, ours with {result.engine}, at {SIZE}×{SIZE} unless said otherwise."
    parts = [part(result) for part in (_networks_table, _study_table, _page_sentences, _training_table)]
    return "\n\n".join([about, *parts])


def _networks_table(result: Benchmark) -> str:
    rows = [
        (TITLES[name], *(f"{row[runtime]:.0f} ms" for runtime in RUNTIMES), _ratio(row["eager"], row["ours"]))
        for name, row in result.networks.items()
    ]
    return markdown_table(("one slice", *RUNTIMES.values(), "faster than PyTorch"), rows)


def _study_table(result: Benchmark) -> str:
    columns = (
        "28 slices, three volumes to masks",
        "faster",
        "each slice by PyTorch",
        "ours",
        "ours, as shipped",
        "one slice, file to mask",
    )
    rows = [
        (
            TITLES[name],
            _ratio(row["usual"], row["ours"]),
            *(f"{row[way]:.2f} s" for way in ("usual", "ours", "shipped")),
            f"{row['slice_ms']:.0f} ms",
        )
        for name, row in result.study.items()
    ]
    return markdown_table(columns, rows)


def _page_sentences(result: Benchmark) -> str:
    return (
        f"`python app.py` to its first answer: {result.first_answer_s:.1f} s, "
        f"{result.first_answer_s / result.imports_s:.2f} times what importing gradio and torch takes; "
        f"{result.cold_answer_s:.1f} s where the networks are not converted yet. The page then holds "
        f"{result.page_mb} MB, and {result.page_used_mb} MB after the study with each architecture. "
        f"The study takes {result.page_study_s:.1f} s from the upload to the archive."
    )


def _training_table(result: Benchmark) -> str:
    columns = ("a training step of 8 slices", "time", "slices/s", "share of the bf16 matrix product")
    rows = [
        (
            TITLES[name],
            f"{row['ms_per_step']:.0f} ms",
            f"{row['slices_per_second']:.1f}",
            f"{100 * row['share']:.0f} %",
        )
        for name, row in result.training.items()
    ]
    return markdown_table(columns, rows)


def _ratio(usual: float, ours: float) -> str:
    return f"{usual / ours:.1f} ×"


def load_benchmark(path: Path = RESULTS) -> Benchmark | None:
    """The figures written last, if any."""
    return Benchmark(**json.loads(path.read_text())) if path.exists() else None
