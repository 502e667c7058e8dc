"""Which weights are meant, and where they came from.

Asked in this order: the argument, the environment variable `LGG_WEIGHTS`, the weights in the repository.
Either of the first two names a folder, `user/name` on the Hub, or `user/name@revision`. Without a revision,
the published repository comes at the revision pinned in `pinned.json`, any other at the head of `main`.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from lgg.errors import WeightsError
from lgg.hub import COMMIT, download
from lgg.weights import REPOSITORY_WEIGHTS

#: The environment variable that stands in for the argument.
VARIABLE = "LGG_WEIGHTS"
#: The one place that pins what is published; `python -m train.push --pin` writes it.
PINNED = Path(__file__).with_name("pinned.json")
#: `./weights` and `../weights` are none: on the Hub, names begin with a letter or a digit.
REPOSITORY_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclass(frozen=True)
class Pin:
    """A published set of weights that can never change."""

    repo: str
    """`user/name` on the Hub."""
    revision: str
    """The commit's 40 hexadecimal digits."""
    version: str
    """The tag it was published under, for people."""
    models: tuple[str, ...]
    """Architectures that it holds."""


@dataclass(frozen=True)
class Address:
    """Where weights are to come from: a folder, or a repository on the Hub at a revision."""

    folder: Path | None = None
    repo: str = ""
    revision: str = ""


@dataclass(frozen=True)
class Source:
    """Weights on this disk: their folder, and their name and commit ("" for a plain folder) for people."""

    folder: Path
    name: str
    revision: str = ""


def load_pin(path: Path | None = None) -> Pin | None:
    """What is pinned, or None before anything was published.

    Raises:
        WeightsError: the file is damaged, or does not pin a commit.
    """
    path = path or PINNED
    try:
        stored = json.loads(path.read_text())
        if not stored:
            return None
        pin = Pin(**{**stored, "models": tuple(stored["models"])})
        if not COMMIT.fullmatch(pin.revision):
            raise ValueError("a tag or a branch can change")
        return pin
    except (OSError, ValueError, KeyError, TypeError):
        raise WeightsError(
            f"{path.name} pins no published weights. Restore it from the repository."
        ) from None


def find_address(weights: Path | str | None = None, revision: str | None = None) -> Address:
    """Decide where weights are to come from, without looking whether they are there.

    Args:
        weights: a folder, `user/name` or `user/name@revision`; None asks the environment.
        revision: a commit, tag or branch, for a repository only; it outweighs one after the `@`.

    Raises:
        WeightsError: a revision was given for a folder.
    """
    if weights is None:
        weights = os.environ.get(VARIABLE) or REPOSITORY_WEIGHTS
    repo, _, written = str(weights).partition("@")
    if isinstance(weights, Path) or Path(weights).is_dir() or not REPOSITORY_NAME.fullmatch(repo):
        if revision:
            raise WeightsError(
                "A revision belongs to a repository on the Hub, and there is none of this name. "
                "Write the repository as user/name, or leave the revision out."
            )
        return Address(folder=Path(weights))
    pin = load_pin()
    default = pin.revision if pin and pin.repo == repo else "main"
    return Address(repo=repo, revision=revision or written or default)


def obtain(address: Address, models: tuple[str, ...]) -> Source:
    """Have the weights of some models on this disk.

    Raises:
        WeightsError: they cannot be had from the Hub. A folder is not looked into.
    """
    if address.folder is None:
        folder, commit = download(address.repo, models, address.revision)
        return Source(folder, address.repo, commit)
    own = address.folder.resolve() == REPOSITORY_WEIGHTS
    return Source(address.folder, "the weights of this project" if own else f"folder {address.folder.name}")
