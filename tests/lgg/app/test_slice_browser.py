"""The page as a visitor uses it, in a real browser, on a desktop and on a phone."""

import re

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from skimage.data import astronaut

from lgg.app.gallery import SHIPPED
from tests.browsing import DESKTOP, PHONE, pick, upload, visit


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(request, browser, page_url):
    """An open page, see `visit`."""
    with visit(browser, page_url, request.param) as page:
        yield page


def expect_result(page: Page, source: str) -> None:
    """The result of this file is there: verdict, probability, pictures and the facts."""
    expect(page.locator("#result .source")).to_have_text(source)
    expect(page.locator("#result h2")).to_have_text(re.compile("^(Glioma likely|Unclear|No glioma found)$"))
    expect(page.locator("#result .reading strong")).to_contain_text("%")
    assert 0 <= float(page.get_by_role("meter").get_attribute("aria-valuenow")) <= 100
    for picture in ("#outlined img", "#plain img"):
        expect(page.locator(picture)).to_be_visible()
        expect(page.locator(picture)).to_have_attribute("alt", re.compile("FLAIR"))
        # Both at once: between two looks the picture may be exchanged for one that is not decoded yet.
        page.wait_for_function(
            """selector => {
                const image = document.querySelector(selector);
                return image?.complete && image.naturalWidth >= 256;
            }""",
            arg=picture,
        )
    expect(page.locator("#facts")).to_contain_text("ms on")


def test_it_begins_with_an_invitation_and_a_warning(page):
    expect(page.locator("#result")).to_contain_text("No slice yet")
    expect(page.locator("header")).to_contain_text("not a medical device")
    expect(page.locator("footer")).to_contain_text("CC BY-NC-SA 4.0")


def test_an_example_is_examined_at_once_and_explained(page):
    pick(page, "Two lesions")
    expect_result(page, "two-lesions.tif")
    expect(page.locator("#caption")).to_contain_text("two separate lesions")
    pick(page, "FLAIR only")
    expect_result(page, "flair-only.tif")
    expect(page.locator("#facts")).to_contain_text("taken as FLAIR")


def test_uploads_follow_each_other_and_an_example_can_be_picked_again(page):
    pick(page, "Healthy")
    expect_result(page, "healthy.tif")
    # The drop zone is free again after each.
    for name in ("large-lesion.tif", "small-lesion.tif"):
        upload(page, SHIPPED / name)
        expect_result(page, name)
    expect(page.locator("#caption")).to_be_hidden()
    pick(page, "Healthy")
    expect_result(page, "healthy.tif")


def test_junk_is_refused_and_the_next_file_works(page, tmp_path):
    junk = tmp_path / "holiday.tif"
    junk.write_bytes(b"not a picture at all " * 20)
    pick(page, "Large lesion")
    expect_result(page, "large-lesion.tif")
    upload(page, junk)
    expect(page.get_by_role("alert").first).to_contain_text("Cannot read this file")
    expect(page.locator("#result .verdict.error")).to_contain_text("not an image that can be read")
    expect(page.locator("#outlined img")).to_have_count(0)
    expect(page.locator("#result .facts")).to_have_count(0)
    others = page.locator("#architecture label:not(.selected)")
    if others.count():
        others.first.click()  # there is nothing to examine: the message stays, and is not told twice
        expect(page.locator("#result .verdict.error")).to_be_visible()
    upload(page, SHIPPED / "small-lesion.tif")
    expect_result(page, "small-lesion.tif")


def test_a_photo_is_examined_with_a_warning_that_says_why(page, tmp_path):
    photo = tmp_path / "portrait.png"
    Image.fromarray(astronaut()).save(photo)
    upload(page, photo)
    expect_result(page, "portrait.png")
    warning = page.locator("#result .warning")
    expect(warning).to_contain_text("not made for this picture")
    expect(warning.locator("li").first).to_be_visible()
    pick(page, "Large lesion")
    expect_result(page, "large-lesion.tif")
    expect(warning).to_have_count(0)


def test_another_architecture_examines_the_same_slice(page):
    upload(page, SHIPPED / "small-lesion.tif")
    expect_result(page, "small-lesion.tif")
    others = page.locator("#architecture label:not(.selected)")
    if others.count() == 0:
        pytest.skip("one architecture has weights")
    name = others.first.inner_text().strip()
    others.first.click()
    expect(page.locator("#facts")).to_contain_text(name)
    expect_result(page, "small-lesion.tif")
