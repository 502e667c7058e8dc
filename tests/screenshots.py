"""Draws the page: `python -m tests.screenshots` for the README, `--all DIR` every state at both widths.

With the repository's weights (or `$LGG_WEIGHTS`) and the shipped phantoms only; nobody's scan is in them.
"""

import argparse
import io
import os
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import tifffile
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from lgg.app.gallery import load_examples
from lgg.cascade import DEFAULT_ARCHITECTURE
from lgg.models import GATE
from lgg.weights import REPOSITORY_WEIGHTS, available
from tests.browsing import DESKTOP, PATIENCE_MS, PHONE, examine, open_truth, pick, settle, upload
from tests.page_server import ROOT, chromium, serve_page

README = {"page.png": DESKTOP, "page-phone.png": PHONE}


def _example(page: Page) -> None:
    pick(page, load_examples()[0].title)
    expect(page.locator("#facts dl")).to_be_visible()
    for picture in ("#outlined img", "#plain img"):
        expect(page.locator(picture)).to_have_js_property("complete", True)


def _layer(name: str) -> Callable[[Page], None]:
    def choose(page: Page) -> None:
        _example(page)
        before = page.locator("#outlined img").get_attribute("src")
        page.locator("#layer label", has_text=name).click()
        expect(page.locator("#outlined img")).not_to_have_attribute("src", str(before))

    return choose


def _slider(page: Page) -> None:
    _example(page)
    page.locator("#before-after input").check()
    expect(page.locator("#both img")).to_have_count(2)


def _compare(page: Page) -> None:
    _example(page)
    page.get_by_role("button", name="Compare all architectures").click()
    expect(page.locator("#comparison table")).to_be_visible()
    expect(page.locator("#side-by-side img").first).to_be_visible()


def _junk(page: Page) -> None:
    upload(page, {"name": "holiday.tif", "mimeType": "image/tiff", "buffer": b"not a picture at all " * 20})
    expect(page.locator("#result .verdict.error")).to_be_visible()


def _photo(page: Page) -> None:
    """What no network was made for: a picture in colours, without a head."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype("uint8")
    picture = io.BytesIO()
    Image.fromarray(colours).resize((320, 240), Image.Resampling.BICUBIC).save(picture, "PNG")
    upload(page, {"name": "holiday.png", "mimeType": "image/png", "buffer": picture.getvalue()})
    expect(page.locator("#result .warning")).to_be_visible()


def _nifti(name: str, healthy: np.ndarray, lesion: np.ndarray) -> dict[str, Any]:
    """A head that is healthy at first, then has a lesion, and none again; with distances."""
    voxels = np.stack([healthy] * 6 + [lesion] * 5 + [healthy] * 5).transpose(2, 1, 0)
    volume = nibabel.Nifti1Image(voxels.astype("int16"), np.diag([-0.9, -0.9, 5.0, 1.0]))
    return {"name": name, "mimeType": "application/octet-stream", "buffer": volume.to_bytes()}


def _series(page: Page) -> None:
    healthy, lesion = (tifffile.imread(load_examples()[n].image)[..., 1] for n in (-1, 0))
    examine(page, _nifti("flair.nii", healthy, lesion))
    expect(page.locator("#series-chart [data-slice]")).to_have_count(16)
    expect(page.locator("#series-picture img")).to_have_js_property("complete", True)


def _series_truth(page: Page) -> None:
    _series(page)
    mask = np.asarray(Image.open(str(load_examples()[0].mask)))
    open_truth(page, "series-").set_input_files(_nifti("truth.nii", mask * 0, mask))
    expect(page.locator("#series-scores dl")).to_be_visible()
    page.locator("#series-layer label", has_text="Errors").click()
    expect(page.locator("#series-legend")).to_contain_text("agreed")


def _sample(page: Page) -> None:
    page.get_by_role("tab", name="Whole series").click()
    page.locator("#series-sample").click()
    expect(page.locator("#series-viewer .viewer.on[data-ready]")).to_be_visible(timeout=2 * PATIENCE_MS)


def _sample_button(button: str) -> Callable[[Page], None]:
    def choose(page: Page) -> None:
        _sample(page)
        page.locator(f"#series-viewer [data-{button}]").click()
        page.wait_for_timeout(3000)  # it is drawn without a graphics card

    return choose


def _sample_errors(page: Page) -> None:
    _sample(page)
    page.locator("#series-layer label", has_text="Errors").click()
    page.wait_for_timeout(3000)  # as above


def _series_start(page: Page) -> None:
    page.get_by_role("tab", name="Whole series").click()
    expect(page.locator("#series-said")).to_contain_text("No series yet")


def _series_junk(page: Page) -> None:
    examine(page, {"name": "notes.tif", "mimeType": "image/tiff", "buffer": b"not a picture at all " * 20})
    expect(page.locator("#series-said .error")).to_be_visible()


def _about(page: Page) -> None:
    page.get_by_role("tab", name="About").click()
    expect(page.locator(".about")).to_be_visible()


#: State → how a visitor gets there.
STATES: dict[str, Callable[[Page], None]] = {
    "start": lambda page: None,
    "example": _example,
    "heat": _layer("Heat map"),
    "why": _layer("Why"),
    "unsure": _layer("How unsure"),
    "errors": _layer("Errors"),
    "slider": _slider,
    "compare": _compare,
    "junk": _junk,
    "photo": _photo,
    "series-start": _series_start,
    "series": _series,
    "series-truth": _series_truth,
    "series-sample": _sample,
    "series-sample-coronal": _sample_button("plane=coronal"),
    "series-sample-3d": _sample_button("plane=render"),
    "series-sample-correct": _sample_button("correct=start"),
    "series-sample-errors": _sample_errors,
    "series-junk": _series_junk,
    "about": _about,
}


def draw(
    browser: Browser, url: str, path: Path, viewport: dict[str, int], state: str, scheme: str, whole: bool
) -> None:
    """One picture. `whole`: the page to its end, not just what fits the screen."""
    context = browser.new_context(viewport=viewport, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    expect(page.locator("#examples button.thumbnail-item")).to_have_count(6)
    STATES[state](page)
    page.mouse.move(0, 0)
    settle(page)
    page.screenshot(path=path, full_page=whole)
    context.close()


def main() -> None:
    """The README's pictures into `docs`, or all states into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="DIR", help="every state, light and dark, both widths")
    parser.add_argument("--state", choices=STATES, action="append", help="with --all: only this state")
    given = parser.parse_args()
    everything = given.all
    weights = Path(os.environ.get("LGG_WEIGHTS", REPOSITORY_WEIGHTS))
    if not {GATE, DEFAULT_ARCHITECTURE} <= set(available(weights)):
        raise SystemExit(f"The pictures need weights: {GATE} and {DEFAULT_ARCHITECTURE}. Train them first.")
    folder = everything or ROOT / "docs"
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        serve_page(weights, Path(scratch)) as url,
        chromium() as browser,
    ):
        if everything is None:
            for name, viewport in README.items():
                draw(browser, url, folder / name, viewport, "example", "light", whole=False)
            return
        widths = {"desktop": DESKTOP, "phone": PHONE}
        for state, scheme, width in product(given.state or STATES, ("light", "dark"), widths):
            path = folder / f"{state}-{width}-{scheme}.png"
            draw(browser, url, path, widths[width], state, scheme, whole=True)


if __name__ == "__main__":
    main()
