"""The `lgg` command as a practitioner types it: words, exit codes, and what goes to which stream."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lgg.cli import COMMANDS, main
from tests.small_studies import spoil, write_study
from tests.tiny_weights import use_tiny_networks, write_weights

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    use_tiny_networks(monkeypatch)
    monkeypatch.setenv("LGG_WEIGHTS", str(write_weights(tmp_path / "weights")))


@pytest.fixture
def studies(tmp_path):
    for number in range(2):
        write_study(tmp_path / "studies" / f"patient{number}", seed=number)
    return tmp_path / "studies"


@pytest.fixture
def lgg(capsys, caplog, weights):
    """Runs a command in this process: exit code, standard output, standard error with what was logged."""
    caplog.set_level(logging.INFO)

    def run(*words):
        caplog.clear()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err + caplog.text

    return run


SEGMENT = ("segment", "--model", "unet-mini", "-o")


def test_the_first_page_names_every_command_and_waits_for_no_network():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lgg", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert all(re.search(rf"^ +{name}\b", done.stdout, re.MULTILINE) for name in COMMANDS)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tyro" in imported
    assert not {"torch", "numpy", "gradio"} & imported


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(lgg, command):
    code, out, _ = lgg(command, "--help")
    assert code == 0
    lines = [line.strip("│ ") for line in out.splitlines()]
    for number, line in enumerate(lines):
        if line.startswith("-"):
            words = (line + "  " + lines[number + 1]).split("  ")[1:]
            assert len(" ".join(words).split("(default:")[0].split()) >= 2, line


def test_a_study_is_a_line_of_standard_output(lgg, studies, tmp_path):
    code, out, err = lgg(*SEGMENT, tmp_path / "out", studies / "patient0")
    assert code == 0, err
    (line,) = out.splitlines()
    name, volume, slices, folder = line.split("\t")
    assert (name, Path(folder)) == ("patient0", tmp_path / "out" / "patient0")
    assert re.fullmatch(r"\d+\.\d\d ml", volume)
    assert slices.endswith("of 12 slices")
    assert (tmp_path / "out" / "statistics.csv").exists()


def test_a_failure_is_told_with_its_reason_and_exit_code(lgg, studies, tmp_path):
    spoil(studies / "patient0")
    code, out, err = lgg(*SEGMENT, tmp_path / "out", "--studies", studies)
    assert code == 1
    assert len(out.splitlines()) == 1
    assert "patient0" in err
    assert (tmp_path / "out" / "failures.csv").read_text().count("patient0") == 1


def test_files_of_sequences_make_a_study(lgg, studies, tmp_path):
    folder = studies / "patient0"
    words = ("--flair", folder / "FLAIR.nii.gz", "--post", folder / "T1-post.nii.gz")
    code, out, err = lgg(*SEGMENT, tmp_path / "out", *words, "--json")
    assert code == 0, err
    found = {name: row["found"] for name, row in json.loads(out)["sequences"].items()}
    assert list(found.values()) == [False, True, True]


@pytest.mark.parametrize(
    "words",
    [
        ("segment", "-o", "out"),
        ("segment", "-o", "out", "nowhere"),
        ("segment", "-o", "out", "--studies", "nowhere"),
        ("segment", "-o", "out", "--studies", ".", "nowhere"),
        ("segment", "-o", "out", "--model", "resnet", "nowhere"),
        ("segment", "nowhere"),
        ("segment", "-o", "out", "--shard", "0/3", "--studies", "empty"),
        ("statistics", "nowhere"),
        ("outline", "patient"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_exit_code_2_and_says_why(lgg, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    code, out, err = lgg(*words)
    assert code == 2
    assert out == ""
    assert err.strip()


def test_missing_weights_are_one_sentence(lgg, studies, tmp_path, monkeypatch):
    monkeypatch.setenv("LGG_WEIGHTS", str(tmp_path / "empty"))
    code, _, err = lgg(*SEGMENT, tmp_path / "out", studies / "patient0")
    assert code == 1
    assert len(err.splitlines()) == 1
    assert str(tmp_path) not in err


def test_statistics_are_made_anew_from_parts(lgg, studies, tmp_path):
    for number in range(2):
        words = ("--studies", studies, "--shard", f"{number + 1}/2", "--json")
        code, out, _ = lgg(*SEGMENT, tmp_path / "out", *words)
        assert (code, json.loads(out)["study"]) == (0, f"patient{number}")
    (tmp_path / "out" / "statistics.csv").unlink()
    code, out, _ = lgg("statistics", tmp_path / "out")
    assert code == 0
    assert "2 finished" in out
    assert len((tmp_path / "out" / "statistics.csv").read_text().splitlines()) == 3


def test_info_is_there_for_people_and_programs(lgg):
    code, out, _ = lgg("info", "--json")
    assert code == 0
    assert {"torch", "engine", "weights", "models"} <= set(json.loads(out))
    assert "torch: " in lgg("info")[1]


def test_download_says_where_weights_would_come_from(lgg, monkeypatch):
    monkeypatch.delenv("LGG_WEIGHTS")
    code, _, err = lgg("download")
    assert code == 1
    assert "Hub" in err
