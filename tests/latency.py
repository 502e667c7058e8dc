"""How long a visitor waits for what acts at once: `python -m tests.latency` moves each control and prints it.

In the system's own Chromium, from the control's event to the new picture, decoded. The browser and the page
share this machine's processors.
"""

import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from lgg.app.gallery import load_examples
from lgg.weights import REPOSITORY_WEIGHTS
from tests.browsing import DESKTOP, pick, settle, visit
from tests.page_server import chromium, serve_page

REPEATS = 14
#: Moves a slider, or checks a radio button, and waits for the picture that follows.
MOVE = """async ([name, value]) => {
    const picture = document.querySelector("#outlined img"), began = performance.now();
    const redrawn = new Promise((done, fail) => {
        setTimeout(() => fail(new Error(`${name} ${value} changed nothing`)), 10000);
        new MutationObserver(async (_, observer) => {
            observer.disconnect();
            await picture.decode();
            done(performance.now() - began);
        }).observe(picture, {attributes: true, attributeFilter: ["src"]});
    });
    if (typeof value === "string") {
        const labels = [...document.querySelectorAll(`#${name} label`)];
        labels.find(label => label.textContent.trim() === value).click();
    } else {
        const slider = document.querySelector(`#${name} input[type=range]`);
        Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(slider, value);
        slider.dispatchEvent(new Event("input", {bubbles: true}));
    }
    return await redrawn;
}"""
#: Control → two values to move between; the second leaves the picture with an outline in it.
MOVES: dict[str, tuple[float | str, float | str]] = {
    "threshold": (0.2, 0.8),
    "gate": (1, 0.05),
    "opacity": (0.2, 0.8),
    "layer": ("Outline", "Heat map"),
    "sequence": ("T1 post", "FLAIR"),
}


def measure(page: Page) -> dict[str, float]:
    """Control → median milliseconds, after two moves to warm up."""
    pick(page, load_examples()[0].title)
    expect(page.locator("#facts dl")).to_be_visible()
    medians = {}
    for name, values in MOVES.items():
        times = []
        for number in range(REPEATS + 2):
            settle(page)
            times.append(page.evaluate(MOVE, [name, values[number % 2]]))
        medians[name] = statistics.median(times[2:])
    return medians


def main() -> None:
    """Print a line a control."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        serve_page(REPOSITORY_WEIGHTS, Path(scratch)) as url,
        chromium() as browser,
        visit(browser, url, DESKTOP) as page,
    ):
        for name, milliseconds in measure(page).items():
            print(f"{name:10} {milliseconds:4.0f} ms")


if __name__ == "__main__":
    main()
