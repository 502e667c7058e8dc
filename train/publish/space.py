"""What goes into the Space: the page with the library, weights to fall back to, its front matter."""

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import SpaceCardData
from huggingface_hub.repocard import metadata_load

from lgg.errors import PublishError
from lgg.models import GATE
from lgg.weights import CONFIG_FILE, WEIGHTS_FILE, available
from lgg.weights.hub import PINNED, Pin
from train.evaluation.benchmark import RESULTS as BENCHMARK

#: Path in the repository → a file on this disk, or content that was written for it.
Files = dict[str, Path | bytes]
ROOT = Path(__file__).resolve().parents[2]
HARDWARE = {"zero": "zero-a10g", "cpu": "cpu-basic"}
#: A Space falls back to models that are no larger than this many bytes; git slows down with large ones.
SMALL = 30_000_000
#: The README's picture of the page, and the Space's name for it: shown where somebody shares the link.
PICTURE, THUMBNAIL = "docs/page.png", "thumbnail.png"
#: What the page needs beside the whole of `lgg/`.
ROOT_FILES = ("app.py", "requirements.txt", "pre-requirements.txt", "LICENSE")

BODY = """
# {title}

A brain MRI slice goes in; a gate says how likely it holds a low-grade glioma, and a U-Net outlines it.
**Research only, not a medical device.**

Weights: [{repo}](https://huggingface.co/{repo}), {version}, pinned at `{revision}`. Should the Hub not hand
them over, the page runs the small ones in `weights/` and says so.

Code: MIT. Weights: CC BY-NC-SA 4.0, as the data they were trained on: no commercial use.
"""


def git(root: Path, *arguments: str) -> str:
    """What git says about this checkout.

    Raises:
        PublishError: this is no checkout.
    """
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise PublishError("This is not a git checkout, so nothing says what would be published.") from None
    return done.stdout


def space_files(space: str, pin: Pin, hardware: str, weights: Path, preload: bool = True) -> Files:
    """All files of the Space.

    Args:
        space: `user/name` of the Space.
        pin: the published weights that the page is to run.
        hardware: a key of `HARDWARE`.
        weights: folder of weights; the gate and the small segmenters come along.
        preload: have the published weights fetched at the build, which works for public ones only.

    Raises:
        PublishError: no weights are small enough to fall back to.
    """
    # Only what git tracks: somebody's own slices may lie among the examples.
    tracked = git(ROOT, "ls-files", "-z", "lgg", *ROOT_FILES).split("\0")
    files: Files = {path: ROOT / path for path in tracked if path}
    small = [name for name in available(weights) if (weights / name / WEIGHTS_FILE).stat().st_size <= SMALL]
    if GATE not in small or len(small) < 2:
        raise PublishError("The Space needs a gate and a small segmenter to fall back to; there are none.")
    for name in small:
        for file in (CONFIG_FILE, WEIGHTS_FILE):
            files[f"weights/{name}/{file}"] = weights / name / file
    if (weights / BENCHMARK.name).is_file():  # the page's table of speeds
        files[f"weights/{BENCHMARK.name}"] = weights / BENCHMARK.name
    files[str(PINNED.relative_to(ROOT))] = (json.dumps(asdict(pin), indent=1) + "\n").encode()
    files[THUMBNAIL] = ROOT / PICTURE
    front = front_matter(space, pin, hardware, preload)
    card = f"---\n{SpaceCardData(**front).to_yaml()}\n---\n" + BODY.format(
        title=front["title"], **asdict(pin)
    )
    return files | {"README.md": card.encode()}


def front_matter(space: str, pin: Pin, hardware: str, preload: bool = True) -> dict[str, Any]:
    """The README's front matter with the picture, the weights and the hardware filled in."""
    filled: dict[str, Any] = {
        "thumbnail": f"https://huggingface.co/spaces/{space}/resolve/main/{THUMBNAIL}",
        "models": [pin.repo],
        "suggested_hardware": HARDWARE[hardware],
    }
    if preload:
        wanted = ",".join(f"{name}/{file}" for name in pin.models for file in (CONFIG_FILE, WEIGHTS_FILE))
        filled["preload_from_hub"] = [f"{pin.repo} {wanted} {pin.revision}"]
    return {**(metadata_load(ROOT / "README.md") or {}), **filled}
