"""This checkout of the project: what is tracked, whether it is clean, and which version it is."""

import subprocess
import tomllib
from pathlib import Path

from lgg.errors import PublishError

#: Path in the repository → a file on this disk, or content that was written for it.
Files = dict[str, Path | bytes]
ROOT = Path(__file__).resolve().parents[2]


def clean_commit(root: Path = ROOT) -> str:
    """The commit that is checked out.

    Raises:
        PublishError: there are changes that no commit holds, or this is no checkout at all.
    """
    changes = _git(root, "status", "--porcelain").splitlines()
    if changes:
        raise PublishError(
            f"{len(changes)} changes are in no commit, beginning with '{changes[0].strip()}'. What is "
            "published must be found again in the history: commit, or stash, then push."
        )
    return _git(root, "rev-parse", "HEAD").strip()


def tracked(root: Path = ROOT) -> list[str]:
    """Paths of all files under version control, relative to the root."""
    return [path for path in _git(root, "ls-files", "-z").split("\0") if path]


def version(root: Path = ROOT) -> str:
    """The tag of the project's version: `v0.1.0`."""
    return "v" + tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise PublishError("This is not a git checkout, so nothing says what would be published.") from None
    return done.stdout
