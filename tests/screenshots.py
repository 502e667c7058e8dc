"""Draws the README's two pictures of the page: `python -m tests.screenshots`.

With the repository's weights (or `$LGG_WEIGHTS`) and the shipped phantoms only; nobody's scan is in them.
"""

import os
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from lgg.cascade import DEFAULT_ARCHITECTURE
from lgg.models import GATE
from lgg.weights import REPOSITORY_WEIGHTS, available
from tests.page_server import ROOT, chromium, serve_page

PICTURES = {
    "page.png": {"width": 1280, "height": 900},
    "page-phone.png": {"width": 390, "height": 844},
}
PATIENCE_MS = 120_000


def draw(browser: Browser, url: str, path: Path, viewport: dict[str, int]) -> None:
    """One picture: the first example, examined."""
    context = browser.new_context(viewport=viewport, color_scheme="light", reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    page.locator("#examples button.thumbnail-item").first.click()
    page.locator("#facts dl").wait_for()
    for picture in ("#outlined img", "#plain img"):
        page.locator(picture).wait_for()
        page.wait_for_function("picture => document.querySelector(picture).complete", arg=picture)
    page.mouse.move(0, 0)
    page.screenshot(path=path)
    context.close()


def main() -> None:
    """Both pictures, into `docs`."""
    weights = Path(os.environ.get("LGG_WEIGHTS", REPOSITORY_WEIGHTS))
    if not {GATE, DEFAULT_ARCHITECTURE} <= set(available(weights)):
        raise SystemExit(f"The pictures need weights: {GATE} and {DEFAULT_ARCHITECTURE}. Train them first.")
    folder = ROOT / "docs"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        with serve_page(weights, Path(scratch)) as url, chromium() as browser:
            for name, viewport in PICTURES.items():
                draw(browser, url, folder / name, viewport)
    print(f"Drawn: {', '.join(PICTURES)}, in docs.")


if __name__ == "__main__":
    main()
