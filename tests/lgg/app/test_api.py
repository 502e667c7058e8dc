"""The page's API: called as a program would, and the plain values of its answers."""

import json
import re
import shutil
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from gradio.utils import get_function_description
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from skimage.data import astronaut
from torch import nn

from lgg.app import build_page
from lgg.app.api import Api, report
from lgg.app.controls import SENT_SIDE, refusal, sendable
from lgg.app.models import LoadedModels, load_cascades
from lgg.app.service import Service, slice_request
from lgg.cascade import DEFAULT_ARCHITECTURE, Cascade
from lgg.errors import WeightsError
from lgg.examples import SHIPPED
from lgg.models import SEGMENTERS
from lgg.weights import ModelConfig
from lgg.weights.hub import Source
from tests.series_results import result

DOCS = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text()
PHANTOM = SHIPPED / "large-lesion.tif"
#: `make test-all` has twenty of them examine studies, see test_visitors.py.
VISITORS = 8


@pytest.fixture(scope="module")
def client(page_url, tmp_path_factory):
    return Client(page_url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))


def architectures(client: Client) -> list[str]:
    endpoint = client.view_api(return_format="dict")["named_endpoints"]["/segment"]
    return endpoint["parameters"][1]["type"]["enum"]


def test_only_what_is_meant_for_programs_has_a_name_and_all_of_it_is_explained(client):
    listing = client.view_api(return_format="dict")
    assert list(listing["named_endpoints"]) == ["/segment", "/compare", "/segment_series"]
    assert not listing["unnamed_endpoints"]
    assert set(re.findall(r"^\| `(/\w+)` \|", DOCS, re.MULTILINE)) == set(listing["named_endpoints"])
    for endpoint in (Api.segment, Api.compare, Api.segment_series):
        description, arguments, returned = get_function_description(endpoint)
        assert "Research only" in description
        assert all(words for name, words in arguments.items() if name != "self")
        assert returned


@pytest.mark.parametrize("language", ["python", "sh"])
def test_the_docs_lines_run_but_for_the_address_and_the_file(language, page_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PHANTOM, tmp_path / "slice.tif")
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    code = next(block for block in blocks if re.search('7860[/"]', block))
    code = code.replace("http://127.0.0.1:7860", page_url.rstrip("/"))
    if language == "python":
        names = {}
        exec(code, names)
        assert names["report"]["verdict"] == "Glioma likely"
    elif shutil.which("curl"):
        done = subprocess.run(["sh", "-ec", code], capture_output=True, text=True, timeout=120)
        assert "event: complete" in done.stdout, done.stdout + done.stderr
        assert '"verdict": "Glioma likely"' in done.stdout


def test_compare_asks_every_architecture(client):
    answer = client.predict(handle_file(PHANTOM), api_name="/compare")
    names = architectures(client)
    assert len(names) > 1
    assert {name: row["architecture"] for name, row in answer["architectures"].items()} == dict(
        zip(names, names, strict=True)
    )
    assert {row["source"] for row in answer["architectures"].values()} == {PHANTOM.name}
    assert all(row["parameters"] > 1e6 for row in answer["architectures"].values())
    assert 0 <= answer["agreement"] <= 1


def test_a_slice_yields_a_report_and_an_overlay(client):
    said, overlay, mask = client.predict(handle_file(PHANTOM), DEFAULT_ARCHITECTURE, api_name="/segment")
    assert 0 <= said["gate_probability"] <= 1
    assert said["gate_passed"] == (said["gate_probability"] >= said["gate_threshold"])
    assert (said["source"], said["height"], said["width"]) == (PHANTOM.name, 256, 256)
    assert said["area_mm2"] is None, "the file states no spacing"
    assert said["warnings"] == []
    # Which of them depends on what is installed and on the processor.
    assert (said["engine"], said["precision"]) in {
        ("torch", "fp32"),
        ("openvino", "fp32"),
        ("openvino", "bf16"),
    }
    with Image.open(overlay) as picture:
        assert (picture.format, picture.size) == ("PNG", (512, 512))
        coloured = np.ptp(np.asarray(picture.convert("RGB")).astype(int), axis=2).any()
    assert coloured == (said["area_pixels"] > 0)
    with Image.open(mask) as picture:
        assert (picture.format, picture.size) == ("PNG", (256, 256))
        assert np.count_nonzero(np.asarray(picture.convert("L"))) == said["area_pixels"]


def test_thresholds_and_gate_mode_decide(client):
    def ask(**decision):
        said, _, _ = client.predict(
            handle_file(PHANTOM), DEFAULT_ARCHITECTURE, api_name="/segment", **decision
        )
        return said

    own, shut, trusted = ask(), ask(gate_threshold=1), ask(gate_threshold=1, gate_mode="none")
    assert own["area_pixels"] > ask(mask_threshold=0.999)["area_pixels"]
    assert (shut["area_pixels"], shut["gate_threshold"], shut["gate_mode"]) == (0, 1, "hard")
    assert trusted["area_pixels"] == own["area_pixels"]


def test_a_series_yields_a_report_an_archive_and_statistics(client):
    study = [handle_file(SHIPPED / "study" / f"{name}.nii.gz") for name in ("FLAIR", "T1", "T1-post")]
    said, archive, numbers = client.predict(study, DEFAULT_ARCHITECTURE, api_name="/segment_series")
    assert zipfile.is_zipfile(archive)
    assert numbers["volume_ml"] == pytest.approx(said["volume_ml"], abs=1e-3)
    assert sum(component["voxels"] for component in numbers["components"]) == said["voxels"] > 0


def test_junk_is_refused_in_words_without_a_path_and_a_photo_comes_with_warnings(client, tmp_path):
    for name in ("../gate", *(set(SEGMENTERS) - set(architectures(client)))):
        with pytest.raises(AppError):
            client.predict(handle_file(PHANTOM), name, api_name="/segment")
    junk = tmp_path / "holiday.tif"
    junk.write_bytes(b"not a picture at all " * 20)
    with pytest.raises(AppError) as caught:
        client.predict(handle_file(junk), DEFAULT_ARCHITECTURE, api_name="/segment")
    assert "holiday.tif: this is not an image that can be read" in str(caught.value)
    assert "/" not in str(caught.value)
    photo = tmp_path / "portrait.png"
    Image.fromarray(astronaut()).save(photo)
    said, _, _ = client.predict(handle_file(photo), DEFAULT_ARCHITECTURE, api_name="/segment")
    assert said["warnings"]


def test_visitors_at_once_get_their_own_answers(page_url, tmp_path):
    def visit(number: int) -> tuple[str, int]:
        width = 96 + 8 * number
        path = tmp_path / f"visitor-{number}.png"
        noise = np.random.default_rng(number).integers(0, 255, (96, width), np.uint8)
        Image.fromarray(noise).save(path)
        client = Client(page_url, verbose=False, download_files=str(tmp_path / str(number)))
        said, overlay, _ = client.predict(handle_file(path), DEFAULT_ARCHITECTURE, api_name="/segment")
        with Image.open(overlay) as picture:
            assert picture.size[0] % width == 0
        return said["source"], said["width"]

    with ThreadPoolExecutor(VISITORS) as pool:
        answers = list(pool.map(visit, range(VISITORS)))
    assert answers == [(f"visitor-{number}.png", 96 + 8 * number) for number in range(VISITORS)]


def test_a_message_cannot_smuggle_markup():
    assert "<img" not in refusal("Cannot read this file", "<img src=x onerror=alert(1)>.tif").message


@pytest.mark.parametrize("space", ["", "user/lgg-demo"])
def test_without_weights_the_page_comes_up_and_says_so_and_a_space_offers_a_copy(
    tmp_path, monkeypatch, space
):
    monkeypatch.setenv("SPACE_ID", space)
    cascades, reasons = load_cascades(tmp_path)
    assert not cascades
    assert set(reasons) == set(SEGMENTERS)
    texts = str(build_page(LoadedModels(cascades, reasons, Source(tmp_path, "here"))).config["components"])
    assert "No model to run" in texts
    assert "gate is missing" in texts
    assert str(tmp_path) not in texts
    assert ("Duplicate this Space" in texts) == bool(space)
    with pytest.raises(WeightsError):
        Service(cascades).result(slice_request(str(PHANTOM), None))


def test_a_large_picture_is_sent_small():
    picture = np.zeros((1024, 4096, 3), np.uint8)
    assert sendable(picture).size == (SENT_SIDE, SENT_SIDE // 4)


def test_a_series_plain_values_agree_with_the_result_and_what_is_unknown_is_none():
    cascade = Cascade(*((nn.Identity(), ModelConfig(name, 64)) for name in ("gate", "unet-mini")), "cpu")

    def values_of(found):  # as it arrives
        return json.loads(json.dumps(report(found, cascade, lone=False)))

    found = result([0.1, 0.9, 0.95, 0.2], [0, 4, 8, 0], (0.5, 0.75), 5.0)
    values = values_of(found)
    assert (values["slices"], values["slices_with_tumour"], values["largest_slice"]) == (4, [2, 3], 3)
    assert values["volume_ml"] == pytest.approx(found.volume_ml)
    assert [row["area_pixels"] for row in values["per_slice"]] == list(found.areas)
    assert [row["gate_passed"] for row in values["per_slice"]] == [False, True, True, False]
    assert values["spacing_mm"] == [0.5, 0.75]
    assert "not a medical device" in values["notice"]
    unknown = values_of(result([0.1, 0.3, 0.2], [0, 0, 0]))
    names = ("volume_ml", "largest_slice", "spacing_mm", "slice_distance_mm")
    assert {unknown[name] for name in names} == {None}
    assert unknown["milliseconds"] == pytest.approx(18)
