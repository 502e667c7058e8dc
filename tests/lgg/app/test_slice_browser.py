"""One slice on the page, in a real browser, on a desktop and where it matters on a phone."""

import re
import zipfile

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from skimage.data import astronaut

from lgg.examples import SHIPPED
from tests.browsing import (
    DESKTOP,
    PHONE,
    both_widths,
    both_widths_at_last,
    open_truth,
    pick,
    slide,
    upload,
    violations,
    visit,
)


@pytest.fixture
def page(request, browser, page_url):
    """An open page, see `visit`."""
    with visit(browser, page_url, getattr(request, "param", DESKTOP)) as page:
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


def open_example(page: Page, title: str) -> None:
    """Click an example, and wait for all that is said of it."""
    pick(page, title)
    expect(page.locator("#facts dl")).to_be_visible()


def choose(page, group, label):
    page.locator(f"#{group} label", has_text=re.compile(rf"^\s*{re.escape(label)}$")).click()


def address(page):
    return page.locator("#outlined img").get_attribute("src")


def expect_redrawn(page, before):
    """The picture is another one than before."""
    expect(page.locator("#outlined img")).not_to_have_attribute("src", before)


def area(page):
    words = page.locator("#facts dd").first.inner_text()
    return int(re.match(r"[\d,]+", words)[0].replace(",", ""))


@both_widths
def test_examples_and_uploads_follow_each_other(page):
    expect(page.locator("#result")).to_contain_text("No slice yet")
    expect(page.locator("header")).to_contain_text("not a medical device")
    expect(page.locator("#origin")).to_contain_text("on CPU")
    pick(page, "FLAIR only")
    expect_result(page, "flair-only.tif")
    expect(page.locator("#facts")).to_contain_text("taken as FLAIR")
    expect(page.locator("#caption")).to_contain_text("FLAIR")
    # The drop zone is free again after each.
    for name in ("large-lesion.tif", "small-lesion.tif"):
        upload(page, SHIPPED / name)
        expect_result(page, name)
    expect(page.locator("#caption")).to_be_hidden()
    pick(page, "FLAIR only")
    expect_result(page, "flair-only.tif")


def paste(page, name):
    """Paste a slice, as from another window."""
    page.evaluate(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "pasted.tif", {type: "image/tiff"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
        }""",
        list((SHIPPED / name).read_bytes()),
    )


def test_junk_is_refused_a_photo_warned_about_and_the_next_file_works(page, tmp_path):
    junk = tmp_path / "holiday.tif"
    junk.write_bytes(b"not a picture at all " * 20)
    open_example(page, "Large lesion")
    upload(page, junk)
    expect(page.get_by_role("alert").first).to_contain_text("Cannot read this file")
    expect(page.locator("#result .verdict.error")).to_contain_text("not an image that can be read")
    expect(page.locator("#outlined img")).to_have_count(0)
    expect(page.locator("#result .facts")).to_have_count(0)
    # There is nothing to examine then: the message stays.
    page.locator("#architecture label:not(.selected)").first.click()
    expect(page.locator("#result .verdict.error")).to_be_visible()
    photo = tmp_path / "portrait.png"
    Image.fromarray(astronaut()).save(photo)
    upload(page, photo)
    expect_result(page, "portrait.png")
    expect(page.locator("#result .warning li").first).to_be_visible()
    paste(page, "small-lesion.tif")
    expect_result(page, "pasted.tif")
    expect(page.locator("#result .warning")).to_have_count(0)


def test_another_architecture_examines_the_same_slice_and_all_are_compared(page):
    upload(page, SHIPPED / "small-lesion.tif")
    expect_result(page, "small-lesion.tif")
    other = page.locator("#architecture label:not(.selected)").first
    name = other.inner_text().strip()
    other.click()
    expect(page.locator("#facts")).to_contain_text(name)
    expect_result(page, "small-lesion.tif")
    expect(page.locator("#outlined")).to_contain_text(name)
    page.get_by_role("button", name="Compare all architectures").click()
    expect(page.locator("#comparison tbody tr")).to_have_count(page.locator("#architecture label").count())
    assert violations(page) == set()
    pick(page, "Healthy")
    expect(page.locator("#comparison table")).to_have_count(0)


def test_thresholds_act_at_once_on_mask_verdict_and_numbers(page):
    open_example(page, "Large lesion")
    usual = area(page)
    assert usual > 1000
    before = address(page)
    slide(page, "threshold", 0.99)
    expect_redrawn(page, before)
    expect(page.locator("#facts dd").first).not_to_contain_text(f"{usual:,}")
    assert area(page) < usual
    slide(page, "gate", 1)
    expect(page.locator("#result h2").first).to_have_text("No glioma found")
    expect(page.locator("#result")).to_contain_text("threshold of 100")
    slide(page, "gate", 0)
    expect(page.locator("#result h2").first).to_have_text("Glioma likely")


def test_layers_sequences_and_opacity_change_the_picture(page):
    open_example(page, "Large lesion")
    for layer, words in (
        ("Outline", "outlined"),
        ("Heat map", "heat map"),
        ("Why (gate)", "where the gate saw"),
        ("How unsure", "how unsure"),
        ("Errors", "ground truth"),
    ):
        before = address(page)
        choose(page, "layer", layer)
        expect_redrawn(page, before)
        expect(page.locator("#outlined img")).to_have_attribute("alt", re.compile(words))
    before = address(page)
    choose(page, "sequence", "T1 post")
    expect_redrawn(page, before)
    expect(page.locator("#outlined img")).to_have_attribute("alt", re.compile("^post-contrast T1"))
    before = address(page)
    slide(page, "opacity", 0.9)
    expect_redrawn(page, before)
    expect(page.get_by_text("Ready", exact=True)).to_be_hidden()
    pick(page, "Small lesion")
    choose(page, "layer", "Outline")  # while that is being examined
    expect(page.locator("#caption")).to_contain_text("small", ignore_case=True)
    expect(page.locator("#outlined img")).to_have_attribute("alt", re.compile("outlined"))
    expect(page.get_by_label("Outline", exact=True)).to_be_checked()


@both_widths_at_last
def test_before_and_after_lie_under_one_slider(page):
    pick(page, "Two lesions")
    expect(page.locator("#plain img")).to_be_visible()
    page.locator("#before-after input").check()
    expect(page.locator("#both img")).to_have_count(2)
    expect(page.locator("#outlined")).to_be_hidden()
    boxes = [page.locator("#both img").nth(n).bounding_box() for n in (0, 1)]
    assert boxes[0] == pytest.approx(boxes[1], abs=1), "both halves lie in the same place"


@both_widths_at_last
def test_an_example_brings_its_ground_truth_and_an_upload_can(page, tmp_path):
    pick(page, "Two lesions")
    expect(page.locator("#scores")).to_contain_text("Dice")
    upload(page, SHIPPED / "small-lesion.tif")
    expect(page.locator("#result .source")).to_have_text("small-lesion.tif")
    expect(page.locator("#scores dl")).to_have_count(0)
    expect(page.locator("#layer label", has_text="Errors")).to_have_count(0)
    truth = open_truth(page)
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(tmp_path / "other.png")
    truth.set_input_files(tmp_path / "other.png")
    expect(page.get_by_role("alert").first).to_contain_text(
        "The mask is 50 × 40 pixels and the slice 256 × 256"
    )
    expect(page.locator("#result .source")).to_have_text("small-lesion.tif")
    truth.set_input_files(SHIPPED / "small-lesion_mask.png")
    expect(page.locator("#scores")).to_contain_text("agreed")
    choose(page, "layer", "Errors")
    expect(page.locator("#legend")).to_contain_text("Green: agreed")


@both_widths_at_last
def test_everything_can_be_downloaded(page, tmp_path):
    open_example(page, "Large lesion")
    slide(page, "threshold", 0.9)
    expect(page.locator("#legend")).to_be_visible()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download everything").click()
    waiting.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert {"README.txt", "slices.csv", "probability.tif", "masks/slice_001.png"} <= set(
            archive.namelist()
        )
        assert "0.9" in archive.read("README.txt").decode()
        with archive.open("masks/slice_001.png") as file:
            found = np.asarray(Image.open(file)) > 0
    assert found.sum() == area(page)


def copied_link(page):
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#address")).to_be_visible()
    return page.evaluate("navigator.clipboard.readText()")


def test_a_link_restores_what_it_says_and_never_holds_an_upload(page, browser, page_url):
    open_example(page, "Two lesions")
    choose(page, "layer", "Heat map")
    slide(page, "threshold", 0.4)
    expect(page.locator("#legend")).to_contain_text("probability")
    link = copied_link(page)
    assert "example=two-lesions" in link
    assert "threshold=0.4" in link
    with visit(browser, link, PHONE) as restored:
        expect(restored.locator("#result .source")).to_have_text("two-lesions.tif")
        expect(restored.locator("#threshold input[type=number]")).to_have_value("0.4")
        expect(restored.locator("#legend")).to_contain_text("probability")
        expect(restored.locator("#caption")).to_contain_text("two separate lesions")
        expect(restored.get_by_label("Heat map", exact=True).first).to_be_checked()
    upload(page, SHIPPED / "small-lesion.tif")
    expect(page.locator("#result .source")).to_have_text("small-lesion.tif")
    link = copied_link(page)
    assert "example" not in link
    assert "small" not in link
