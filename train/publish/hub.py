"""Publish weights to the Hub and deploy the page as a Space: `python -m train push`."""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
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
from lgg.weights import (
    CONFIG_FILE,
    FORMAT,
    REPOSITORY_WEIGHTS,
    WEIGHTS_FILE,
    ModelConfig,
    available,
    check_model,
)
from lgg.weights.hub import PINNED, VARIABLE, Pin, load_pin
from train.evaluation.results import load_results
from train.publish.onnx import convert
from train.publish.space import HARDWARE, ROOT, Files, git, space_files
from train.report.model_card import card_text, collection_text

#: What lies beside the models and is published with them: figures and results.
BESIDE = {".json", ".png"}
#: The Hub writes this file itself.
KEPT = ".gitattributes"
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

    With both, the Space runs what was just published; with --space alone, what lgg/weights/pinned.json pins.

    Args:
        repo: Model repository, as user/name: weights, also as ONNX, configs, cards, results and figures in
            one commit.
        space: Space, as user/name: the files that the page needs, and the small weights to fall back to.
        private: Create what does not exist yet as private.
        dry_run: List every file with its size; ask nobody and send nothing.
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
        tag = tag or "v" + tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        commit = _push_models(weights, repo, tag, code, private)
        current = Pin(repo, commit, tag, tuple(available(weights)))
        if pin and not dry_run:
            text = json.dumps(asdict(current), indent=1) + "\n"
            write_atomically(PINNED, lambda path: path.write_text(text))
            print("Pinned in lgg/weights/pinned.json: commit that file")
    if space:
        if current is None:
            raise PublishError("Nothing is pinned, so the Space has no weights to run: push --repo first.")
        preload = dry_run or is_public(HfApi(), current.repo, current.revision)
        files = space_files(space, current, hardware, weights, preload)
        wanted, variables = HARDWARE[hardware], {VARIABLE: current.repo, "GRADIO_MCP_SERVER": "True"}
        print(f"{space}, on {wanted}, {', '.join(map('='.join, variables.items()))}\n{listing(files)}")
        if not dry_run:
            deploy_space(HfApi(), space, files, variables, wanted, f"Page, code {code[:12]}", private)
            print(f"Deployed to {space}; it now builds")


def _push_models(weights: Path, repo: str, tag: str, code: str, private: bool) -> str:
    """List and publish a folder of weights; `code` is `NOT_YET` in a dry run. Returns the Hub's commit."""
    with TemporaryDirectory() as scratch:
        files = model_files(weights, repo)
        convert(weights=weights, out=Path(scratch))
        files |= {f"onnx/{path.name}": path for path in Path(scratch).glob("*.onnx")}
        print(f"{repo}, {tag}\n{listing(files)}")
        if code == NOT_YET:
            return NOT_YET
        message = f"Weights {tag}, code {code[:12]}"
        commit = publish_models(HfApi(), repo, files, tag, message, private)
    print(f"Published as {repo}, revision {commit}")
    return commit


def clean_commit(root: Path = ROOT) -> str:
    """The commit that is checked out.

    Raises:
        PublishError: there are changes that no commit holds, or this is no checkout at all.
    """
    changes = git(root, "status", "--porcelain").splitlines()
    if changes:
        raise PublishError(
            f"{len(changes)} changes are in no commit, beginning with '{changes[0].strip()}'. What is "
            "published must be found again in the history: commit, or stash, then push."
        )
    return git(root, "rev-parse", "HEAD").strip()


def model_files(weights: Path, repo: str) -> Files:
    """Weights, configs and cards of every model, results and figures.

    Args:
        weights: a folder of weights with a gate and a segmenter.
        repo: `user/name` that the cards tell people to load.

    Raises:
        PublishError: there is no cascade, or a model was not measured.
        WeightsError: a config cannot be read, or its weights are not those that it describes.
    """
    names = available(weights)
    if GATE not in names or len(names) < 2:
        raise PublishError("A gate and a segmenter are needed, and the folder of weights lacks one of them.")
    configs: list[ModelConfig] = []
    files: Files = {}
    for name in names:
        config = check_model(weights / name)
        if not config.metrics.get("measures"):
            raise PublishError(f"'{name}' was never measured. Run `python -m train report --data DIR` first.")
        configs.append(config)
        files[f"{name}/{CONFIG_FILE}"] = weights / name / CONFIG_FILE
        files[f"{name}/{WEIGHTS_FILE}"] = weights / name / WEIGHTS_FILE
        files[f"{name}/README.md"] = card_text(config, repo).encode()
    for path in sorted(weights.rglob("*")):
        inside = path.relative_to(weights).as_posix()
        if path.is_file() and path.suffix in BESIDE and inside not in files:
            files[inside] = path
    figures = [path for path in files if path.endswith(".png")]
    results = load_results(weights / "results.json")
    files["README.md"] = collection_text(configs, results, repo, figures).encode()
    files[CONFIG_FILE] = _index(configs)
    return files


def _index(configs: Sequence[ModelConfig]) -> bytes:
    """The repository's own `config.json`: which models it holds. Its requests are what the Hub counts."""
    models = {
        config.architecture: {"sha256": config.sha256, "date": config.date, "parameters": config.parameters}
        for config in configs
    }
    index = {"library_name": "lgg", "format": FORMAT, "models": models}
    return (json.dumps(index, indent=1) + "\n").encode()


def listing(files: Files) -> str:
    """Every file with its size in bytes, and the sum."""
    sizes = {
        path: content.stat().st_size if isinstance(content, Path) else len(content)
        for path, content in sorted(files.items())
    }
    rows = [*sizes.items(), (f"in {len(sizes)} files", sum(sizes.values()))]
    return "\n".join(f"{count:>12,}  {path}" for path, count in rows)


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
        tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo).tags}
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
            info = api.model_info(repo, revision=revision)
        except (RepositoryNotFoundError, RevisionNotFoundError):
            raise PublishError(
                f"The Hub has no '{repo}' at revision '{revision}', or your token may not read it, so the "
                "Space would have nothing to run. Publish it first, with --repo and --pin."
            ) from None
        return not (info.private or info.gated)


def deploy_space(
    api: HfApi,
    space: str,
    files: Files,
    variables: dict[str, str],
    hardware: str,
    message: str,
    private: bool,
) -> None:
    """Make a Gradio Space hold exactly these files, and ask for its hardware.

    Raises:
        PublishError: the Hub refuses or cannot be reached.
    """
    with _explained(space):
        api.create_repo(space, repo_type="space", space_sdk="gradio", private=private or None, exist_ok=True)
        for name, value in variables.items():  # first, so that what is built next has them
            api.add_space_variable(space, name, value)
        _commit(api, space, "space", files, message)
        if api.get_space_runtime(space).requested_hardware != hardware:
            api.request_space_hardware(space, hardware)  # type: ignore[arg-type]  # any string is taken


def _commit(api: HfApi, repo: str, kind: str, files: Files, message: str) -> str:
    """One commit with all files and without what is gone; none where nothing has changed.

    Not by `HfApi.upload_folder`: with Xet it spreads a folder over several commits, and whoever loads the
    branch in between gets a gate and a segmenter that do not belong together.
    """
    old = set(_published(api, repo, kind, "main"))
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(path, content) for path, content in sorted(files.items())
    ]
    operations += [CommitOperationDelete(path) for path in sorted(old - set(files))]
    return api.create_commit(repo, operations, commit_message=message, repo_type=kind).oid


def _published(api: HfApi, repo: str, kind: str, revision: str) -> dict[str, RepoFile]:
    """Every file that the Hub holds at a revision, by its path."""
    entries = api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=kind)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile) and entry.path != KEPT}


def _is_same(content: Path | bytes, there: RepoFile) -> bool:
    """Whether the Hub holds this content: it names large files by sha256, all others as git does."""
    data = content.read_bytes() if isinstance(content, Path) else content
    if there.lfs:
        return hashlib.sha256(data).hexdigest() == there.lfs.sha256
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == there.blob_id


DENIED = "Your token may not write to '{repo}'. Check the name, and that the token has write access."
#: Status → what to say of it.
WORDS = {
    400: "The Hub does not take what was sent to '{repo}': check its card and front matter.",
    401: "The Hub does not know you, so '{repo}' stays as it is: `hf auth login`, with a write token.",
    402: "The Hub asks for a subscription before it runs '{repo}' on this hardware. Try --hardware cpu.",
    403: DENIED,
    404: DENIED,
    429: "The Hub has had too many requests. Try again in some minutes; '{repo}' is as it was.",
}


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Errors of the Hub and of the way there as ours, without tokens, addresses and paths."""
    try:
        yield
    except HFValidationError:
        raise PublishError(
            f"'{repo}' is not the name of a repository on the Hub. Write it as user/name."
        ) from None
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, HfHubHTTPError):
            cause = cause.__cause__  # an upload's own error lies beneath that of its thread
        status = 400 if isinstance(error, ValueError) else 0
        status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else status
        what = f"error {status}" if status else type(cause).__name__
        usual = f"The connection to the Hub failed ({what}); '{repo}' may lack the last step. Run this again."
        raise PublishError(WORDS.get(status, usual).format(repo=repo)) from None
