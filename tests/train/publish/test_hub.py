"""Publishing to a Hub over real HTTP: one commit, one tag, and what happens when it is refused."""

import json
import re
import subprocess
from dataclasses import replace

import pytest
import torch
from huggingface_hub import HfApi, ModelCard

from lgg.cascade import Cascade
from lgg.errors import PublishError, WeightsError
from lgg.models import GATE
from lgg.weights import load_config, load_model, save_config
from lgg.weights.hub import load_pin
from tests.hub_server import TOKEN, Fault
from tests.tiny_weights import METRICS, use_tiny_networks, write_weights
from train.evaluation.evaluate import Row
from train.evaluation.results import Results, save_results
from train.publish import hub as command
from train.publish.hub import clean_commit, listing, model_files, publish_models

#: `huggingface_hub` hands files to its HTTP library in a way that the latter would like changed.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
REPO = "user/lgg"
ROWS = [
    Row("unet", "slice", "hard", "volume", measure, 0.654321, 0.6, 0.7, 9, "cpu")
    for measure in ("slice_tumour", "slice_all_268_125", "pooled", "empty_kept")
]


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch):
    use_tiny_networks(monkeypatch)


@pytest.fixture
def weights(tmp_path):
    folder = write_weights(tmp_path / "weights", metrics=METRICS)
    save_results(Results(ROWS), folder / "results.json")
    (folder / "figures").mkdir()
    (folder / "figures" / "dice.png").write_bytes(b"\x89PNG picture")
    return folder


@pytest.fixture
def api(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return HfApi()


@pytest.fixture
def pinned(tmp_path, monkeypatch):
    """A project without a pin, whose tree is clean."""
    path = tmp_path / "pinned.json"
    path.write_text("{}")
    for module in ("lgg.weights.hub", "train.publish.hub"):
        monkeypatch.setattr(f"{module}.PINNED", path)
    monkeypatch.setattr(command, "clean_commit", lambda: "c0ffee" * 7)
    return path


def publish(api, weights, tag="v1", private=False):
    return publish_models(api, REPO, model_files(weights, REPO), tag, "message", private)


def repository(hub):
    return hub.store.repositories["models", REPO]


class TestPublish:
    def test_what_is_pushed_comes_back_with_identical_logits(self, api, weights):
        revision = publish(api, weights)
        there = Cascade.from_pretrained(REPO, "unet", "cpu", revision=revision)
        assert there.source.revision == revision
        pictures = torch.randn(3, 3, 32, 32)
        for name in (GATE, "unet"):
            here, back = (load_model(place / name)[0] for place in (weights, there.source.folder))
            assert torch.equal(here(pictures), back(pictures))

    def test_its_own_config_lists_the_models_and_is_what_a_download_asks_for_first(self, hub, api, weights):
        revision = publish(api, weights)
        listed = json.loads(repository(hub).files["config.json"])["models"]
        assert listed["unet"]["sha256"] == load_config(weights / "unet").sha256
        hub.seen.clear()
        Cascade.from_pretrained(REPO, "unet", "cpu", revision=revision)
        assert hub.seen[0] == f"HEAD /{REPO}/resolve/{revision}/config.json"

    def test_everything_is_one_commit_and_one_tag_and_the_same_again_changes_nothing(self, hub, api, weights):
        revision = publish(api, weights)
        assert publish(api, weights) == revision
        assert repository(hub).messages == ["initial commit", "message"]
        assert repository(hub).tags == {"v1": revision}
        assert repository(hub).files.keys() - {".gitattributes"} == model_files(weights, REPO).keys()

    def test_a_tag_that_was_missed_is_set_the_next_time(self, hub, api, weights):
        hub.faults.append(Fault("POST .*/tag/", status=500, times=1))
        with pytest.raises(PublishError, match="may lack the last step"):
            publish(api, weights)
        assert repository(hub).tags == {}
        assert publish(api, weights) == repository(hub).tags["v1"]
        assert len(repository(hub).commits) == 2

    def test_a_published_version_is_never_replaced(self, hub, api, weights):
        publish(api, weights)
        save_results(Results(), weights / "results.json")
        with pytest.raises(PublishError, match="raise the version"):
            publish(api, weights)
        assert len(repository(hub).commits) == 2
        assert publish(api, weights, "v2") != repository(hub).tags["v1"]

    def test_what_is_gone_here_is_deleted_there(self, hub, api, weights):
        publish(api, weights)
        (weights / "figures" / "dice.png").unlink()
        publish(api, weights, "v2")
        assert "figures/dice.png" not in repository(hub).files

    def test_private_means_private_and_a_public_repository_is_not_taken_for_one(self, hub, api, weights):
        publish(api, weights, private=True)
        assert repository(hub).private
        repository(hub).private = False
        with pytest.raises(PublishError, match="public already"):
            publish(api, weights, "v2", private=True)


class TestRefusal:
    def test_weights_without_metrics(self, weights):
        save_config(weights / "unet", load_config(write_weights(weights.parent / "new") / "unet"))
        with pytest.raises(PublishError, match="'unet' was never measured"):
            model_files(weights, REPO)

    def test_weights_that_are_not_those_of_the_config(self, weights):
        with (weights / GATE / "model.safetensors").open("ab") as file:
            file.write(b"\0")
        with pytest.raises(WeightsError, match="not the file"):
            model_files(weights, REPO)

    def test_segmenters_without_a_gate(self, weights):
        (weights / GATE / "model.safetensors").unlink()
        with pytest.raises(PublishError, match="gate and a segmenter"):
            model_files(weights, REPO)

    def test_a_dirty_tree(self, tmp_path):
        for arguments in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q",
                                           "--allow-empty", "-m", "first"]):  # fmt: skip
            subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
        assert len(clean_commit(tmp_path)) == 40
        (tmp_path / "new.py").write_text("")
        with pytest.raises(PublishError, match=r"in no commit.*new\.py"):
            clean_commit(tmp_path)

    def test_no_checkout(self, tmp_path):
        with pytest.raises(PublishError, match="not a git checkout"):
            clean_commit(tmp_path / "nowhere")

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (401, "does not know you"),
            (403, "may not write"),
            (404, "may not write"),
            (429, "too many"),
            (500, "500"),
        ],
    )
    @pytest.mark.parametrize("route", ["repos/create", "/preupload/", "/commit/"])
    def test_an_error_of_the_hub(self, hub, api, weights, route, status, words):
        hub.faults.append(Fault(route, status=status))
        with pytest.raises(PublishError, match=words) as caught:
            publish(api, weights)
        assert TOKEN not in str(caught.value)
        assert hub.url not in str(caught.value)
        known = hub.store.repositories.get(("models", REPO))
        assert known is None or len(known.commits) == 1, "nothing was published"

    def test_a_large_file_that_cannot_be_sent(self, hub, api, weights):
        for fault, words in ((Fault("PUT", status=500), "error 500"), (Fault("PUT", cut=0), "connection")):
            hub.faults[:] = [fault]
            with pytest.raises(PublishError, match=words):
                publish(api, weights)
            assert len(repository(hub).commits) == 1

    def test_a_connection_that_breaks_once_is_tried_again(self, hub, api, weights):
        hub.faults.append(Fault("PUT", cut=0, times=1))
        assert publish(api, weights) == repository(hub).head

    def test_nobody_logged_in(self, hub, weights):
        with pytest.raises(PublishError, match="does not know you"):
            publish(HfApi(), weights)


class TestCommand:
    @pytest.fixture(autouse=True)
    def _onnx_in_no_time(self, monkeypatch):
        """Files of 9 bytes instead of graphs; `test_onnx.py` makes those."""

        def convert(weights, out):
            for name in (GATE, "unet", "unet-mini"):
                (out / f"{name}.onnx").write_bytes(b"a network")

        monkeypatch.setattr(command, "convert", convert)

    def test_a_dry_run_lists_every_file_with_its_size_and_sends_nothing(self, hub, weights, pinned, capsys):
        command.push(repo=REPO, dry_run=True, pin=True, weights=weights)
        said = capsys.readouterr().out
        onnx = {f"onnx/{name}.onnx": b"a network" for name in (GATE, "unet", "unet-mini")}
        assert listing(model_files(weights, REPO) | onnx) in said
        assert f"{(weights / 'unet' / 'model.safetensors').stat().st_size:,}  unet/model.safetensors" in said
        assert hub.seen == []
        assert pinned.read_text() == "{}"

    def test_the_revision_is_printed_and_pinned(self, hub, api, weights, pinned, capsys):
        command.push(repo=REPO, tag="v7", weights=weights)
        assert pinned.read_text() == "{}", "nothing is pinned without being asked"
        command.push(repo=REPO, pin=True, tag="v7", weights=weights)
        revision = repository(hub).tags["v7"]
        assert revision in capsys.readouterr().out
        assert repository(hub).files["onnx/unet-mini.onnx"] == b"a network"
        pin = load_pin()
        assert (pin.repo, pin.revision, pin.version) == (REPO, revision, "v7")
        assert set(pin.models) == {GATE, "unet", "unet-mini"}
        assert repository(hub).messages[-1].startswith("Weights v7, code c0ffee")

    def test_a_space_beside_the_weights_runs_what_was_just_published(self, hub, api, weights, pinned):
        command.push(repo=REPO, space="user/page", tag="v1", weights=weights)
        space = hub.store.repositories["spaces", "user/page"]
        stored = json.loads(space.files["lgg/weights/pinned.json"])
        assert (stored["repo"], stored["revision"]) == (REPO, repository(hub).tags["v1"])
        assert space.variables == {"LGG_WEIGHTS": REPO, "GRADIO_MCP_SERVER": "True"}
        assert "weights/unet-mini/model.safetensors" in space.files

    def test_a_command_without_an_aim_says_what_it_could_do(self):
        with pytest.raises(PublishError, match=r"--repo.*--space"):
            command.push()


class TestCards:
    def test_the_front_page_holds_every_number_from_the_results(self, weights):
        card = model_files(weights, REPO)["README.md"].decode()
        assert "value: 0.8123" in card, "the model-index"
        assert "| U-Net (`unet`) | " in card
        assert "0.654 (0.600–0.700)" in card
        assert "![figures/dice.png](figures/dice.png)" in card
        data = ModelCard(card).data
        assert "U-Net: Dice a volume, mean" in [result.metric_name for result in data.eval_results]
        assert (data.datasets, data.metrics) == (["lgg-mri-segmentation"], ["dice"])

    def test_the_front_page_lacks_nothing_that_a_models_card_has(self, weights):
        card, model = (model_files(weights, REPO)[path].decode() for path in ("README.md", "unet/README.md"))
        sections = set(re.findall("^## (.+)", model, re.MULTILINE)) - {"By site"}
        assert sections < set(re.findall("^## (.+)", card, re.MULTILINE))
        assert "## U-Net by site" in card
        assert "z-score" in card
        assert "hospitals in the United States" in card

    def test_the_front_page_holds_the_gates_own_figures(self, weights):
        row = {"value": 0.9321, "low": 0.9, "high": 0.95, "n": 2}
        config = load_config(weights / GATE)
        save_config(weights / GATE, replace(config, metrics=METRICS | {"measures": {"auroc": row}}))
        assert "| AUROC | 0.932 | 0.900 to 0.950 |" in model_files(weights, REPO)["README.md"].decode()

    def test_the_cards_say_how_to_load_from_where_they_stand(self, weights):
        files = model_files(weights, REPO)
        assert (
            'from_pretrained("user/lgg", architecture="unet-mini")' in files["unet-mini/README.md"].decode()
        )
        assert 'from_pretrained("user/lgg")' in files["gate/README.md"].decode()
