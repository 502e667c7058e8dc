"""Starts the page as its own process, as a visitor meets it, and the browser that visits it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from lgg.weights import REPOSITORY_WEIGHTS

ROOT = Path(__file__).resolve().parents[1]
#: Seconds; a busy two-core machine needs many for the imports alone.
PATIENCE = 240
#: The browser talks to the page and to nobody else.
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


def start_page(scratch: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """Address and process of a page on a free port, by the weights that ship; uploads are in `scratch`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    scratch.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "LGG_WEIGHTS": str(REPOSITORY_WEIGHTS),
        "LGG_EXAMPLES": str(scratch / "none"),
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(scratch / "uploads"),
    }
    log = scratch / "page.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{port}/"
    try:
        _wait_for(url, process, log)
    except BaseException:
        process.kill()
        raise
    return url, process


@contextmanager
def serve_page(scratch: Path) -> Iterator[str]:
    """The page's address, while it runs."""
    url, process = start_page(scratch)
    try:
        yield url
    finally:
        process.kill()  # after Ctrl-C it would take many seconds to tidy up what is deleted anyway
        process.wait()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        raise RuntimeError("The page's tests need Chromium; `make test` says how to install it.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"The page ended at its start:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"The page did not come up:\n{log.read_text()}")
