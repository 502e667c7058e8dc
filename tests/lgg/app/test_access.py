"""Nobody is shut out: axe-core in each state of the page, light and dark, wide and narrow."""

import numpy as np
import pytest
import tifffile
from playwright.sync_api import expect

from lgg.examples import SHIPPED
from tests.browsing import DESKTOP, PHONE, examine, pick, unfold_plot, upload, violations, visit
from tests.series_files import archive, slice_files


@pytest.fixture(params=[(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop-light", "phone-dark"])
def page(request, browser, page_url):
    viewport, scheme = request.param
    with visit(browser, page_url, viewport, scheme=scheme) as page:
        expect(page.locator("body.dark")).to_have_count(int(scheme == "dark"))
        yield page


def test_one_slice_and_about(page):
    assert violations(page) == set(), "at the start"
    pick(page, "Two lesions")
    expect(page.locator("#facts dl")).to_be_visible()
    assert violations(page) == set(), "with a result"
    upload(page, {"name": "junk.tif", "mimeType": "image/tiff", "buffer": b"not a picture at all " * 20})
    expect(page.locator("#result .verdict.error")).to_be_visible()
    assert violations(page) == set(), "with an error"
    page.get_by_role("tab", name="About").click()
    expect(page.locator(".about")).to_be_visible()
    assert violations(page) == set()


def test_a_series(page):
    page.get_by_role("tab", name="Whole series").click()
    expect(page.locator("#series-said")).to_contain_text("No series yet")
    assert violations(page) == set(), "at the start"
    slices = np.stack([tifffile.imread(SHIPPED / f"{name}.tif") for name in ("healthy", "large-lesion")])
    data = archive(slice_files(slices))
    examine(page, {"name": "slices.zip", "mimeType": "application/zip", "buffer": data})
    expect(page.locator("#series-chart [data-slice]")).to_have_count(2)
    expect(page.locator("#series-start")).to_be_enabled()
    unfold_plot(page)
    page.get_by_text("The same as a table").click()
    assert violations(page) == set(), "with a result and its table"
