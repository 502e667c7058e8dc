"""The Space: what is deployed, that it starts without a network, and that it asks for what it uses."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from huggingface_hub import HfApi, SpaceCardData, SpaceHardware
from huggingface_hub.repocard import metadata_load
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lgg.errors import PublishError
from lgg.models import GATE
from lgg.weights import REPOSITORY_WEIGHTS
from lgg.weights.hub import Pin
from tests.hub_server import TOKEN, Fault
from train.publish import hub as command
from train.publish.hub import deploy_space, listing
from train.publish.space import front_matter, space_files

#: `huggingface_hub` hands files to its HTTP library in a way that the latter would like changed.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
ROOT = Path(__file__).resolve().parents[3]
SPACE, REPO = "user/lgg-demo", "user/lgg"
PIN = Pin(REPO, "0123456789" * 4, "v1", (GATE, "unet", "unet-mini"))
#: Everything that `app.py` does but the serving, then a slice by the weights that came along.
START = """
import json
import gradio
pages = []
gradio.Blocks.launch = lambda page, **settings: pages.append(page)
import app
app.open_page()
from lgg.examples import load_examples
from lgg.cascade import Cascade
from lgg.io import read_slice
example = next(example for example in load_examples() if example.name == "large-lesion")
area = Cascade.from_pretrained("weights", "unet-mini").predict(read_slice(example.image)).area
print(json.dumps([app.__file__, area, str(pages[0].get_config_file())]))
"""


@pytest.fixture(scope="module")
def files():
    return space_files(SPACE, PIN, "zero", REPOSITORY_WEIGHTS)


def requirements(name: str) -> dict[str, Requirement]:
    """Canonical name → requirement of a requirements file."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    found = [Requirement(line) for line in lines if line]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


class TestFiles:
    def test_the_library_and_what_starts_it_is_there_and_nothing_else(self, files):
        assert {"app.py", "requirements.txt", "pre-requirements.txt", "LICENSE", "README.md"} <= files.keys()
        assert {"lgg/input_check.json", "lgg/weights/pinned.json", "lgg/examples/NOTICE.md"} <= files.keys()
        for folder in ("niivue", "static", "templates"):
            inside = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lgg/app" / folder).glob("*.*")}
            assert set() < inside <= files.keys()
        assert files["thumbnail.png"].read_bytes().startswith(b"\x89PNG")
        assert {path.split("/")[0] for path in files if "/" in path} == {"lgg", "weights"}
        assert not [path for path in files if "__pycache__" in path]

    def test_the_gate_and_small_segmenters_come_along(self, files):
        weights = {path for path in files if path.endswith(".safetensors")}
        assert {"weights/gate/model.safetensors", "weights/unet-mini/model.safetensors"} <= weights
        assert max(files[path].stat().st_size for path in weights) < 30_000_000

    def test_it_starts_without_a_network_and_says_so(self, files, tmp_path):
        for path, content in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        nowhere = {
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "HF_HOME": str(tmp_path / "home"),
            "LGG_WEIGHTS": REPO,
        }
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | nowhere
        call = [sys.executable, "-c", START]
        done = subprocess.run(
            call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        path, area, page = json.loads(done.stdout.splitlines()[-1])
        assert Path(path).parent == tmp_path
        assert area > 0, "an example is segmented"
        assert "unet-mini" in page
        assert "cannot be reached" in page
        assert PIN.revision in page


class TestFrontMatter:
    def test_is_what_the_hub_takes(self):
        """By huggingface.co/docs/hub/spaces-config-reference."""
        front = front_matter(SPACE, PIN, "cpu")
        colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
        assert {front["colorFrom"], front["colorTo"]} <= colours
        assert (front["sdk"], front["app_file"]) == ("gradio", "app.py")
        assert front["suggested_hardware"] in list(SpaceHardware)
        assert re.fullmatch(r"[^\x00-\x7f]+", front["emoji"])
        assert re.fullmatch(r"3\.\d+", front["python_version"]), "text: 3.10 without quotes would be 3.1"
        assert len(front["short_description"]) <= 60
        assert {"title", "license"} <= front.keys()
        assert front["header"] == "mini"
        assert requirements("requirements-app.txt")["gradio"].specifier.contains(front["sdk_version"])

    def test_weights_and_hardware_are_filled_in(self, files, tmp_path):
        (tmp_path / "README.md").write_bytes(files["README.md"])
        filled = metadata_load(tmp_path / "README.md")
        assert filled["models"] == [REPO]
        repo, names, revision = filled["preload_from_hub"][0].split(" ")
        assert (repo, revision) == (REPO, PIN.revision)
        assert names.split(",")[:2] == ["gate/config.json", "gate/model.safetensors"]
        assert filled["suggested_hardware"] == "zero-a10g"
        assert filled["thumbnail"] == f"https://huggingface.co/spaces/{SPACE}/resolve/main/thumbnail.png"
        assert filled["python_version"] == "3.12"
        assert SpaceCardData(**filled).to_dict() == filled


class TestRequirements:
    def test_all_that_is_imported_is_required_and_nothing_else(self):
        code = [ROOT / "app.py", *(ROOT / "lgg").rglob("*.py")]
        trees = [ast.parse(path.read_text()) for path in code]
        nodes = [node for tree in trees for node in ast.walk(tree)]
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
        # `spaces` is there on Spaces only, the others where somebody wants them; the page does without.
        optional = {"lgg", "spaces", "ray", "SimpleITK"}
        modules = {name.split(".")[0] for name in names} - {*sys.stdlib_module_names} - optional
        imported = {canonicalize_name(packages_distributions()[name][0]) for name in modules}
        files = ("requirements.txt", "requirements-app.txt")  # Spaces install Gradio on their own
        assert imported == {name for file in files for name in requirements(file)}

    def test_what_is_installed_first_fits_what_comes_after(self):
        first, later = requirements("pre-requirements.txt"), requirements("requirements.txt")
        assert first
        for name, requirement in first.items():
            (pinned,) = requirement.specifier
            assert pinned.operator == "=="
            assert later[name].specifier.contains(pinned.version)

    def test_zerogpu_runs_this_torch(self):
        (pinned,) = requirements("pre-requirements.txt")["torch"].specifier
        assert re.fullmatch(r"2\.(8|9|10|11)\.\d+", pinned.version)


class TestDeploy:
    @pytest.fixture(autouse=True)
    def _logged_in(self, hub, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", TOKEN)

    def test_files_variables_and_hardware_arrive(self, hub, files):
        deploy_space(HfApi(), SPACE, files, {"LGG_WEIGHTS": REPO}, "zero-a10g", "message", private=False)
        space = hub.store.repositories["spaces", SPACE]
        assert space.files.keys() - {".gitattributes"} == files.keys()
        assert space.variables == {"LGG_WEIGHTS": REPO}
        assert space.hardware == "zero-a10g"
        assert space.messages == ["initial commit", "message"]

    def test_hardware_that_is_there_is_not_asked_for_again(self, hub):
        for _ in range(2):
            deploy_space(HfApi(), SPACE, {"app.py": b""}, {}, "zero-a10g", "message", private=False)
        assert len([request for request in hub.seen if "/hardware" in request]) == 1

    def test_hardware_that_costs_names_the_way_out(self, hub):
        hub.faults.append(Fault("/hardware", status=402))
        with pytest.raises(PublishError, match="--hardware cpu"):
            deploy_space(HfApi(), SPACE, {"app.py": b""}, {}, "zero-a10g", "message", private=False)

    def test_a_dry_run_lists_every_file_and_sends_nothing(self, hub, files, monkeypatch, capsys):
        monkeypatch.setattr(command, "load_pin", lambda: PIN)
        command.push(space=SPACE, dry_run=True)
        assert listing(files) in capsys.readouterr().out
        assert hub.seen == []

    @pytest.mark.parametrize("private", [False, True])
    def test_only_public_weights_are_preloaded(self, hub, monkeypatch, private):
        commit = hub.store.publish(REPO, {"gate/config.json": b"{}"}, private)
        monkeypatch.setattr(command, "load_pin", lambda: replace(PIN, revision=commit))
        monkeypatch.setattr(command, "clean_commit", lambda: "c0ffee" * 7)
        command.push(space=SPACE)
        front = hub.store.repositories["spaces", SPACE].files["README.md"].decode().split("---\n")[1]
        assert commit in front if not private else "preload_from_hub" not in front

    @pytest.mark.parametrize("published", [False, True])
    def test_a_pin_that_the_hub_does_not_have_is_not_deployed(self, hub, monkeypatch, published):
        if published:
            hub.store.publish(REPO, {})
        monkeypatch.setattr(command, "load_pin", lambda: PIN)
        monkeypatch.setattr(command, "clean_commit", lambda: "c0ffee" * 7)
        with pytest.raises(PublishError, match="Publish it first"):
            command.push(space=SPACE)
        assert ("spaces", SPACE) not in hub.store.repositories

    def test_without_a_pin_there_is_nothing_to_run(self, monkeypatch):
        monkeypatch.setattr(command, "load_pin", lambda: None)
        with pytest.raises(PublishError, match="Nothing is pinned"):
            command.push(space=SPACE, dry_run=True)
