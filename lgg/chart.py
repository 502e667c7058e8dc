"""A plot along a series' slices that can be clicked, walked with the keyboard, and read aloud.

Two panels, one above the other: the gate's probability with its threshold, and the outlined area. The drawing
is SVG that stretches to any width; words stand beside it as HTML, where they keep their shape. Over both lies
a button for each slice. The page's style gives all colours, and says nothing by colour alone.
"""

from html import escape

from lgg.report import percent
from lgg.table import table_html
from lgg.volume import SeriesResult

#: Height of a panel, in the drawing's own units. One slice is 10 units wide.
PANEL, WIDTH = 100, 10
#: A bar's share of its slice's width, and the least height of one that is not zero.
BAR, LEAST = 8, 1.5


def chart_html(result: SeriesResult, current: int) -> str:
    """The plot as HTML.

    Args:
        result: what was found.
        current: the slice that is shown, from 1.
    """
    threshold = result.thresholds.gate
    unit, areas = _areas(result)
    highest = max(areas) or 1
    gate = [
        _bar(number, one.gate_probability, "" if one.passed else "below")
        for number, one in enumerate(result.predictions)
    ]
    area = [_bar(number, value / highest, "") for number, value in enumerate(areas)]
    line = PANEL * (1 - threshold)
    mark = f'<line class="threshold" x1="0" x2="{WIDTH * len(result)}" y1="{line:.1f}" y2="{line:.1f}"/>'
    top = f"{highest:,.0f}\u00a0{unit}" if any(areas) else f"0\u00a0{unit}"
    return (
        '<figure class="slice-chart"><figcaption>Along the slices: choose one in the plot, or with the arrow '
        "keys</figcaption>"
        f'<div class="plots" style="--slices:{len(result)}">'
        + _panel(
            "Gate: probability of a glioma",
            f"Bars from 0 to 100 %. {len(result.suspected)} of {len(result)} slices reach the threshold of "
            f"{percent(threshold)}.",
            [*gate, mark],
            len(result),
            "100\u00a0%",
            f'<span class="limit" style="top:{line:.1f}%">threshold {percent(threshold)}</span>',
        )
        + _panel(
            "Outlined area",
            f"Bars from 0 to {top}. Something is outlined in {len(result.with_tumour)} of {len(result)} "
            "slices.",
            area,
            len(result),
            top,
        )
        + _buttons(result, unit, areas, current)
        + f'</div><div class="ends" aria-hidden="true"><span>slice 1</span><span>{len(result)}</span></div>'
        + _table(result, unit, areas)
        + "</figure>"
    )


def _areas(result: SeriesResult) -> tuple[str, list[float]]:
    """The unit of areas, and each slice's: mm² where the spacing is known, else pixels."""
    known = [one.area_mm2 for one in result.predictions]
    if None in known:
        return "px", [float(area) for area in result.areas]
    return "mm²", [area for area in known if area is not None]


def _bar(number: int, share: float, kind: str) -> str:
    height = max(PANEL * share, LEAST) if share > 0 else 0
    left = WIDTH * number + (WIDTH - BAR) / 2
    name = f' class="{kind}"' if kind else ""
    return f'<rect{name} x="{left:g}" y="{PANEL - height:.1f}" width="{BAR}" height="{height:.1f}"/>'


def _panel(title: str, text: str, shapes: list[str], slices: int, top: str, words: str = "") -> str:
    return (
        f'<div class="panel"><p aria-hidden="true"><span>{escape(title)}</span><span>{top}</span></p>'
        f'<div class="drawing"><svg role="img" aria-label="{escape(title)}. {escape(text)}" '
        f'viewBox="0 0 {WIDTH * slices} {PANEL}" preserveAspectRatio="none">'
        f"<title>{escape(title)}</title><desc>{escape(text)}</desc>{''.join(shapes)}</svg>{words}</div></div>"
    )


def _buttons(result: SeriesResult, unit: str, areas: list[float], current: int) -> str:
    """A button a slice. Only the current one is a stop of the Tab key: arrow keys lead on from there."""
    buttons = []
    for number, (one, area) in enumerate(zip(result.predictions, areas, strict=True), start=1):
        words = f"Slice {number}: gate {percent(one.gate_probability)}, outlined {area:,.0f} {unit}"
        state = 'aria-current="true" tabindex="0"' if number == current else 'tabindex="-1"'
        buttons.append(
            f'<button type="button" data-slice="{number}" {state} aria-label="{words}" '
            f'title="{words}"></button>'
        )
    return f'<div class="picks" role="group" aria-label="Slices">{"".join(buttons)}</div>'


def _table(result: SeriesResult, unit: str, areas: list[float]) -> str:
    rows = [
        (str(number), percent(one.gate_probability), "yes" if one.passed else "no", f"{area:,.0f}")
        for number, (one, area) in enumerate(zip(result.predictions, areas, strict=True), start=1)
    ]
    table = table_html("Along the slices", ("Slice", "Gate", "Passed", f"Outlined, {unit}"), rows)
    return f"<details><summary>The same as a table</summary>{table}</details>"


#: Runs in the browser once, with `element` and `trigger` from Gradio: clicks and arrow keys ask for a slice.
ON_LOAD = """
const picks = () => [...element.querySelectorAll("[data-slice]")];
const go = button => {
    for (const one of picks()) {
        one.tabIndex = one === button ? 0 : -1;
        one === button ? one.setAttribute("aria-current", "true") : one.removeAttribute("aria-current");
    }
    trigger("select", {slice: Number(button.dataset.slice)});
};
element.addEventListener("click", event => {
    const button = event.target.closest("[data-slice]");
    if (button) go(button);
});
element.addEventListener("keydown", event => {
    const all = picks(), at = all.indexOf(event.target.closest("[data-slice]"));
    if (at < 0) return;
    const to = {ArrowLeft: at - 1, ArrowRight: at + 1, ArrowDown: at - 1, ArrowUp: at + 1, Home: 0,
        End: all.length - 1, PageDown: at - 10, PageUp: at + 10}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const button = all[Math.min(Math.max(to, 0), all.length - 1)];
    button.focus();
    go(button);
});
"""
#: Runs in the browser when a slider moves: the mark in the plot follows without asking the server.
FOLLOW = """(...values) => {
    for (const one of document.querySelectorAll(".slice-chart [data-slice]")) {
        const here = Number(one.dataset.slice) === values[0];
        one.tabIndex = here ? 0 : -1;
        here ? one.setAttribute("aria-current", "true") : one.removeAttribute("aria-current");
    }
    return values;
}"""
