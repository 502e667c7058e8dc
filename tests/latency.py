"""How long a visitor waits for what acts at once: `python -m tests.latency` moves each control and prints it.

In the system's own Chromium, from the control's event to the new picture, decoded; beside it, what Gradio
itself takes for the least event that there is. The browser and the page share this machine's processors.
"""

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import numpy as np
from playwright.sync_api import Page, expect

from lgg.examples import load_examples
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


def move(page: Page, name: str, values: tuple[float | str, float | str]) -> float:
    """Median milliseconds of a control's moves, after two to warm up."""
    times = []
    for number in range(REPEATS + 2):
        settle(page)
        times.append(page.evaluate(MOVE, [name, values[number % 2]]))
    return statistics.median(times[2:])


def measure(page: Page) -> dict[str, float]:
    """Control → median milliseconds."""
    pick(page, load_examples()[0].title)
    expect(page.locator("#facts dl")).to_be_visible()
    return {name: move(page, name, values) for name, values in MOVES.items()}


@contextmanager
def serve_least() -> Iterator[str]:
    """An app whose one slider changes a tiny picture; its address."""
    with gr.Blocks(analytics_enabled=False) as app:
        slider = gr.Slider(0, 1, value=0.5, elem_id="least")
        picture = gr.Image(np.zeros((8, 8, 3), np.uint8), elem_id="outlined")
        slider.input(
            lambda value: np.full((8, 8, 3), round(255 * value), np.uint8),
            slider,
            picture,
            show_progress="hidden",
        )
    _, url, _ = app.launch(prevent_thread_lock=True, quiet=True)
    try:
        yield url
    finally:
        app.close()


def main() -> None:
    """Print a line a control."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        serve_page(Path(scratch)) as url,
        chromium() as browser,
    ):
        with visit(browser, url, DESKTOP) as page:
            times = measure(page)
        with serve_least() as least_url, browser.new_page(viewport=DESKTOP) as least:
            least.goto(least_url)
            expect(least.locator("#outlined img")).to_be_visible()
            floor = move(least, "least", (0.2, 0.8))
        for name, milliseconds in times.items():
            print(f"{name:10} {milliseconds:4.0f} ms  {milliseconds / floor:.1f} times Gradio's least event")
        print(f"{'least':10} {floor:4.0f} ms")


if __name__ == "__main__":
    main()
