"""A stand-in for the Hub over real HTTP: what the real `huggingface_hub` needs to publish and download.

What it leaves out: Xet, branches other than main, rights beyond one token, and everything about people.
"""

import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from tests.hub_store import Repository, Store, is_large, tree

TOKEN = "hf_a_token_of_the_tests"


@dataclass
class Fault:
    """What goes wrong with requests whose `METHOD /path` matches `pattern`, as often as `times` says.

    status: answer this. cut: send this many bytes of the body, then hang up. delay: wait these seconds before
    the answer, or before hanging up.
    """

    pattern: str
    status: int = 0
    cut: int | None = None
    delay: float = 0
    times: int = 1_000_000


class Hub(ThreadingHTTPServer):
    """The server; `store` is what it holds, `faults` what goes wrong, `seen` the requests it had."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store, self.faults, self.seen = Store(), list[Fault](), list[str]()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        #: Large files come from another host, which must never see a token.
        self.cdn = f"http://localhost:{self.server_address[1]}"

    def fault(self, request: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.search(fault.pattern, request):
                fault.times -= 1
                return fault
        return None

    def handle_error(self, request, client_address) -> None:
        """Clients that hang up are part of the tests; all else is an error of this file."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve_hub() -> Iterator[Hub]:
    hub = Hub()
    threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, format, *args) -> None:
        pass

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        self.server.seen.append(request)
        self.cut = None
        if fault := self.server.fault(request):
            self.cut, self.delay = fault.cut, fault.delay
            if fault.cut is None:
                time.sleep(fault.delay)
            if fault.status:
                return self.send({"error": "told to fail"}, fault.status)
        for pattern, route in ROUTES.items():
            if match := re.fullmatch(pattern, request):
                return route(self, body, **match.groupdict())
        return self.send({"error": "no such route"}, 404)

    def send(self, body: object, status: int = 200, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(data if self.cut is None else data[: self.cut])
        if self.cut is not None:
            self.wfile.flush()
            time.sleep(self.delay)
            self.close_connection = True

    def refuse(self, status: int, code: str) -> None:
        self.send({"error": code}, status, X_Error_Code=code)

    def may_write(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def repository(self, kind: str, name: str) -> Repository | None:
        """The repository, if it exists and the visitor may see it; else the refusal is sent."""
        found = self.server.store.repositories.get((kind, name))
        if found is None or (found.private and not self.may_write()):
            self.refuse(404 if self.may_write() else 401, "RepoNotFound")
            return None
        return found

    def create(self, body: bytes) -> None:
        if not self.may_write():
            return self.send({"error": "Invalid credentials"}, 401)
        asked = json.loads(body)
        kind, name = f"{asked.get('type', 'model')}s", f"{asked['organization']}/{asked['name']}"
        known = (kind, name) in self.server.store.repositories
        if not known:
            private = asked.get("visibility") == "private"
            self.server.store.repositories[kind, name] = Repository(private)
        prefix = "" if kind == "models" else f"{kind}/"
        return self.send({"url": f"{self.server.url}/{prefix}{name}"}, 409 if known else 200)

    def validate(self, body: bytes) -> None:
        good = json.loads(body)["content"].startswith("---\n")
        errors = [] if good else [{"message": "no front matter"}]
        self.send({"warnings": [], "errors": errors}, 200 if good else 400)

    def preupload(self, body: bytes, kind: str, name: str, revision: str) -> None:
        if repository := self.repository(kind, name):
            known = {file["path"]: file.get("lfs", file)["oid"] for file in tree(repository.files)}
            files = []
            for file in json.loads(body)["files"]:
                path, mode = file["path"], "lfs" if is_large(file["path"], file["size"]) else "regular"
                files.append(
                    {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": known.get(path)}
                )
            self.send({"files": files})

    def batch(self, body: bytes, prefix: str, name: str) -> None:
        objects = []
        for asked in json.loads(body)["objects"]:
            href = f"{self.server.cdn}/large/{asked['oid']}?X-Signature=secret"
            missing = {"actions": {"upload": {"href": href}}}
            objects.append(asked | ({} if asked["oid"] in self.server.store.large else missing))
        self.send({"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str) -> None:
        whole = hashlib.sha256(body).hexdigest() == oid
        if whole:
            self.server.store.large[oid] = body
        self.send({}, 200 if whole else 400)

    def commit(self, body: bytes, kind: str, name: str, revision: str) -> None:
        if not self.may_write():
            return self.send({"error": "You may not write here"}, 403)
        if repository := self.repository(kind, name):
            oid = self.server.store.commit(repository, [json.loads(line) for line in body.splitlines()])
            self.send({"commitUrl": f"{self.server.url}/{name}/commit/{oid}", "commitOid": oid})

    def tag(self, body: bytes, kind: str, name: str, revision: str) -> None:
        if repository := self.repository(kind, name):
            tag, commit = json.loads(body)["tag"], repository.find(revision)
            known = tag in repository.tags
            if not known and commit:
                repository.tags[tag] = commit
            self.send({}, 409 if known else 200)

    def refs(self, body: bytes, kind: str, name: str) -> None:
        if repository := self.repository(kind, name):
            tags = [{"name": tag, "ref": tag, "targetCommit": oid} for tag, oid in repository.tags.items()]
            self.send({"branches": [], "converts": [], "tags": tags})

    def info(self, body: bytes, kind: str, name: str, revision: str | None) -> None:
        if repository := self.repository(kind, name):
            sha = repository.find(revision or "main")
            if sha is None:
                return self.refuse(404, "RevisionNotFound")
            self.send({"id": name, "sha": sha, "private": repository.private, "siblings": [], "tags": []})

    def listing(self, body: bytes, kind: str, name: str, revision: str) -> None:
        if repository := self.repository(kind, name):
            commit = repository.find(revision)
            self.send(tree(repository.commits[commit])) if commit else self.refuse(404, "RevisionNotFound")

    def resolve(self, body: bytes, prefix: str | None, name: str, revision: str, path: str) -> None:
        repository = self.repository((prefix or "models").rstrip("/"), name)
        if repository is None:
            return None
        commit = repository.find(revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        data = repository.commits[commit].get(path)
        if data is None:
            return self.send({}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        oid = hashlib.sha256(data).hexdigest()
        if not is_large(path, len(data)):
            return self.send(data, ETag=f'"{oid}"', X_Repo_Commit=commit)
        # As the Hub does: large files lie elsewhere, at an address that lets in whoever knows it.
        linked = {"X_Linked_Etag": f'"{oid}"', "X_Linked_Size": str(len(data))}
        where = f"{self.server.cdn}/large/{oid}?X-Signature=secret"
        return self.send(b"", 302, Location=where, X_Repo_Commit=commit, **linked)

    def get_large(self, body: bytes, oid: str) -> None:
        assert "Authorization" not in self.headers
        data = self.server.store.large[oid]
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(asked[1])
            return self.send(data[start:], 206, Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
        return self.send(data)

    def space(self, body: bytes, name: str, what: str) -> None:
        if not (space := self.repository("spaces", name)):
            return
        asked = json.loads(body) if body else {}
        space.hardware = asked.get("flavor", space.hardware)
        if what == "variables" and asked:
            space.variables[asked["key"]] = asked["value"]
        runtime = {"stage": "BUILDING", "hardware": {"current": None, "requested": space.hardware}}
        self.send({} if what == "variables" else runtime)


_REPO = r"(?P<kind>models|spaces)/(?P<name>[\w.-]+/[\w.-]+)"
_FILE = r"/(?P<prefix>spaces/)?(?P<name>[\w.-]+/[\w.-]+)"
ROUTES = {
    r"POST /api/repos/create": Handler.create,
    r"POST /api/validate-yaml": Handler.validate,
    rf"POST /api/{_REPO}/preupload/(?P<revision>[^/]+)": Handler.preupload,
    rf"POST {_FILE}\.git/info/lfs/objects/batch": Handler.batch,
    r"PUT /large/(?P<oid>\w+)": Handler.put,
    rf"POST /api/{_REPO}/commit/(?P<revision>[^/]+)": Handler.commit,
    rf"POST /api/{_REPO}/tag/(?P<revision>[^/]+)": Handler.tag,
    rf"GET /api/{_REPO}/refs": Handler.refs,
    rf"GET /api/{_REPO}/tree/(?P<revision>[^/]+)": Handler.listing,
    rf"GET /api/{_REPO}(/revision/(?P<revision>[^/]+))?": Handler.info,
    rf"(GET|HEAD) {_FILE}/resolve/(?P<revision>[^/]+)/(?P<path>.+)": Handler.resolve,
    r"GET /large/(?P<oid>\w+)": Handler.get_large,
    r"(GET|POST) /api/spaces/(?P<name>[\w.-]+/[\w.-]+)/(?P<what>runtime|hardware|variables)": Handler.space,
}
