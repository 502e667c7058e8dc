"""What the stand-in for the Hub keeps: repositories with commits and tags, and large files by sha256."""

import base64
import hashlib
import json
from dataclasses import dataclass, field

#: From this size on, and for these suffixes, a file is large (LFS).
LARGE_BYTES, LARGE_SUFFIXES = 1_000_000, (".safetensors", ".onnx", ".png", ".tif")


def is_large(path: str, size: int) -> bool:
    return size >= LARGE_BYTES or path.endswith(LARGE_SUFFIXES)


def git_blob(data: bytes) -> str:
    """The name that git gives a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repository:
    """One repository: its commits (name → path → content), the newest, its tags, and what a Space has."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    head: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    hardware: str = "cpu-basic"

    def __post_init__(self) -> None:
        self.add({".gitattributes": b""}, "initial commit")

    def add(self, files: dict[str, bytes], message: str) -> str:
        text = json.dumps([self.head, message, {path: git_blob(data) for path, data in files.items()}])
        self.head = hashlib.sha1(text.encode()).hexdigest()
        self.commits[self.head] = files
        self.messages.append(message)
        return self.head

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.head]

    def find(self, revision: str) -> str | None:
        """The commit of a branch, tag or commit."""
        if revision == "main":
            return self.head
        return self.tags.get(revision) or (revision if revision in self.commits else None)


class Store:
    """All repositories by (kind, name), and the large files that were uploaded."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}

    def publish(self, name: str, files: dict[str, bytes], private: bool = False) -> str:
        """Put a model repository there without any upload; returns its commit."""
        repository = self.repositories.setdefault(("models", name), Repository(private))
        self.large |= {hashlib.sha256(data).hexdigest(): data for data in files.values()}
        return repository.add(dict(files), "published")

    def commit(self, repository: Repository, lines: list[dict]) -> str:
        """Apply the lines of a commit request.

        Raises:
            KeyError: a large file was never uploaded, or a deleted one never there.
        """
        files, message = dict(repository.files), ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.large[value["oid"]]
            else:
                del files[value["path"]]
        return repository.add(files, message)


def tree(files: dict[str, bytes]) -> list[dict]:
    """A commit's files as the Hub lists them."""
    entries = []
    for path, data in files.items():
        entry: dict = {"type": "file", "path": path, "size": len(data), "oid": git_blob(data)}
        if is_large(path, len(data)):
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        entries.append(entry)
    return entries
