"""Which weights run: the argument, the environment, the repository; and what the page does when they fail."""

import json

import numpy as np
import pytest

from lgg.app import build_page
from lgg.app.api import report
from lgg.app.models import load_models
from lgg.app.render import html
from lgg.cascade import Cascade
from lgg.errors import WeightsError
from lgg.models import GATE
from lgg.types import Series, SeriesResult, Slice
from lgg.weights import hub as source
from lgg.weights.hub import Address, find_address, load_pin
from tests.hub_server import Fault
from tests.tiny_weights import files_of, use_tiny_networks, write_weights

REPO = "user/lgg"


@pytest.fixture(autouse=True)
def own_weights(tmp_path, monkeypatch):
    """Tiny weights where the repository's own would be; nothing in the environment, nothing pinned."""
    use_tiny_networks(monkeypatch)
    folder = write_weights(tmp_path / "own" / "weights", (GATE, "unet-mini"), date="2026-01-01")
    for module in ("weights.hub", "app.models"):
        monkeypatch.setattr(f"lgg.{module}.REPOSITORY_WEIGHTS", folder)
    monkeypatch.delenv("LGG_WEIGHTS", raising=False)
    monkeypatch.setattr(source, "PINNED", tmp_path / "pinned.json")
    (tmp_path / "pinned.json").write_text("{}")
    return folder


@pytest.fixture
def commit(hub, tmp_path):
    """The commit under which a gate and two segmenters are published."""
    return hub.store.publish(REPO, files_of(write_weights(tmp_path / "published")))


def pin(revision, models=(GATE, "unet-mini", "unet")):
    stored = {"repo": REPO, "revision": revision, "version": "v1", "models": models}
    source.PINNED.write_text(json.dumps(stored))


class TestAddress:
    def test_nothing_means_the_repositorys_weights(self, own_weights):
        assert find_address() == Address(folder=own_weights)

    def test_the_argument_outweighs_the_environment_and_that_the_repository(self, monkeypatch):
        monkeypatch.setenv("LGG_WEIGHTS", "user/other@v2")
        assert find_address() == Address(repo="user/other", revision="v2")
        assert find_address(REPO).repo == REPO

    def test_a_folder_that_looks_like_a_repository_is_a_folder(self, tmp_path, monkeypatch):
        (tmp_path / REPO).mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        assert find_address(REPO).folder is not None

    @pytest.mark.parametrize("path", ["./weights", "../weights", "a/b/c", "weights"])
    def test_a_path_is_never_taken_for_a_repository(self, path):
        assert find_address(path).folder is not None

    @pytest.mark.parametrize(
        ("weights", "revision", "expected"),
        [
            (REPO, None, "a" * 40),
            ("user/other", None, "main"),
            (REPO + "@v1", None, "v1"),
            (REPO + "@v1", "v2", "v2"),
        ],
        ids=["pinned", "another repository", "after the @", "argument"],
    )
    def test_what_is_published_comes_at_its_pin_unless_a_revision_is_named(self, weights, revision, expected):
        pin("a" * 40)
        assert find_address(weights, revision).revision == expected

    def test_a_revision_of_a_folder_is_refused(self, tmp_path):
        with pytest.raises(WeightsError, match="revision belongs to a repository"):
            find_address(tmp_path, revision="v1")


class TestPin:
    def test_what_is_in_the_repository_is_a_commit_or_nothing(self, monkeypatch):
        monkeypatch.undo()
        assert load_pin() is None or len(load_pin().revision) == 40

    @pytest.mark.parametrize("revision", ["main", "v1", "abc123", "A" * 40])
    def test_only_a_commit_can_be_pinned(self, revision):
        pin(revision)
        with pytest.raises(WeightsError, match="pins no published"):
            load_pin()

    @pytest.mark.parametrize("text", ["", "[1]", "null?", '{"repo": "user/lgg"}', '{"models": 3}'])
    def test_junk_is_refused(self, text):
        source.PINNED.write_text(text)
        with pytest.raises(WeightsError, match="pins no published"):
            load_pin()


def test_the_api_says_which_weights_answered(commit):
    cascade = Cascade.from_pretrained(REPO, "unet-mini", "cpu")
    slice_ = Slice(np.random.default_rng(0).random((40, 40, 3), np.float32), "slice.tif")
    said = report(SeriesResult(Series.from_slice(slice_), (cascade.predict(slice_),)), cascade, lone=True)
    told = [said[name] for name in ("weights", "weights_revision", "weights_date")]
    assert told == [REPO, commit, "2026-11-22"]
    own = Cascade.from_pretrained(None, "unet-mini", "cpu").source
    assert (own.name, own.revision) == ("the weights of this project", "")


class TestLoadedModels:
    def test_all_that_is_published_is_offered(self, commit):
        models = load_models(REPO)
        assert list(models.cascades) == ["unet", "unet-mini"]
        assert not models.warning
        said = html("footer", models=models)
        assert REPO in said
        assert commit[:7] in said
        assert "2026-11-22" in said

    def test_a_pinned_and_cached_repository_opens_without_a_request(self, hub, commit):
        pin(commit)
        load_models(REPO)
        hub.seen.clear()
        assert list(load_models(REPO).cascades) == ["unet", "unet-mini"]
        assert hub.seen == []

    @pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
    def test_an_error_of_the_hub_falls_back_to_the_own_weights(self, hub, commit, status):
        hub.faults.append(Fault(".*", status=status))
        models = load_models(REPO)
        assert list(models.cascades) == ["unet-mini"]
        banner = html("banner", models=models)
        assert "The Hub" in banner
        assert "the page runs the weights of this project" in banner
        assert "2026-01-01" in html("footer", models=models)

    @pytest.mark.parametrize("damaged", [GATE, "unet"])
    def test_a_damaged_gate_falls_back_and_a_damaged_segmenter_costs_only_itself(
        self, hub, tmp_path, damaged
    ):
        files = files_of(write_weights(tmp_path / "published"))
        hub.store.publish(REPO, {**files, f"{damaged}/model.safetensors": b"junk"})
        models = load_models(REPO)
        assert list(models.cascades) == ["unet-mini"]
        assert "altered" in (models.warning if damaged == GATE else models.reasons["unet"])
        assert bool(models.warning) == (damaged == GATE)

    def test_a_pinned_segmenter_that_does_not_come_is_missed_in_the_banner(self, hub, commit):
        pin(commit)
        hub.faults.append(Fault("/unet/", status=500))
        models = load_models(REPO)
        assert list(models.cascades) == ["unet-mini"]
        banner = html("banner", models=models)
        assert "U-Net: The Hub answered with error 500" in banner
        assert f"the page runs {REPO} at revision {commit[:7]}" in banner

    def test_without_any_of_the_pinned_segmenters_the_own_weights_run(self, hub, commit):
        pin(commit, (GATE, "unet-mini"))
        hub.faults.append(Fault("/unet-mini/", status=500))
        models = load_models(REPO)
        assert models.source.name == "the weights of this project"
        assert "error 500" in models.warning

    def test_a_segmenter_that_was_never_pinned_is_not_missed(self, commit):
        pin(commit, (GATE, "unet-mini"))
        assert not load_models(REPO).warning

    def test_without_any_weights_nothing_is_offered_and_says_why(self, own_weights):
        (own_weights / GATE / "config.json").unlink()
        models = load_models()
        assert not models.cascades
        assert "gate is missing" in models.reasons["unet-mini"]
        assert "origin" not in html("footer", models=models)


def test_the_page_shows_banner_and_origin(commit, hub):
    hub.faults.append(Fault(".*", status=500))
    page = build_page(load_models(REPO))
    texts = str(page.config["components"])
    assert "Other weights than intended" in texts
    assert "Weights: the weights of this project, trained until 2026-01-01" in texts
