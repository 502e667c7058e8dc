"""ZeroGPU: the page with a stand-in `spaces` that forks and moves modules as the real one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lgg.app.gallery import SHIPPED
from lgg.cascade import Cascade
from lgg.io import read_slice
from lgg.types import Series

ROOT = Path(__file__).resolve().parents[3]
PHANTOM = SHIPPED / "large-lesion.tif"
SCRIPT = """
import json, sys
from lgg.app import service as zero  # imports `spaces` before anything touches CUDA
from lgg.app.service import Desk
from lgg.app.service import Request, SeriesDesk
from lgg.app.models import open_shelf

assert zero.spaces.__file__.endswith("stand_ins/spaces.py")
cascade = open_shelf().cascades["unet-mini"]
found = [Desk({"unet-mini": cascade}).examine(sys.argv[1], "unet-mini").prediction for _ in range(2)]
desk = Desk({"unet-mini": cascade})
maps = [desk.extra(sys.argv[1], "unet-mini", layer) for layer in ("why", "unsure")]
series, order = SeriesDesk({"unet-mini": cascade}), Request((sys.argv[1],), "unet-mini")
(slice_found,) = series.result(order).predictions
maps += [series.extra(order, 1, layer) for layer in ("why", "unsure")]
weights = [*cascade._gate.parameters(), *cascade._segmenter.parameters()]
print(json.dumps({
    "device": str(cascade.device),
    "gate": [one.gate_probability for one in found],
    "area": [one.area for one in found],
    "series": [slice_found.gate_probability, slice_found.area],
    "maps": [one.shape == found[0].mask.shape and bool(0 < one.max() <= 1) for one in maps],
    "hollow": all(bool(one.isnan().all()) for one in weights),
}))
"""


@pytest.fixture(scope="module")
def said():
    """What a page under the stand-in found on the phantom, twice."""
    path = os.pathsep.join([str(ROOT / "tests" / "stand_ins"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("LGG_WEIGHTS", None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(PHANTOM)],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_models_are_sent_to_the_gpu_at_the_start_and_are_not_in_the_main_process(said):
    assert said["device"] == "cuda"
    assert said["hollow"]


def test_the_forked_process_finds_what_the_cpu_finds(said):
    expected = Cascade.from_pretrained(architecture="unet-mini", device="cpu").predict(read_slice(PHANTOM))
    assert said["gate"] == pytest.approx([expected.gate_probability] * 2, abs=1e-5)
    assert said["area"] == pytest.approx([expected.area] * 2, abs=2)
    assert said["maps"] == [True] * 4, "of the slice, and of the series"


def test_a_series_finds_what_the_cpu_finds_too(said):
    cascade = Cascade.from_pretrained(architecture="unet-mini", device="cpu")
    (expected,) = cascade.predict(Series.from_slice(read_slice(PHANTOM))).predictions
    assert said["series"] == [pytest.approx(expected.gate_probability, abs=1e-5), expected.area]
