"""`--help` tells somebody who has never seen the project what to do."""

import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from unittest.mock import patch

import pytest

from train.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
#: All that there are, the options of each being those of its function.
COMMANDS = (
    *("gate", "segment", "all", "folds", "ablate", "average", "thresholds", "evaluate", "report", "speed"),
    *("benchmark", "onnx", "push"),
)


def help_of(*command: str) -> str:
    printed, called = TextIOWrapper(BytesIO(), "utf-8"), ["train", *command, "--help"]
    # The environment too: a command chooses the engine of its process.
    with patch.object(sys, "argv", called), patch.dict(os.environ), redirect_stdout(printed):
        with pytest.raises(SystemExit, match=r"^0$"):
            main()
    printed.seek(0)
    return printed.read()


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    return {command: help_of(command) for command in COMMANDS}


def test_the_first_page_names_every_command_and_their_order():
    lines = [line.split() for line in help_of().splitlines()]
    assert [line[0] for line in lines if line and line[0] in COMMANDS] == list(COMMANDS)
    assert "`gate`, then `segment`" in help_of()


def test_the_first_page_waits_for_no_network_library():
    call = [sys.executable, "-X", "importtime", "-m", "train", "--help"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=120)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tyro" in imported
    assert not {"torch", "accelerate"} & imported


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(helps, command):
    """An option's own line, or the one below it, holds words beside its name, its values and its default."""
    lines = [line.strip("│ ") for line in helps[command].splitlines()]
    options = [number for number, line in enumerate(lines) if line.startswith("--")]
    assert len(options) >= 2
    for number in options:
        words = (lines[number] + "  " + lines[number + 1]).split("  ")[1:]
        told = " ".join(words).replace("(required)", "").split("(default:")[0].split("--")[0]
        assert len(told.split()) >= 2, lines[number]


def test_folds_takes_no_option_that_it_would_ignore(helps):
    for option in ("--resume", "--restart", "--split", "--out", "--teacher"):
        assert f" {option}" not in helps["folds"]
        assert f" {option}" in helps["segment"]
