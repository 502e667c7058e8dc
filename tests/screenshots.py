"""Draws the README's pictures of the page into `docs`: `python -m tests.screenshots`.

With the repository's weights and the shipped phantoms only; nobody's scan is in them.
"""

import tempfile
from pathlib import Path

from playwright.sync_api import expect

from lgg.examples import load_examples
from tests.browsing import DESKTOP, PHONE, pick, settle, visit
from tests.page_server import ROOT, chromium, serve_page

PICTURES = {"page.png": DESKTOP, "page-phone.png": PHONE}


def main() -> None:
    """An example with its outline, on a desktop and on a phone."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        serve_page(Path(scratch)) as url,
        chromium() as browser,
    ):
        for name, viewport in PICTURES.items():
            with visit(browser, url, viewport) as page:
                pick(page, load_examples()[0].title)
                expect(page.locator("#facts dl")).to_be_visible()
                for picture in ("#outlined img", "#plain img"):
                    expect(page.locator(picture)).to_have_js_property("complete", True)
                page.mouse.move(0, 0)
                settle(page)
                page.screenshot(path=ROOT / "docs" / name)


if __name__ == "__main__":
    main()
