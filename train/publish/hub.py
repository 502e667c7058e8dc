"""Publish weights and deploy the page: `python -m train push --repo user/lgg --space user/lgg-demo`.

With both, the Space runs what was just published; with --space alone, what `lgg/weights/pinned.json` pins.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from lgg.errors import PublishError
from lgg.files import write_atomically
from lgg.models import GATE
from lgg.weights import CONFIG_FILE, REPOSITORY_WEIGHTS, WEIGHTS_FILE, ModelConfig, available, load_config
from lgg.weights.hub import PINNED, VARIABLE, Pin, load_pin
from train.evaluation.results import load_results
from train.publish.checkout import ROOT, Files, clean_commit, version
from train.publish.space import HARDWARE, space_files
from train.report.model_card import card_text, collection_text

RESULTS = "results.json"
#: What lies beside the models and is published with them: figures and results.
BESIDE = {".json", ".png", ".svg", ".csv"}


def model_files(weights: Path, repo: str) -> Files:
    """Weights, configs and cards of every model, results and figures.

    Args:
        weights: a folder of weights with a gate and a segmenter.
        repo: `user/name` that the cards tell people to load.

    Raises:
        PublishError: there is no cascade, or a model was not measured, or its weights are not those that its
            config describes.
        WeightsError: a config cannot be read.
    """
    names = available(weights)
    if GATE not in names or len(names) < 2:
        raise PublishError("A gate and a segmenter are needed, and the folder of weights lacks one of them.")
    configs = [_checked(weights / name) for name in names]
    files: Files = {}
    for name, config in zip(names, configs, strict=True):
        files[f"{name}/{CONFIG_FILE}"] = weights / name / CONFIG_FILE
        files[f"{name}/{WEIGHTS_FILE}"] = weights / name / WEIGHTS_FILE
        files[f"{name}/README.md"] = card_text(config, repo).encode()
    for path in sorted(weights.rglob("*")):
        inside = path.relative_to(weights).as_posix()
        if path.is_file() and path.suffix in BESIDE and inside not in files:
            files[inside] = path
    figures = [path for path in files if path.endswith((".png", ".svg"))]
    results = load_results(weights / RESULTS)
    files["README.md"] = collection_text(configs, results, repo, figures).encode()
    return files


def _checked(folder: Path) -> ModelConfig:
    config = load_config(folder)
    if not config.metrics.get("measures"):
        raise PublishError(
            f"'{folder.name}' was never measured. Run `python -m train report --data DIR` first."
        )
    if hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest() != config.sha256:
        raise PublishError(f"{WEIGHTS_FILE} of '{folder.name}' is not the file that its config describes.")
    return config


def size(content: Path | bytes) -> int:
    """Bytes of a file or of written content."""
    return content.stat().st_size if isinstance(content, Path) else len(content)


def listing(files: Files) -> str:
    """Every file with its size in bytes, and the sum."""
    rows = [(size(content), path) for path, content in sorted(files.items())]
    rows.append((sum(one for one, _ in rows), f"in {len(rows)} files"))
    return "\n".join(f"{count:>12,}  {path}" for count, path in rows)


#: The Hub writes this file itself.
KEPT = ".gitattributes"


def publish_models(api: HfApi, repo: str, files: Files, tag: str, message: str, private: bool) -> str:
    """Make a model repository hold exactly these files, and tag that state.

    Publishing the same files under the same tag again changes nothing; so after an interruption, at whatever
    point, the same call goes on.

    Returns:
        The commit's 40 hexadecimal digits.

    Raises:
        PublishError: the tag names other files, a private repository was wanted and it is public, or the Hub
            refuses or cannot be reached.
    """
    with _explained(repo):
        api.create_repo(repo, private=private or None, exist_ok=True)
        if private and not api.model_info(repo).private:
            raise PublishError(f"'{repo}' is public already. Make it private on the Hub, or drop --private.")
        tags = {one.name: one.target_commit for one in api.list_repo_refs(repo).tags}
        if tag in tags:
            there = _published(api, repo, "model", tags[tag])
            if there.keys() == files.keys() and all(_is_same(files[path], there[path]) for path in files):
                return tags[tag]
            raise PublishError(
                f"'{repo}' has other files under '{tag}'. A published version stays as it is: raise the "
                "version in pyproject.toml, or name another with --tag."
            )
        commit = _commit(api, repo, "model", files, message)
        api.create_tag(repo, tag=tag, revision=commit)
        return commit


def is_public(api: HfApi, repo: str, revision: str) -> bool:
    """Whether anybody may read published weights: a Space that is being built has no token.

    Raises:
        PublishError: they are not there, or the Hub refuses or cannot be reached.
    """
    with _explained(repo):
        try:
            found = api.model_info(repo, revision=revision)
        except (RepositoryNotFoundError, RevisionNotFoundError):
            raise PublishError(
                f"The Hub has no '{repo}' at revision '{revision}', or your token may not read it, so the "
                "Space would have nothing to run. Publish it first, with --repo and --pin."
            ) from None
        return not (found.private or found.gated)


def deploy_space(
    api: HfApi,
    space: str,
    files: Files,
    variables: dict[str, str],
    hardware: str,
    message: str,
    private: bool,
) -> str:
    """Make a Gradio Space hold exactly these files, and ask for its hardware.

    Returns:
        The commit's 40 hexadecimal digits.

    Raises:
        PublishError: the Hub refuses or cannot be reached.
    """
    with _explained(space):
        api.create_repo(space, repo_type="space", space_sdk="gradio", private=private or None, exist_ok=True)
        for name, value in variables.items():  # first, so that what is built next has them
            api.add_space_variable(space, name, value)
        commit = _commit(api, space, "space", files, message)
        if api.get_space_runtime(space).requested_hardware != hardware:
            api.request_space_hardware(space, hardware)  # type: ignore[arg-type]  # any string is taken
        return commit


def _commit(api: HfApi, repo: str, kind: str, files: Files, message: str) -> str:
    old = set(_published(api, repo, kind, "main"))
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(path, content) for path, content in sorted(files.items())
    ]
    operations += [CommitOperationDelete(path) for path in sorted(old - set(files))]
    return api.create_commit(repo, operations, commit_message=message, repo_type=kind).oid


def _published(api: HfApi, repo: str, kind: str, revision: str) -> dict[str, RepoFile]:
    """Every file that the Hub holds at a revision, by its path."""
    entries = api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=kind)
    return {one.path: one for one in entries if isinstance(one, RepoFile) and one.path != KEPT}


def _is_same(content: Path | bytes, there: RepoFile) -> bool:
    """Whether the Hub holds this content: it names large files by sha256, all others as git does."""
    data = content.read_bytes() if isinstance(content, Path) else content
    if there.lfs:
        return hashlib.sha256(data).hexdigest() == there.lfs.sha256
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == there.blob_id


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Errors of the Hub and of the way there as ours, without tokens, addresses and paths."""
    try:
        yield
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        raise PublishError(_words(error, repo)) from None


def _words(error: BaseException, repo: str) -> str:
    causes = [error]
    while causes[-1].__cause__ is not None:  # an upload's own error lies beneath that of its thread
        causes.append(causes[-1].__cause__)
    answers = [one.response.status_code for one in causes if isinstance(one, HfHubHTTPError)]
    status = answers[0] if answers else 0
    if isinstance(error, HFValidationError):
        return f"'{repo}' is not the name of a repository on the Hub. Write it as user/name."
    if status == 401:
        return f"The Hub does not know you, so '{repo}' stays as it is: `hf auth login`, with a write token."
    if status == 402:
        return (
            f"The Hub asks for a subscription before it runs '{repo}' on this hardware. Try --hardware cpu."
        )
    if status in (403, 404):
        return f"Your token may not write to '{repo}'. Check the name, and that the token has write access."
    if status in (409, 412):
        return f"Somebody else is writing to '{repo}'. Try again."
    if status == 429:
        return f"The Hub has had too many requests. Try again in some minutes; '{repo}' is as it was."
    if status == 400 or (isinstance(error, ValueError) and not answers):
        return f"The Hub does not take what was sent to '{repo}': check its card and front matter."
    if status:
        return f"The Hub answered with error {status}; '{repo}' may lack the last step. Run this again."
    kind = type(causes[-1]).__name__
    return f"The connection to the Hub failed ({kind}); '{repo}' may lack the last step. Run this again."


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
        pin: Write the published commit into lgg/weights/pinned.json; commit that file.
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
            print("Pinned in lgg/weights/pinned.json: commit that file")
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
