"""Publish weights and deploy the page: `python -m train.push --repo user/lgg`, `--space user/lgg-demo`.

With both, the Space runs what was just published; with --space alone, what `lgg/pinned.json` pins.
"""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import tyro
from huggingface_hub import HfApi

from lgg.errors import LggError, PublishError
from lgg.files import write_atomically
from lgg.source import PINNED, VARIABLE, Pin, load_pin
from lgg.weights import REPOSITORY_WEIGHTS, available
from train.bundle import listing, model_files
from train.checkout import ROOT, clean_commit, version
from train.publish import deploy_space, is_public, publish_models
from train.space import HARDWARE, space_files

#: Stands for a commit in a dry run, before there is one.
NOT_YET = "0" * 40


def push(
    repo: str = "",
    space: str = "",
    private: bool = False,
    dry_run: bool = False,
    pin: bool = False,
    tag: str = "",
    hardware: Literal["zero", "cpu"] = "zero",
    weights: Path = REPOSITORY_WEIGHTS,
) -> None:
    """Publish weights to the Hub, deploy the page as a Space, or both.

    Args:
        repo: Model repository, as user/name: weights, configs, cards, results and figures in one commit.
        space: Space, as user/name: the files that the page needs, and the small weights to fall back to.
        private: Create what does not exist yet as private.
        dry_run: List every file with its size, and send nothing.
        pin: Write the published commit into lgg/pinned.json; commit that file.
        tag: Version of the weights; by default that of pyproject.toml, as v0.1.0.
        hardware: What the Space asks for: ZeroGPU or a free CPU.
        weights: Folder of weights.
    """
    if not repo and not space:
        raise PublishError("Name a model repository with --repo, a Space with --space, or both.")
    code = NOT_YET if dry_run else clean_commit()
    current = load_pin()
    if repo:
        tag = tag or version()
        files = model_files(weights, repo)
        print(f"{repo}, {tag}\n{listing(files)}")
        commit = NOT_YET
        if not dry_run:
            message = f"Weights {tag}, code {code[:12]}"
            commit = publish_models(HfApi(), repo, files, tag, message, private)
            print(f"Published as {repo}, revision {commit}")
        current = Pin(repo, commit, tag, tuple(available(weights)))
        if pin and not dry_run:
            text = json.dumps(asdict(current), indent=1) + "\n"
            write_atomically(PINNED, lambda path: path.write_text(text))
            print("Pinned in lgg/pinned.json: commit that file")
    if space:
        if current is None:
            raise PublishError("Nothing is pinned, so the Space has no weights to run: push --repo first.")
        preload = dry_run or is_public(HfApi(), current.repo, current.revision)
        files = space_files(ROOT, current, hardware, weights, preload)
        variables = {VARIABLE: current.repo}
        print(f"{space}, on {HARDWARE[hardware]}, {VARIABLE}={current.repo}\n{listing(files)}")
        if not dry_run:
            deploy_space(
                HfApi(), space, files, variables, HARDWARE[hardware], f"Page, code {code[:12]}", private
            )
            print(f"Deployed to {space}; it now builds")


def main() -> None:
    """Run the command; our own errors end it with their message, not a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        tyro.cli(push, prog="python -m train.push", description=__doc__)
    except LggError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
