"""What tests share: one running page and one browser for the whole session, and a stand-in for the Hub."""

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
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

#: The files that take minutes, the longest first.
SLOWEST = ("test_interrupted", "test_cli", "test_processes", "test_viewer_browser", "test_series_browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slowest files: `make test` deals files out, and the last must leave no core waiting."""
    rank = {name: number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running page."""
    # Imported here: most tests need neither a page nor a browser.
    from tests.page_server import serve_page, weights_for_tests

    scratch = tmp_path_factory.mktemp("page")
    with serve_page(weights_for_tests(scratch / "weights"), scratch) as url:
        yield url


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
