"""The package by itself: a wheel of `lgg` alone, in a folder without this repository around it."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = [path.name for path in ROOT.glob("requirements*.txt")]
EXAMPLE = ROOT / "lgg" / "examples" / "large-lesion.tif"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the wheel's files and a slice."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("pyproject.toml", "README.md", "LICENSE", *REQUIREMENTS):
        shutil.copy(ROOT / name, source)
    for name in ("lgg", "train"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    subprocess.run([*build, "-w", str(source / "dist")], cwd=source, check=True)
    (wheel,) = (source / "dist").iterdir()
    zipfile.ZipFile(wheel).extractall(folder)
    shutil.copy(EXAMPLE, folder / "slice.tif")
    return folder


def run(folder, code, weights=""):
    env = {**os.environ, "PYTHONPATH": str(folder), "LGG_WEIGHTS": str(weights), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)


def readme_lines():
    (lines,) = re.findall(r"```python\n(from lgg import .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return lines


def test_the_wheel_holds_lgg_with_its_data_and_nothing_else(installed):
    (info,) = installed.glob("lgg_segmentation-*.dist-info")
    assert {path.name for path in installed.iterdir()} == {"lgg", info.name, "slice.tif"}
    there, here = (
        {str(path.relative_to(root)) for path in (root / "lgg").rglob("*")} for root in (installed, ROOT)
    )
    assert {path for path in here if "__pycache__" not in path} <= there
    needed = re.findall("^Requires-Dist: (.*)$", (info / "METADATA").read_text(), re.MULTILINE)
    assert not [line for line in needed if "gradio" in line and "extra" not in line]


def test_the_readmes_lines_run_with_weights_from_a_folder(installed):
    code = readme_lines() + "import lgg\nprint(lgg.__file__, prediction.mask.any())"
    done = run(installed, code, ROOT / "weights")
    assert done.stdout == f"{installed / 'lgg' / '__init__.py'} True\n", done.stderr


def test_without_weights_one_sentence_says_what_to_do(installed):
    last = run(installed, readme_lines()).stderr.splitlines()[-1]
    assert "WeightsError" in last
    assert "LGG_WEIGHTS" in last
    assert str(installed) not in last


@pytest.mark.parametrize("module", ["lgg", "lgg.errors"])
def test_what_needs_no_network_loads_no_torch(installed, module):
    done = run(installed, f"import sys, {module}; print({{'torch', 'gradio'}} & set(sys.modules))")
    assert done.stdout == "set()\n", done.stderr
