"""The plot along the slices: what it draws, and that it can be read and walked without seeing it."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from lgg.app.render import chart_html
from tests.series_results import result

FOUND = result([0.1, 0.6, 0.9, 0.499], [0, 4, 8, 0], (0.5, 0.5), 5.0)


@pytest.fixture(scope="module")
def root():
    return ElementTree.fromstring(chart_html(FOUND, 3).replace("\u00a0", " "))


def bars(root, panel):
    return root.findall(".//svg")[panel].findall("rect")


@pytest.mark.parametrize(("panel", "heights"), [(0, [10, 60, 90, 49.9]), (1, [0, 25, 100, 0])])
def test_bars_are_as_high_as_probabilities_and_shares_of_the_largest_area(root, panel, heights):
    assert [float(bar.get("height")) for bar in bars(root, panel)] == pytest.approx(heights)


def test_the_threshold_is_a_line_with_words_and_slices_below_it_are_marked(root):
    line = root.find(".//line")
    assert float(line.get("y1")) == float(line.get("y2")) == 50
    assert "threshold 50 %" in "".join(root.itertext())
    assert [bar.get("class") for bar in bars(root, 0)] == ["below", None, None, "below"]


def test_each_panel_is_described(root):
    for svg in root.findall(".//svg"):
        assert svg.get("role") == "img"
        assert svg.find("title").text
        assert svg.find("desc").text in svg.get("aria-label")


def test_each_slice_is_a_button_and_the_tab_key_stops_at_the_current_alone(root):
    buttons = root.findall(".//button")
    assert [button.get("data-slice") for button in buttons] == ["1", "2", "3", "4"]
    assert buttons[1].get("aria-label") == "Slice 2: gate 60 %, outlined 4 mm²"
    assert [button.get("tabindex") for button in buttons] == ["-1", "-1", "0", "-1"]
    assert [button.get("aria-current") for button in buttons] == [None, None, "true", None]


def test_a_table_holds_the_same_values(root):
    rows = [["".join(cell.itertext()) for cell in row] for row in root.findall(".//tbody/tr")]
    assert rows[2] == ["3", "90 %", "yes", "16"]
    assert len(rows) == 4


def test_without_spacing_areas_are_pixels():
    html = chart_html(result([0.9], [4]), 1)
    assert "16\u00a0px" in html
    assert "mm²" not in html


def test_nothing_outlined_is_drawn_as_nothing():
    html = chart_html(result([0.1, 0.0], [0, 0]), 1)
    assert "0\u00a0px" in html
    assert not re.search("nan|inf", html)
