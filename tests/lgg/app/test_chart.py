"""The plot along the slices: what it draws, and that it can be read and walked without seeing it."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from lgg.app.render import PANEL, chart_html
from tests.series_results import result

FOUND = result([0.1, 0.6, 0.9, 0.499], [0, 4, 8, 0], (0.5, 0.5), 5.0)


@pytest.fixture(scope="module")
def root():
    return ElementTree.fromstring(chart_html(FOUND, 3).replace("\u00a0", " "))


def bars(root, panel):
    return [float(one.get("height")) for one in root.findall(".//svg")[panel].findall("rect")]


def test_bars_are_as_high_as_the_gates_probabilities(root):
    assert bars(root, 0) == pytest.approx([10, 60, 90, 49.9])


def test_areas_are_drawn_against_the_largest(root):
    assert bars(root, 1) == [0, 25, PANEL, 0]
    assert "16 mm²" in "".join(root.itertext())


def test_the_threshold_is_a_line_with_words(root):
    line = root.find(".//line")
    assert float(line.get("y1")) == float(line.get("y2")) == 50
    assert "threshold 50 %" in "".join(root.itertext())


def test_slices_below_the_threshold_are_marked(root):
    drawn = root.findall(".//svg")[0].findall("rect")
    assert [one.get("class") for one in drawn] == ["below", None, None, "below"]


def test_each_panel_is_described(root):
    for svg in root.findall(".//svg"):
        assert svg.get("role") == "img"
        assert svg.find("title").text
        assert svg.find("desc").text in svg.get("aria-label")


def test_each_slice_is_a_button_that_says_its_values(root):
    buttons = root.findall(".//button")
    assert [one.get("data-slice") for one in buttons] == ["1", "2", "3", "4"]
    assert buttons[1].get("aria-label") == "Slice 2: gate 60 %, outlined 4 mm²"


def test_the_tab_key_stops_at_the_current_slice_alone(root):
    buttons = root.findall(".//button")
    assert [one.get("tabindex") for one in buttons] == ["-1", "-1", "0", "-1"]
    assert [one.get("aria-current") for one in buttons] == [None, None, "true", None]


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
