"""ZeroGPU: the page with a stand-in `spaces` that forks and moves modules as the real one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lgg.cascade import Cascade
from lgg.examples import SHIPPED
from lgg.io import read_series, read_slice

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
PHANTOM = SHIPPED / "large-lesion.tif"
SCRIPT = """
import json, sys
from lgg.app import service as page  # imports `spaces` before anything touches CUDA
from lgg.app.models import load_models

assert page.spaces.__file__.endswith("stand_ins/spaces.py")
cascade = load_models().cascades["unet-mini"]
service = page.Service({"unet-mini": cascade})
answers = {}
for request in page.slice_request(sys.argv[1], "unet-mini"), page.Request((sys.argv[1],), "unet-mini"):
    (prediction,) = service.result(request).predictions
    maps = [service.extra(request, 1, layer) for layer in page.EXTRA]
    answers[request.statistics] = {
        "gate": prediction.gate_probability,
        "area": prediction.area,
        "maps": [map_.shape == prediction.mask.shape and bool(0 < map_.max() <= 1) for map_ in maps],
    }
engines = cascade.gate_engine, cascade.engine
weights = [tensor for engine in engines for tensor in engine.network.parameters()]
hollow = all(bool(tensor.isnan().all()) for tensor in weights)
print(json.dumps({"device": cascade.device, "hollow": hollow, **answers}))
"""


def test_models_are_sent_to_the_gpu_at_the_start_and_the_forked_process_finds_what_the_cpu_finds():
    path = os.pathsep.join([str(ROOT / "tests" / "stand_ins"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "SPACES_ZERO_GPU": "true"}
    environment.pop("LGG_WEIGHTS", None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(PHANTOM)],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["device"] == "cuda"
    assert said["hollow"], "the weights are not in the main process"
    cascade = Cascade.from_pretrained(architecture="unet-mini", device="cpu")
    (in_series,) = cascade.predict(read_series([PHANTOM])).predictions
    for statistics, expected in (("slice", cascade.predict(read_slice(PHANTOM))), ("volume", in_series)):
        found = said[statistics]
        assert found["gate"] == pytest.approx(expected.gate_probability, abs=1e-5)
        assert found["area"] == pytest.approx(expected.area, abs=2)
        assert found["maps"] == [True, True]
