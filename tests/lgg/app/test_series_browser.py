"""A whole series on the page, in a real browser, on a desktop and where it matters on a phone."""

import io
import re
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image
from playwright.sync_api import expect
from skimage.segmentation import find_boundaries

from lgg import metrics
from lgg.examples import SHIPPED
from lgg.visualize import PREDICTED
from tests.browsing import (
    DESKTOP,
    PATIENCE_MS,
    both_widths,
    both_widths_at_last,
    examine,
    open_truth,
    slide,
    unfold_plot,
    visit,
)
from tests.dicom_files import dicom, scan
from tests.lgg.io.test_study import AXIAL, TAKEN, write
from tests.series_files import archive, dicom_stack, slice_files


@pytest.fixture
def page(request, browser, page_url):
    """The series' tab, see `visit`."""
    with visit(browser, page_url, getattr(request, "param", DESKTOP)) as page:
        page.get_by_role("tab", name="Whole series").click()
        expect(page.locator("#series-said")).to_contain_text("No series yet")
        yield page


@pytest.fixture(scope="module")
def volume():
    """(9, H, W, 3) uint8 of odd sides: healthy, a lesion, healthy again."""
    healthy, lesion = (tifffile.imread(SHIPPED / f"{name}.tif") for name in ("healthy", "large-lesion"))
    return np.stack([healthy] * 3 + [lesion] * 4 + [healthy] * 2)[:, :, :247]


@pytest.fixture(scope="module")
def lesion():
    """Where the lesion of `volume` is: (9, H, W) bool."""
    mask = np.asarray(Image.open(SHIPPED / "large-lesion_mask.png")) > 0
    return np.stack([mask & False] * 3 + [mask] * 4 + [mask & False] * 2)[:, :, :247]


@pytest.fixture(scope="module")
def zipped(volume, tmp_path_factory):
    path = tmp_path_factory.mktemp("series") / "slices.zip"
    path.write_bytes(archive(slice_files(volume)))
    return path


def expect_result(page, slices, source=None):
    """The lesion is found, and everything about it stands there."""
    expect(page.locator("#series-said h2")).to_have_text("Glioma likely", timeout=PATIENCE_MS)
    expect(page.locator("#series-chart [data-slice]")).to_have_count(slices)
    expect(page.locator("#series-picture img")).to_have_js_property("complete", True)
    expect(page.locator("#series-start")).to_be_enabled()
    expect(page.locator("#series-stop")).to_be_hidden()
    if source:
        expect(page.locator("#series-said .source")).to_have_text(source)


def expect_slice(page, number):
    """Picture, slider and plot agree on which slice is shown."""
    expect(page.locator("#series-picture img")).to_have_attribute("alt", re.compile(f"^Slice {number} of"))
    expect(page.locator("#series-slice input[type=number]")).to_have_value(str(number))
    expect(page.locator("#series-chart [aria-current]")).to_have_attribute("data-slice", str(number))


def download(page):
    with page.expect_download() as waiting:
        page.locator("#series-pack").click()
    assert waiting.value.suggested_filename == "segmentation.zip"
    return zipfile.ZipFile(io.BytesIO(waiting.value.path().read_bytes()))


def outline(page):
    """Where the picture is drawn in the outline's colour, (kH, kW) bool."""
    picture = page.locator("#series-picture img")
    drawn = Image.open(io.BytesIO(page.request.get(picture.evaluate("image => image.src")).body()))
    assert drawn.format == "PNG"
    return (np.asarray(drawn.convert("RGB")) == PREDICTED).all(2)


@both_widths
def test_a_zip_of_slices_is_examined_looked_through_and_taken_away(page, zipped, volume, lesion):
    examine(page, zipped)
    expect_result(page, 9, "slices.zip")
    expect(page.locator("#series-facts")).to_contain_text("no ml")
    expect(page.locator("#series-viewer .without")).to_contain_text("WebGL2")
    unfold_plot(page)
    page.locator("#series-chart [data-slice='2']").click()
    expect_slice(page, 2)
    page.keyboard.press("ArrowRight")
    expect_slice(page, 3)
    page.locator("#series-slice input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect_slice(page, 4)
    page.locator("#series-chart [data-slice='5']").click()
    expect_slice(page, 5)
    contour = outline(page)
    taken = download(page)
    masks = [np.asarray(Image.open(taken.open(f"masks/slice_00{n}.png"))) > 0 for n in range(1, 10)]
    assert {mask.shape for mask in masks} == {volume.shape[1:3]}
    words = page.locator("#series-said .verdict").inner_text()
    assert f"Outlined in {sum(mask.any() for mask in masks)} of 9" in words
    assert metrics.dice(masks[4], lesion[4]) > 0.6
    times = contour.shape[0] // masks[4].shape[0]
    large = masks[4].repeat(times, 0).repeat(times, 1)
    np.testing.assert_array_equal(contour, find_boundaries(large, mode="inner"))
    before = page.locator("#series-picture img").get_attribute("src")
    slide(page, "series-opacity", 1)
    expect(page.locator("#series-picture img")).not_to_have_attribute("src", before)


def test_a_ground_truth_is_compared_and_both_thresholds_decide_anew(page, zipped, lesion, tmp_path):
    examine(page, zipped)
    expect_result(page, 9)
    masks = {f"{number}_mask.png": mask for number, mask in enumerate(lesion)}
    for name, mask in masks.items():
        Image.fromarray(mask).save(tmp_path / name)
    open_truth(page, "series-").set_input_files([tmp_path / name for name in masks])
    dice = page.locator("#series-scores dd").first
    expect(dice).to_contain_text("of the volume")
    said = dice.inner_text()
    assert float(said.split()[0]) > 0.6
    page.locator("#series-layer label", has_text="Errors").click()
    expect(page.locator("#series-legend")).to_contain_text("Green: agreed")
    slide(page, "series-threshold", 0.01)
    expect(dice).not_to_have_text(said)
    slide(page, "series-gate", 0)
    expect(page.locator("#series-facts")).to_contain_text("the gate passed 9")
    slide(page, "series-gate", 1)
    expect(page.locator("#series-said h2")).to_have_text("No glioma found")


@pytest.fixture(scope="module")
def study(volume, tmp_path_factory):
    """A folder as a hospital exports it: a series in each of its folders, and what lies beside them.

    Two FLAIR, of which nobody knows which to take, a T1 whose slices lie elsewhere, and one with contrast.
    """
    files = {
        "DICOMDIR": dicom(scan(), data=b""),
        "README.TXT": b"<b>viewer",
        ".DS_Store": b"",
        "4/.hidden": b"",
    }
    taken = (("FLAIR", 1), ("T1", 0), ("T1+C", 2), ("FLAIR", 1))
    for number, (name, channel) in enumerate(taken, start=1):
        pixels = volume[: 8 if name == "T1" else 9, ..., channel].astype(np.uint16)
        told = {**TAKEN[name], "description": f"AX {name} <b>", "SeriesNumber": number}
        options = {"spacing": (0.9, 0.9), "series": f"1.2.3.{number}", "step": 5.5 if name == "T1" else 5.0}
        slices, _ = dicom_stack(pixels, *AXIAL, **options, **told)
        files |= {f"{number}/IM{place}": data for place, data in enumerate(slices)}
    return write(tmp_path_factory.mktemp("patient"), files)


def drop(page, folder):
    """Drag a folder from the desktop onto the zone, as no page may do by itself."""
    box = page.locator("#series-upload").bounding_box()
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    browser = page.context.new_cdp_session(page)
    for step in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": step, **place, "data": data})


def choose(page, role, name):
    page.locator(f"#series-{role} input").click()
    page.locator(f"#series-{role}").get_by_role("option", name=name).click()


def row(page, name):
    return page.locator("#series-volumes tbody tr", has_text=name)


@both_widths_at_last
def test_a_folder_is_recognised_corrected_and_examined(page, study):
    drop(page, study)
    expect(page.locator("#series-volumes tbody tr")).to_have_count(4)
    expect(page.locator("#series-upload .file-preview tr")).to_have_count(37)
    expect(row(page, "series 1")).to_contain_text("not read until it is chosen")
    expect(row(page, "T1+C")).to_contain_text("247 × 256 × 9, 0.9 × 0.9 × 5.0 mm")
    page.locator("#series-start").click()
    expect(page.locator("#series-said .error")).to_contain_text("Choose the volume that is FLAIR")
    choose(page, "flair", "series 4")
    choose(page, "post", "none")
    expect(row(page, "series 1")).to_contain_text("left out: another FLAIR was taken")
    expect(row(page, "AX T1 <b>")).to_contain_text("to be resampled onto the FLAIR")
    page.locator("#series-start").click()
    expect_result(page, 9, "37 files")
    page.locator("#series-facts summary", has_text="4 volumes").click()
    facts = page.locator("#series-facts .volumes tr")
    expect(facts.filter(has_text="AX T1 <b>")).to_contain_text("resampled onto the FLAIR")
    expect(facts.filter(has_text="T1+C")).to_contain_text("not read until it is chosen")
    expect(page.locator("#series-said .notes")).to_contain_text("no DICOM images were left out: 2")
    with page.expect_file_chooser() as waiting:
        page.locator("#series-folder").click()
    waiting.value.set_files(study / "1")
    expect(page.locator("#series-upload .file-preview tr")).to_have_count(9)
    expect(page.locator("#series-sequences")).to_be_hidden()


def test_an_examination_can_be_cancelled(page, volume, tmp_path):
    (tmp_path / "long.zip").write_bytes(archive(slice_files(np.concatenate([volume] * 12))))
    examine(page, tmp_path / "long.zip")
    expect(page.locator("#series-said progress")).to_be_visible(timeout=PATIENCE_MS)
    page.locator("#series-stop").click()
    expect(page.locator("#series-said")).to_contain_text("Cancelled")
    page.wait_for_timeout(1000)  # what was ready may still come
    expect(page.locator("#series-said")).to_contain_text("Cancelled")
    expect(page.locator("#series-view")).to_be_hidden()
    expect(page.locator("#series-start")).to_be_enabled()
