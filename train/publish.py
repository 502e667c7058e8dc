"""What is sent to the Hub: one commit for all files, a tag, and for a Space its variables and hardware."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from lgg.errors import PublishError
from train.bundle import Files

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
