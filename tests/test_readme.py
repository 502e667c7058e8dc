"""The README says what is true."""

import re
from pathlib import Path

from lgg.models import BUILDERS
from lgg.weights import REPOSITORY_WEIGHTS, available, load_config
from train.evaluation.results import load_results, summary
from train.report import BLOCK, PAGE, README, results_block, results_page

ROOT = Path(__file__).resolve().parents[1]
TEXT = README.read_text()


RESULTS = load_results()


def test_results_in_the_readme_are_those_of_the_results_file():
    block = BLOCK.search(TEXT)
    assert block
    assert block[0] == results_block(RESULTS), "run `python -m train report`"


def test_the_results_page_is_that_of_the_results_file():
    figures = [path.stem for path in (REPOSITORY_WEIGHTS / "figures").glob("*.png")]
    assert set(re.findall(r"figures/(\w+)\.png", PAGE.read_text())) == set(figures)
    shown = re.findall(r"figures/(\w+)\.png", PAGE.read_text())
    page = results_page(RESULTS, REPOSITORY_WEIGHTS, shown, folder="../weights/figures")
    assert PAGE.read_text() == page, "run `python -m train report`"


def test_metrics_in_the_configs_are_those_of_the_results_file():
    assert available()
    for name in available():
        config = load_config(REPOSITORY_WEIGHTS / name)
        assert config.metrics == summary(RESULTS, name, "patient", config.training["recipe"]), name


def test_readme_opens_as_a_space_and_shows_the_two_commands_on_its_first_screen():
    assert TEXT.startswith("---\ntitle: ")
    front, body = TEXT.split("---\n", 2)[1:]
    assert {"sdk: gradio", "app_file: app.py", "license: mit"} <= set(front.splitlines())
    first_screen = "\n".join(body.splitlines()[:20])
    assert "make app" in first_screen
    assert "make test" in first_screen


def test_every_picture_and_file_that_the_readme_links_exists():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_of_the_readme_names_a_known_model():
    assert set(re.findall(r"--model (\S+)", TEXT)) <= set(BUILDERS)
