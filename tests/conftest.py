"""What tests share: one running page, a browser for each process, and a stand-in for the Hub."""

import atexit
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.hub_server import Hub

# Converted networks are made once a run, not taken from the home of whoever runs the tests.
if "LGG_CACHE" not in os.environ:
    os.environ["LGG_CACHE"] = tempfile.mkdtemp(prefix="lgg-graphs-")
    atexit.register(shutil.rmtree, os.environ["LGG_CACHE"], ignore_errors=True)

# A folder for the page that all processes of a run visit; the first of them, which ends last, sets it.
if "LGG_TEST_PAGE" not in os.environ:
    os.environ["LGG_TEST_PAGE"] = tempfile.mkdtemp(prefix="lgg-page-")

    @atexit.register
    def end_page() -> None:
        """Stop the page, if a test has started it."""
        folder = Path(os.environ["LGG_TEST_PAGE"])
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((folder / "pid").read_text()), signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


#: The files that take minutes, the longest first.
SLOWEST = ("test_interrupted", "test_cli", "test_processes", "test_viewer_browser", "test_series_browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slowest files: `make test` deals files out, and the last must leave no core waiting."""
    rank = {name: number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session")
def page_url() -> str:
    """The address of a running page: one for all processes of `make test`. The first to need it starts it."""
    # Imported here: most tests need neither a page nor a browser.
    from tests.page_server import start_page

    folder = Path(os.environ["LGG_TEST_PAGE"])
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "url").exists():
            url, process = start_page(folder)
            (folder / "pid").write_text(str(process.pid))
            (folder / "url").write_text(url)
    return (folder / "url").read_text()


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """A headless Chromium."""
    from tests.page_server import chromium

    with chromium() as running:
        yield running


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["Hub"]:
    """A stand-in that the real `huggingface_hub` talks to; its cache is empty and nobody is logged in."""
    from huggingface_hub import constants

    from tests.hub_server import serve_hub

    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serve_hub() as server:
        # The library reads its HF_ variables once, at its import.
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        # Between two tries it sleeps for seconds.
        impatient = SimpleNamespace(sleep=lambda _: None, time=time.time, monotonic=time.monotonic)
        monkeypatch.setattr("huggingface_hub.utils._http.time", impatient)
        monkeypatch.setattr("huggingface_hub.file_download.time", impatient)
        yield server
