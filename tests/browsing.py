"""What browser tests of the page share: a page that must stay clean, and a visitor's few gestures."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE_MS = 60_000
#: A browser without a graphics card says this before its 3D viewer takes what there is.
NO_CARD = "WebGPU creation/initialization"
expect.set_options(timeout=PATIENCE_MS)
#: Of a browser that has no WebGL2, as far as the viewer can tell; other drawings in 3D go on.
NO_WEBGL = """const get = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    return kind === "webgl2" && this.closest(".viewer") ? null : get.call(this, kind, ...rest);
};"""
#: For tests of what a narrow screen lays out otherwise; the others use a desktop's.
both_widths = pytest.mark.parametrize("page", [DESKTOP, PHONE], ids=["desktop", "phone"], indirect=True)
#: The same where other tests of a tab are enough on a phone, but before a release.
both_widths_at_last = pytest.mark.parametrize(
    "page", [DESKTOP, pytest.param(PHONE, marks=pytest.mark.slow)], ids=["desktop", "phone"], indirect=True
)
#: Gradio's announcement of an error is a button in a button. What it says stands in the result, too.
GRADIOS_OWN = [[".toast-wrap"]]


@contextmanager
def visit(
    browser: Browser,
    url: str,
    viewport: dict[str, int],
    query: str = "",
    scheme: str = "light",
    webgl: bool = False,
) -> Iterator[Page]:
    """An open page. Whatever a test does, nothing may appear in the console and no other host be asked.

    Args:
        webgl: whether the viewer can draw, which a processor alone takes seconds for.
    """
    # One for all, that keeps Gradio's scripts. Each page is a session of its own for the server.
    context = next(iter(browser.contexts), None) or browser.new_context(
        reduced_motion="reduce", permissions=["clipboard-read", "clipboard-write"]
    )
    page = context.new_page()
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme=scheme)
    if not webgl:
        page.add_init_script(NO_WEBGL)
    page.set_default_timeout(PATIENCE_MS)
    complaints, hosts = [], set()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: hosts.add(urlsplit(asked.url).netloc))
    page.goto(url + query)
    expect(page.locator("#examples button.thumbnail-item")).to_have_count(6)
    yield page
    width = page.evaluate("document.documentElement.scrollWidth")
    page.close()
    assert width <= viewport["width"], "no sideways scrolling"
    assert [text for text in complaints if NO_CARD not in text] == []
    assert hosts - {""} == {urlsplit(url).netloc}, "data: and blob: addresses have no host"


def pick(page: Page, title: str) -> None:
    """Click an example."""
    picture = page.get_by_alt_text(title, exact=True)
    page.locator("#examples button.thumbnail-item", has=picture).click()


def upload(page: Page, path) -> None:
    """Hand a slice to the drop zone."""
    page.locator("#upload input[type=file]").set_input_files(path)


def open_truth(page: Page, tab: str = "") -> Locator:
    """Unfold the box for a ground truth; the input that takes it. `tab`: `series-` for that of the series.

    Gradio mounts a folded box when it is opened, and what was sent to it before, an empty file, can still
    arrive then, and take the place of a file that is handed over at once. No visitor is so fast.
    """
    settle(page)
    page.locator(f"#{tab}truth-box").get_by_text("Compare with a ground truth").click()
    taker = page.locator(f"#{tab}truth input[type=file]")
    expect(taker).to_be_attached()
    page.wait_for_timeout(1000)
    return taker


def examine(page: Page, *files) -> None:
    """Hand files to the series' tab and have them examined; waits for nothing that is said about them."""
    page.get_by_role("tab", name="Whole series").click()
    page.locator("#series-upload input[type=file]").set_input_files(files)
    expect(page.locator("#series-upload .file-preview tr")).to_have_count(len(files))
    page.locator("#series-start").click()


def unfold_plot(page: Page) -> None:
    """Open the plot along the slices, which a phone shows folded."""
    along = page.locator("#series-chart .along")
    settle(page)
    if along.get_attribute("open") is None:
        along.locator("summary").first.click()
    expect(page.locator("#series-chart .plots")).to_be_visible()


def slide(page: Page, name: str, value: float) -> None:
    """Type a value into a slider's number, as a visitor may instead of dragging."""
    number = page.locator(f"#{name} input[type=number]")
    number.fill(str(value))
    number.press("Tab")


def settle(page: Page) -> None:
    """Wait until nothing is being worked on or fading in: half-faded text has half the contrast."""
    expect(page.locator(".pending")).to_have_count(0)
    page.evaluate(
        "Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => null)))"
    )


def violations(page: Page) -> set[tuple[str, str]]:
    """(rule, place) of whatever axe-core finds serious, in Gradio's components too but for those listed."""
    settle(page)
    return {
        (violation["id"], node["html"][:200])
        for violation in Axe().run(page, context={"exclude": GRADIOS_OWN}).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    }
