"""The viewer in a real browser, its WebGL2 drawn by the processor, on a desktop and on a phone."""

import gzip
import io
import json
import re
import zipfile

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from playwright.sync_api import expect

from lgg.examples import SHIPPED
from lgg.visualize import PREDICTED
from tests.browsing import (
    DESKTOP,
    PATIENCE_MS,
    PHONE,
    both_widths,
    both_widths_at_last,
    examine,
    settle,
    slide,
    unfold_plot,
    violations,
    visit,
)
from tests.series_files import affine, nifti, rotated

READY = "#series-viewer .viewer.on[data-ready]"
#: Counts what is asked of the server meanwhile.
EVENTS, VOLUMES = "/queue/join", ".nii.gz"


@pytest.fixture
def page(request, browser, page_url):
    """The series' tab in a browser with WebGL2; `page.asked` lists what it asked the server for."""
    with visit(browser, page_url, getattr(request, "param", DESKTOP), webgl=True) as page:
        page.asked = []
        page.on("request", lambda asked: page.asked.append(asked.url))
        page.get_by_role("tab", name="Whole series").click()
        yield page


@pytest.fixture(scope="module")
def study():
    """A FLAIR of 9 slices with a lesion in four of them, tilted and wider than high, as an upload."""
    healthy, lesion = (
        tifffile.imread(SHIPPED / f"{name}.tif")[10:, :, 1] for name in ("healthy", "large-lesion")
    )
    voxels = np.stack([healthy] * 3 + [lesion] * 4 + [healthy] * 2).transpose(2, 1, 0)
    tilted = affine(rotated(12, 0) @ np.diag([-1, -1, 1]), (0.9, 0.8, 5.0), (100, 90, -20))
    data = nifti(voxels.astype(np.int16), tilted)
    return {"name": "flair.nii.gz", "mimeType": "application/gzip", "buffer": data}


def opened(page, study):
    """The study in the viewer."""
    examine(page, study)
    expect(page.locator(READY)).to_be_visible(timeout=2 * PATIENCE_MS)
    expect(page.locator("#series-start")).to_be_enabled()
    return page.locator("#series-viewer canvas")


def count(page, what):
    return sum(what in url for url in page.asked)


def niivue(page, expression):
    """What an expression about NiiVue's instance `nv` is worth."""
    return page.evaluate(
        f"(() => {{ const nv = document.querySelector('.viewer').niivue(); return {expression} }})()"
    )


def expect_slice(page, number):
    """Viewer, slider and plot agree on which slice is looked at."""
    expect(page.locator("#viewer-where")).to_contain_text(f"Slice {number} of")
    expect(page.locator("#series-slice input[type=number]")).to_have_value(str(number))
    expect(page.locator("#series-chart [aria-current]")).to_have_attribute("data-slice", str(number))
    assert niivue(page, "nv.frac2vox(nv.scene.crosshairPos)[2] + 1") == number


@both_widths
def test_crosshair_slider_plot_and_thresholds_move_together(page, study):
    canvas = opened(page, study)
    unfold_plot(page)
    page.locator("#series-chart [data-slice='2']").click()
    expect_slice(page, 2)
    settle(page)
    asked = count(page, EVENTS)
    canvas.focus()
    for key in ("PageUp", "PageUp", "ArrowLeft", "+"):
        page.keyboard.press(key)
    expect_slice(page, 4)
    page.locator("[data-plane=coronal]").click()
    page.locator("#series-viewer [name=width]").press("ArrowLeft")
    slide(page, "series-opacity", 0.9)
    assert count(page, EVENTS) == asked, "none of these asks the server"
    before = niivue(page, "nv.drawBitmap.reduce((sum, voxel) => sum + voxel, 0)")
    slide(page, "series-threshold", 0.99)
    expect(page.locator("#series-facts")).to_be_visible()
    page.wait_for_function(
        f"document.querySelector('.viewer').niivue().drawBitmap.reduce((a, b) => a + b, 0) < {before}"
    )
    assert count(page, VOLUMES) == 1, "no volume was loaded again"


def drawn(page, canvas, shape):
    """Which of a slice's pixels the axial plane shows in the outline's colour, (H, W) bool."""
    picture = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB"), int)
    size = np.array(picture.shape[1::-1])
    # Where two of the picture's points lie in the volume, 0 to 1 to the right and to the front.
    near, far = (
        niivue(page, f"[...nv.screenXY2TextureFrac({x}, {y}, 0, false)]") for x, y in (size / 4, size * 3 / 4)
    )
    columns, rows = (
        (
            size[axis]
            * (0.25 + 0.5 * (1 - (np.arange(count) + 0.5) / count - near[axis]) / (far[axis] - near[axis]))
        ).astype(int)
        for axis, count in ((0, shape[1]), (1, shape[0]))
    )
    return (abs(picture[np.ix_(rows, columns)] - PREDICTED) < 12).all(2)


def test_viewer_export_and_server_show_the_same_voxels(page, study):
    canvas = opened(page, study)
    page.locator("[data-plane=axial]").click()
    slide(page, "series-opacity", 1)
    page.locator("#series-chart [data-slice='5']").click()
    expect_slice(page, 5)
    picture = page.locator("#series-picture img")
    expect(picture).to_have_attribute("alt", re.compile("^Slice 5 of"))
    with page.expect_download() as waiting:
        page.locator("#series-pack").click()
    taken = zipfile.ZipFile(io.BytesIO(waiting.value.path().read_bytes()))
    mask = np.asarray(Image.open(taken.open("masks/slice_005.png"))) > 0
    assert mask.any()
    exported = nibabel.Nifti1Image.from_bytes(gzip.decompress(taken.read("mask.nii.gz")))
    plane = nibabel.as_closest_canonical(exported).get_fdata()[:, :, 4]
    assert np.array_equal(plane[::-1, ::-1].T > 0, mask)
    niivue(page, "(nv.opts.crosshairWidth = 0, nv.drawScene())")
    assert np.array_equal(drawn(page, canvas, mask.shape), mask)
    served = np.asarray(Image.open(io.BytesIO(page.request.get(picture.get_attribute("src")).body())))
    times = served.shape[0] // mask.shape[0]
    assert np.array_equal((served[::times, ::times, :3] == PREDICTED).all(2) | ~mask, np.ones_like(mask))
    x, y, z = niivue(page, "[...nv.frac2vox(nv.scene.crosshairPos)]")
    uploaded = nibabel.Nifti1Image.from_bytes(gzip.decompress(study["buffer"]))
    value = nibabel.as_closest_canonical(uploaded).get_fdata()[x, y, z]
    expect(page.locator("#viewer-where")).to_contain_text(f"FLAIR {value:.4g} ")


def expect_errors(page):
    """The viewer shows where the outline and the truth differ, in as many voxels as the Dice is made of."""
    page.locator("#series-layer label", has_text="Errors").click()
    page.wait_for_function("document.querySelector('.viewer').niivue().drawBitmap.includes(2)")
    expect(page.locator(READY)).to_be_visible()
    expect(page.locator("#viewer-where")).to_contain_text("agreed")
    expect(page.locator("[data-correct=start]")).to_be_hidden()
    marks = np.bincount(niivue(page, "Array.from(nv.drawBitmap)"), minlength=7)
    agreed, missed, invented = marks[2] + marks[5], marks[3] + marks[6], marks[4]
    dice = 2 * agreed / (2 * agreed + missed + invented)
    expect(page.locator("#series-scores dd").first).to_contain_text(f"{dice:.3f}")
    page.locator("#series-layer label", has_text="Fill").click()
    page.wait_for_function("!document.querySelector('.viewer').niivue().drawBitmap.includes(2)")


@both_widths_at_last
def test_the_sample_study_opens_with_its_truth_and_nothing_of_it_stays_when_another_file_fails(page):
    page.locator("#series-sample").click()
    expect(page.locator(READY)).to_be_visible(timeout=2 * PATIENCE_MS)
    expect(page.locator("#series-picture img")).to_have_attribute("alt", re.compile("pixels outlined"))
    expect(page.locator("#series-scores dl")).to_be_visible()
    page.locator("#series-sequence label", has_text="T1 post").click()
    expect(page.locator("#viewer-where")).to_contain_text("T1 post")
    assert count(page, VOLUMES) == 2
    assert violations(page) == set()
    expect_errors(page)
    page.locator("#series-upload button[aria-label=Clear]").first.click()
    examine(page, {"name": "junk.nii.gz", "mimeType": "application/gzip", "buffer": b"no volume " * 40})
    expect(page.locator("#series-said .verdict.error")).to_be_visible()
    expect(page.locator("#series-viewer .viewer.on")).to_have_count(0)
    assert niivue(page, "[nv.volumes.length, nv.drawBitmap, nv.back]") == [0, None, None]


def draw(page, canvas, start, end):
    """A stroke between two places of the picture, 0 to 1: with a finger on the phone, else with the mouse."""
    box = canvas.bounding_box()
    (x, y), (u, v) = ((box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in (start, end))
    if page.viewport_size != PHONE:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(u, v, steps=3)
        page.mouse.up()
        return
    browser = page.context.new_cdp_session(page)
    browser.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    for kind, touches in (("Start", [(x, y)]), ("Move", [(u, v)]), ("End", [])):
        points = [{"x": a, "y": b} for a, b in touches]
        browser.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    browser.detach()


def voxels(page):
    return niivue(page, "nv.drawBitmap.reduce((sum, voxel) => sum + voxel, 0)")


def until(page, condition):
    """Wait until something is true of the number of outlined voxels, `sum`; how many they are then."""
    page.wait_for_function(
        "condition => eval(`const sum = document.querySelector('.viewer').niivue().drawBitmap"
        ".reduce((a, b) => a + b, 0); ${condition}`)",
        arg=condition,
    )
    return voxels(page)


@both_widths_at_last
def test_the_mask_is_corrected_by_hand_and_taken_away(page, study):
    canvas = opened(page, study)
    outlined = page.locator("#series-facts dd").first
    found, said = voxels(page), outlined.text_content()
    page.locator("[data-correct=start]").click()
    expect(page.locator("#series-threshold")).to_have_attribute("inert", "")
    canvas.scroll_into_view_if_needed()
    settle(page)
    draw(page, canvas, (0.4, 0.3), (0.6, 0.3))
    more = until(page, f"sum > {found}")
    draw(page, canvas, (0.4, 0.6), (0.6, 0.6))
    until(page, f"sum > {more}")
    page.locator("[data-correct=undo]").click()
    assert voxels(page) == more
    page.locator("[data-drag=eraser]").click()
    draw(page, canvas, (0.45, 0.3), (0.5, 0.3))
    assert found < until(page, f"sum < {more}") < more
    assert violations(page) == set()
    drawn = np.array(niivue(page, "Array.from(nv.drawBitmap)"))
    here = np.split(drawn, 9)[int(page.locator("#series-slice input[type=number]").input_value()) - 1]
    page.locator("[data-correct=use]").click()
    expect(page.locator("#series-said")).to_contain_text("Corrected by hand")
    expect(outlined).to_contain_text("corrected by hand")
    expect(outlined).to_contain_text(f"{drawn.sum():,}")
    served = re.compile(f"{here.sum():,} pixels outlined")
    expect(page.locator("#series-picture img")).to_have_attribute("alt", served)
    # Moved by mistake: the correction stays, and so does everything else.
    slide(page, "series-threshold", 0.9)
    expect(page.locator("#series-ask")).to_be_visible()
    page.locator("#series-keep").click()
    expect(page.locator("#series-ask")).to_have_count(0)
    expect(page.locator("#series-threshold input[type=number]")).not_to_have_value("0.9")
    with page.expect_download() as waiting:
        page.locator("#series-pack").click()
    taken = zipfile.ZipFile(io.BytesIO(waiting.value.path().read_bytes()))
    mask = nibabel.Nifti1Image.from_bytes(gzip.decompress(taken.read("mask.nii.gz")))
    exported = nibabel.as_closest_canonical(mask).get_fdata().ravel(order="F")
    assert np.array_equal(exported, drawn)
    assert json.loads(taken.read("statistics.json"))["corrected_by_hand"]
    page.locator("[data-correct=discard]").click()
    expect(outlined).to_have_text(said)
    assert until(page, f"sum === {found}") == found
    expect(page.locator("[data-correct=discard]")).to_be_hidden()


@pytest.mark.slow
def test_wheel_and_touch_are_the_pages_until_the_picture_has_the_focus(page, study):
    canvas = opened(page, study)
    number = page.locator("#series-slice input[type=number]").input_value()
    canvas.scroll_into_view_if_needed()
    canvas.hover()
    page.mouse.wheel(0, 200)
    page.wait_for_function("scrollY > 0")
    expect(page.locator("#series-slice input[type=number]")).to_have_value(number)
    canvas.click()
    page.mouse.wheel(0, 200)
    expect(page.locator("#series-slice input[type=number]")).not_to_have_value(number)
    page.keyboard.press("Escape")
    expect(canvas).not_to_be_focused()
