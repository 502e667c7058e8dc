"""Weights from the Hugging Face Hub: only the files that are needed, all of one commit, cached ones offline.

A repository has the shape of a folder of weights: a folder a model, each with its config, and beside them a
list of the models as `config.json`. What comes back is such a folder, inside the Hub's own cache, so nothing
behind this module knows about the Hub.
"""

import json
import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lgg.errors import WeightsError
from lgg.models import GATE
from lgg.weights import CONFIG_FILE, REPOSITORY_WEIGHTS, WEIGHTS_FILE, load_config, sha256_of

#: A commit's full name. Only such a revision can never change.
COMMIT = re.compile(r"[0-9a-f]{40}")
#: Seconds that the Hub has for its first answer. The page waits for it before it falls back.
PATIENCE = 10

log = logging.getLogger(__name__)


def download(repo: str, models: Sequence[str], revision: str) -> tuple[Path, str]:
    """Have the weights of some models on this disk.

    Args:
        repo: `user/name` of a model repository.
        models: the folders to fetch, each with its config and weights.
        revision: a commit, tag or branch. A commit whose files are all cached needs no network at all; for a
            tag or a branch the Hub is asked what it means today, and the cache only if the Hub is silent.

    Returns:
        The folder of weights, and the commit's 40 hexadecimal digits.

    Raises:
        WeightsError: there is no such repository, revision or model, it is private, or the Hub cannot be
            reached or refuses; and what is needed is not in the cache.
    """
    from huggingface_hub import hf_hub_download  # imported here: most callers have their weights in a folder

    # Not `snapshot_download` (2.4): it waits for a silent Hub without limit, asks a failing one for its list
    # of files for 23 seconds, and answers a refusal (403) from the cache.
    files = [f"{model}/{file}" for model in models for file in (CONFIG_FILE, WEIGHTS_FILE)]
    try:
        commit = _commit(repo, files, revision)
        paths = [hf_hub_download(repo, file, revision=commit, etag_timeout=PATIENCE) for file in files]
        folder = Path(paths[0]).parents[1]
        for model in models:
            _mend(repo, folder, model, commit)
    except _hub_errors() as error:
        raise refusal(error, repo, revision) from None  # its own words may hold signed addresses and paths
    return folder, commit


def _commit(repo: str, files: Sequence[str], revision: str) -> str:
    """The commit that a revision means."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import RemoteEntryNotFoundError

    cached = _cached_commit(repo, files, revision)
    if cached and COMMIT.fullmatch(revision):
        return cached
    try:
        # One request without retries: whoever is offline learns so at once. For the repository's own config,
        # since requests for that file are what the Hub counts as downloads.
        get_hf_file_metadata(hf_hub_url(repo, CONFIG_FILE, revision=revision), timeout=PATIENCE)
    except RemoteEntryNotFoundError:
        pass  # published without one, or by hand: the models' folders are all that is needed
    except _hub_errors() as error:
        status = _status(error)
        if cached and (not status or status == 429 or status >= 500):  # no decision, as a refusal is
            log.warning("The Hub does not answer: '%s' of '%s' is taken from the cache.", revision, repo)
            return cached
        raise
    # By the revision's own name, so that the cache remembers what it meant.
    return _commit_of(hf_hub_download(repo, files[0], revision=revision, etag_timeout=PATIENCE))


def _cached_commit(repo: str, files: Sequence[str], revision: str) -> str | None:
    """The commit in the cache that a revision last meant, if all files are there."""
    from huggingface_hub import try_to_load_from_cache

    paths = [try_to_load_from_cache(repo, file, revision=revision) for file in files]
    return _commit_of(paths[0]) if all(isinstance(path, str) for path in paths) else None


def _commit_of(path: object) -> str:
    """The commit of a cached file, which lies at .../snapshots/<commit>/<model>/<file>."""
    return Path(str(path)).parents[1].name


def _status(error: BaseException | None) -> int:
    """The HTTP status that the Hub answered; 0 where it did not."""
    return getattr(getattr(error, "response", None), "status_code", 0)


def _mend(repo: str, folder: Path, model: str, commit: str) -> None:
    """Fetch again what lies damaged in the cache; what still does not fit then is refused at loading."""
    from huggingface_hub import hf_hub_download

    def fetch_again(file: str) -> None:
        log.warning("%s of '%s' is damaged in the cache: it is downloaded again.", file, model)
        with suppress(*_hub_errors()):
            hf_hub_download(repo, f"{model}/{file}", revision=commit, force_download=True)

    try:
        config = load_config(folder / model)
    except WeightsError:
        fetch_again(CONFIG_FILE)
        config = load_config(folder / model)
    with (folder / model / WEIGHTS_FILE).open("rb") as file:
        damaged = sha256_of(file) != config.sha256
    if damaged:
        fetch_again(WEIGHTS_FILE)


def _hub_errors() -> tuple[type[Exception], ...]:
    """All that talking to the Hub may raise. Its errors are OSErrors, those of the connection are not."""
    from huggingface_hub.errors import EntryNotFoundError, HTTPError

    return OSError, HTTPError, EntryNotFoundError, ValueError


def refusal(error: Exception, repo: str, revision: str) -> WeightsError:
    """What went wrong and what to do, without the Hub's own words."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    place = f"'{repo}' at revision '{revision}'"
    status = _status(error) or _status(error.__cause__)
    if isinstance(error, HFValidationError):
        words = f"'{repo}' is not the name of a repository on the Hub. Write it as user/name."
    elif isinstance(error, GatedRepoError) or status == 403:
        words = f"The Hub does not let you read '{repo}'. Ask its owner for access, then `hf auth login`."
    elif isinstance(error, RepositoryNotFoundError) or status == 401:
        words = (
            f"The Hub has no repository '{repo}', or it is private, and no folder here has that name: "
            "check it, or `hf auth login`."
        )
    elif isinstance(error, RevisionNotFoundError):
        words = f"'{repo}' has no revision '{revision}'. Name one that it has, or leave it out."
    elif isinstance(error, RemoteEntryNotFoundError):
        words = f"{place} does not hold these weights. Choose another architecture or revision."
    elif status:
        many = " (too many requests)" if status == 429 else ""
        words = f"The Hub answered with error {status}{many} instead of {place}. Try again later."
    elif isinstance(error, OSError) and error.strerror and not isinstance(error, ConnectionError):
        words = f"{place} cannot be kept in the Hub's cache: {error.strerror}."
    else:
        name = type(error.__cause__ or error).__name__
        words = (
            f"The Hub cannot be reached, or the connection broke ({name}), and {place} is not in the cache. "
            "Check the connection, or use weights from a folder."
        )
    return WeightsError(words)


#: The environment variable that stands in for the argument.
VARIABLE = "LGG_WEIGHTS"
#: The one place that pins what is published; `python -m train push --pin` writes it.
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


def load_pin() -> Pin | None:
    """What is pinned, or None before anything was published.

    Raises:
        WeightsError: the file is damaged, or does not pin a commit.
    """
    try:
        stored = json.loads(PINNED.read_text())
        if not stored:
            return None
        pin = Pin(**{**stored, "models": tuple(stored["models"])})
        if not COMMIT.fullmatch(pin.revision):
            raise ValueError("a tag or a branch can change")
        return pin
    except (OSError, ValueError, KeyError, TypeError):
        words = f"{PINNED.name} pins no published weights. Restore it from the repository."
        raise WeightsError(words) from None


def find_address(weights: Path | str | None = None, revision: str | None = None) -> Address:
    """Decide where weights are to come from, without looking whether they are there.

    Args:
        weights: a folder, `user/name` or `user/name@revision`; by default `$LGG_WEIGHTS`, else the weights in
            this repository, else those that are pinned.
        revision: a commit, tag or branch, for a repository only; it outweighs one after the `@`.

    Raises:
        WeightsError: a revision was given for a folder, or there are no weights to fall back to.
    """
    if weights is None:
        weights = os.environ.get(VARIABLE) or _own_weights()
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


def _own_weights() -> Path | str:
    """The folder in this repository; those on the Hub where the package stands alone."""
    if (REPOSITORY_WEIGHTS / GATE).is_dir():
        return REPOSITORY_WEIGHTS
    if pin := load_pin():
        return pin.repo
    raise WeightsError(
        f"There are no weights here, and none are published yet: set {VARIABLE} to a folder of weights, "
        "or to a repository on the Hub (user/name)."
    )


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
