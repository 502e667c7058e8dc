"""Nobody is shut out: axe-core in each state of the page, light and dark, wide and narrow."""

import numpy as np
import pytest
import tifffile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from lgg.app.gallery import SHIPPED
from tests.browsing import DESKTOP, PHONE, examine, pick, settle, upload, visit
from tests.series_files import archive, slice_files


@pytest.fixture(
    params=[(DESKTOP, "light"), (PHONE, "dark")],
    ids=["desktop-light", "phone-dark"],
)
def page(request, browser, page_url):
    viewport, scheme = request.param
    with visit(browser, page_url, viewport, scheme=scheme) as page:
        expect(page.locator("body.dark")).to_have_count(int(scheme == "dark"))
        yield page


#: Gradio's announcement of an error is a button in a button. What it says stands in the result, too.
GRADIOS_OWN = [[".toast-wrap"]]


def violations(page):
    """(rule, place) of everything serious, Gradio's own components included but for those listed."""
    settle(page)
    return {
        (violation["id"], node["html"][:200])
        for violation in Axe().run(page, context={"exclude": GRADIOS_OWN}).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    }


def test_one_slice(page):
    assert violations(page) == set(), "at the start"
    pick(page, "Two lesions")
    expect(page.locator("#facts dl")).to_be_visible()
    page.get_by_role("button", name="Compare all architectures").click()
    expect(page.locator("#comparison table")).to_be_visible()
    assert violations(page) == set(), "with a result and a comparison"
    upload(page, {"name": "junk.tif", "mimeType": "image/tiff", "buffer": b"not a picture at all " * 20})
    expect(page.locator("#result .verdict.error")).to_be_visible()
    assert violations(page) == set(), "with an error"


def test_a_series(page):
    page.get_by_role("tab", name="Whole series").click()
    expect(page.locator("#series-said")).to_contain_text("No series yet")
    assert violations(page) == set(), "at the start"
    slices = np.stack([tifffile.imread(SHIPPED / f"{name}.tif") for name in ("healthy", "large-lesion")])
    data = archive(slice_files(slices))
    examine(page, {"name": "slices.zip", "mimeType": "application/zip", "buffer": data})
    expect(page.locator("#series-chart [data-slice]")).to_have_count(2)
    expect(page.locator("#series-start")).to_be_enabled()
    page.locator("#series-chart summary").click()
    assert violations(page) == set(), "with a result and its table"


def test_about(page):
    page.get_by_role("tab", name="About").click()
    expect(page.locator(".about")).to_be_visible()
    assert violations(page) == set()
