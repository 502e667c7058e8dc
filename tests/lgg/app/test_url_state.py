"""Links that restore the page: what is written is read back, and what is strange is left out."""

from urllib.parse import parse_qsl

import pytest

from lgg.app.url_state import read_link, write_link

EXAMPLES = ("large-lesion", "small-lesion", "two-lesions")


def read(text):
    return read_link(dict(parse_qsl(text.removeprefix("?"))), EXAMPLES)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {
            "example": "two-lesions",
            "architecture": "unet-lite0",
            "threshold": 0.4,
            "gate": 0.19,
            "opacity": 0.5,
            "layer": "heat",
            "channel": 2,
            "before_after": True,
        },
        {"threshold": 0.0, "gate": 1.0, "opacity": 0.0, "channel": 0},
    ],
)
def test_what_is_written_is_read_back(state):
    assert read(write_link(state)) == state
    assert bool(write_link(state)) == bool(state)


def test_the_issues_own_example():
    state = read("?example=2&arch=unet&threshold=0.4")
    assert state == {"example": "small-lesion", "architecture": "unet", "threshold": 0.4}


@pytest.mark.parametrize(
    "text",
    [
        "?example=0",
        "?example=4",
        "?example=-1",
        "?example=../../etc/passwd",
        "?example=%C2%B2",  # a superscript two, which is a digit to some
        "?example=" + "9" * 500,
        "?arch=gate",
        "?arch=<script>",
        "?threshold=nan&gate=inf&opacity=2",
        "?threshold=-0.1&gate=half",
        "?show=everything&sequence=t2",
        "?slider=yes&unknown=1",
    ],
)
def test_what_is_strange_is_left_out(text):
    assert read(text) == {}
