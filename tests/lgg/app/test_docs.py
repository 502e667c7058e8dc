"""What docs/api.md tells programs to do works as it stands, but for the address and the file."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lgg.app.gallery import SHIPPED

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "api.md").read_text()
#: What the shipped weights say of the example that is sent.
VERDICT = "Glioma likely"


def code_of(language: str, page_url: str, folder: Path) -> str:
    """The one code block of a language that talks to the page, for the page under test and a phantom."""
    shutil.copy(SHIPPED / "large-lesion.tif", folder / "slice.tif")
    code = next(
        block
        for block in re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
        if re.search('7860[/"]', block)
    )
    return code.replace("http://127.0.0.1:7860", page_url.rstrip("/"))


def test_the_python_lines_run(page_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code_of("python", page_url, tmp_path), names)
    assert names["report"]["verdict"] == VERDICT


def test_the_curl_lines_run(page_url, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    code = code_of("sh", page_url, tmp_path)
    done = subprocess.run(["sh", "-ec", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "event: complete" in done.stdout, done.stdout + done.stderr
    assert f'"verdict": "{VERDICT}"' in done.stdout
