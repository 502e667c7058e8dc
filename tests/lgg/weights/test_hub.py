"""Weights from the Hub, over HTTP: what is fetched, what the cache answers, and every way to fail."""

import json
import re

import pytest
import torch
from huggingface_hub import constants

from lgg.cascade import Cascade
from lgg.errors import WeightsError
from lgg.models import GATE
from lgg.weights import FORMAT, load_model
from lgg.weights import hub as hub_module
from lgg.weights.hub import download
from tests.hub_server import TOKEN, Fault
from tests.tiny_weights import files_of, use_tiny_networks, write_weights

REPO = "user/lgg"
BOTH = (GATE, "unet-mini")


@pytest.fixture(autouse=True)
def _tiny_networks(monkeypatch):
    use_tiny_networks(monkeypatch)


@pytest.fixture
def weights(tmp_path):
    return write_weights(tmp_path / "weights")


@pytest.fixture
def commit(hub, weights):
    """The commit under which all three models are published."""
    return hub.store.publish(REPO, files_of(weights))


def refuse(words, revision, repo=REPO, models=BOTH):
    """The download is refused in these words, which tell no secret and no path."""
    with pytest.raises(WeightsError, match=words) as caught:
        download(repo, models, revision)
    for secret in (TOKEN, "secret", "http://", constants.HF_HUB_CACHE):
        assert secret not in str(caught.value)


class TestDownload:
    def test_the_same_weights_come_out_of_the_hub(self, commit, weights):
        folder, revision = download(REPO, BOTH, commit)
        assert revision == commit
        for name in BOTH:
            (there, config), (here, expected) = load_model(folder / name), load_model(weights / name)
            assert config == expected
            pictures = torch.randn(2, 3, 32, 32)
            assert torch.equal(there(pictures), here(pictures))

    def test_a_download_is_counted_once(self, hub, weights):
        """The Hub counts requests for the repository's own config, be they GET or HEAD."""
        hub.store.publish(REPO, files_of(weights) | {"config.json": b"{}"})
        assert load_model(download(REPO, BOTH, "main")[0] / GATE)
        assert hub.seen[0] == f"HEAD /{REPO}/resolve/main/config.json"
        assert len([request for request in hub.seen if re.search("resolve/[^/]+/config.json", request)]) == 1

    def test_only_what_is_needed_is_fetched(self, hub, commit):
        folder, _ = download(REPO, BOTH, commit)
        wanted = {f"{name}/{file}" for name in BOTH for file in ("config.json", "model.safetensors")}
        assert files_of(folder).keys() == wanted
        assert not [request for request in hub.seen if "/unet/" in request]

    @pytest.mark.parametrize("revision", ["main", "v1"])
    def test_branch_and_tag_become_a_commit(self, hub, commit, revision):
        hub.store.repositories["models", REPO].tags["v1"] = commit
        assert download(REPO, BOTH, revision)[1] == commit

    def test_a_cached_commit_needs_no_request(self, hub, commit):
        download(REPO, BOTH, commit)
        hub.seen.clear()
        download(REPO, BOTH, commit)
        assert hub.seen == []

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_cached_branch_serves_while_the_hub_is_down(self, hub, commit, status):
        download(REPO, BOTH, "main")
        hub.faults.append(Fault(".*", status=status))
        assert download(REPO, BOTH, "main")[1] == commit

    def test_a_branch_that_moved_is_followed(self, hub, commit, weights):
        download(REPO, BOTH, "main")
        moved = hub.store.publish(REPO, files_of(weights) | {"news.md": b"news"})
        assert download(REPO, BOTH, "main")[1] == moved != commit

    def test_a_private_repository_opens_to_a_token(self, hub, weights, monkeypatch):
        commit = hub.store.publish(REPO, files_of(weights), private=True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        assert download(REPO, BOTH, "main")[1] == commit


class TestFailure:
    @pytest.mark.parametrize("how", ["no network", "offline mode", "too slow"])
    def test_a_hub_that_does_not_answer(self, hub, commit, monkeypatch, how):
        if how == "no network":
            hub.server_close()
            hub.shutdown()
        elif how == "offline mode":
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        else:
            monkeypatch.setattr(hub_module, "PATIENCE", 0.2)
            hub.faults.append(Fault("HEAD", delay=1))
        refuse("cannot be reached", commit)

    @pytest.mark.parametrize(
        ("repo", "words"),
        [
            ("user/none", "no repository 'user/none', or it is private"),
            (REPO, "private"),
            ("user/--lgg..", "not the name of a repository"),
        ],
        ids=["missing", "private", "no name"],
    )
    def test_a_repository_that_cannot_be_had(self, hub, weights, repo, words):
        hub.store.publish(REPO, files_of(weights), private=True)
        refuse(words, "main", repo)

    @pytest.mark.parametrize(
        ("revision", "model", "words"),
        [
            ("v9", "unet", "has no revision"),
            ("0" * 40, "unet", "has no revision"),
            ("main", "unet-resnext50", "does not hold these weights"),
        ],
    )
    def test_what_was_never_published(self, commit, revision, model, words):
        refuse(words, revision, models=(GATE, model))

    @pytest.mark.parametrize(
        ("asked", "status", "words"),
        [
            ("HEAD", 401, "log|private"),
            ("HEAD", 403, "does not let you"),
            ("HEAD", 404, "error 404"),
            ("HEAD", 429, "error 429"),
            ("HEAD", 500, "error 500"),
            ("GET /large", 429, "too many"),
            ("GET /large", 500, "error 500"),
        ],
    )
    def test_an_error_of_the_hub(self, hub, commit, asked, status, words):
        hub.faults.append(Fault(asked, status=status))
        refuse(words, commit)

    def test_a_connection_that_breaks_once_is_tried_again(self, hub, commit):
        hub.faults.append(Fault("GET /large", cut=100, times=1))
        folder, _ = download(REPO, BOTH, commit)
        assert load_model(folder / "unet-mini")

    def test_a_connection_that_always_breaks(self, hub, commit):
        hub.faults.append(Fault("GET /large", cut=0))
        refuse("connection broke", commit)
        hub.faults.clear()
        assert download(REPO, BOTH, commit)[1] == commit, "nothing broken was kept"


class TestDamage:
    @pytest.mark.parametrize(("file", "junk"), [("model.safetensors", b"junk"), ("config.json", b"{")])
    def test_a_damaged_file_in_the_cache_is_fetched_again(self, commit, file, junk):
        folder, _ = download(REPO, BOTH, commit)
        (folder / "unet-mini" / file).resolve().write_bytes(junk)
        assert load_model(download(REPO, BOTH, commit)[0] / "unet-mini")

    def test_a_damaged_file_without_a_network_is_refused(self, hub, commit):
        folder, _ = download(REPO, BOTH, commit)
        (folder / "gate" / "model.safetensors").resolve().write_bytes(b"junk")
        hub.faults.append(Fault(".*", status=500))
        with pytest.raises(WeightsError, match="altered"):
            Cascade.from_pretrained(REPO, "unet-mini", "cpu", revision=commit)

    def test_a_file_that_was_published_altered_is_refused(self, hub, weights):
        published = files_of(weights)
        published["gate/model.safetensors"] += b"\0"
        hub.store.publish(REPO, published)
        with pytest.raises(WeightsError, match="altered"):
            Cascade.from_pretrained(REPO, "unet-mini", "cpu")

    def test_a_newer_config_is_refused(self, hub, weights):
        published = files_of(weights)
        newer = json.loads(published["gate/config.json"]) | {"format": FORMAT + 1}
        hub.store.publish(REPO, published | {"gate/config.json": json.dumps(newer).encode()})
        refuse("newer code", "main")
