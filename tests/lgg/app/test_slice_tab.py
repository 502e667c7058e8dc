"""Links to what a slice is shown by: what is written is read back, and what is strange is left out."""

from urllib.parse import parse_qsl

import pytest

from lgg.app.slice_tab import read_link, write_link

EXAMPLES = ("large-lesion", "small-lesion", "two-lesions")
SHOWN = {"layer": "heat", "channel": 2, "threshold": 0.4, "gate": 0.19, "opacity": 0.5, "before_after": True}


def read(text):
    return read_link(dict(parse_qsl(text.removeprefix("?"))), EXAMPLES)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"example": "two-lesions", "architecture": "unet-lite0", **SHOWN},
        {"threshold": 0.0, "gate": 1.0, "opacity": 0.0, "channel": 0},
    ],
)
def test_what_is_written_is_read_back(state):
    assert read(write_link(state)) == state
    assert bool(write_link(state)) == bool(state)


def test_an_example_may_be_counted():
    assert read("?example=2&arch=unet") == {"example": "small-lesion", "architecture": "unet"}


def test_what_is_strange_is_left_out():
    # %C2%B2 is a superscript two, which is a digit to some.
    for name in ("0", "4", "-1", "../../etc/passwd", "%C2%B2", "9" * 500):
        assert read(f"?example={name}") == {}
    assert read("?arch=gate&threshold=nan&gate=inf&opacity=2&show=everything&sequence=t2") == {}
    assert read("?arch=<script>&threshold=-0.1&gate=half&slider=yes&unknown=1") == {}
