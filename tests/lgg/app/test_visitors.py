"""Visitors do not meet: twenty at once get their own studies, a killed page hands nothing on to the next."""

import zipfile
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.utils import Status

from tests.page_server import start_page
from tests.series_files import archive, slice_files, slices

pytestmark = pytest.mark.slow


def visitor(url, downloads) -> Client:
    """A client that waits for a busy page: twenty visitors share two cores."""
    return Client(url, verbose=False, download_files=str(downloads), httpx_kwargs={"timeout": 240})


def test_twenty_visitors_at_once_get_their_own_studies(page_url, tmp_path):
    def visit(number: int) -> tuple[int, int, int]:
        path = tmp_path / f"visitor-{number}.zip"
        path.write_bytes(archive(slice_files(slices(3 + number % 4, 64, 64 + 4 * number))))
        client = visitor(page_url, tmp_path / str(number))
        said, packed, numbers = client.predict([handle_file(path)], "unet-mini", api_name="/segment_series")
        with zipfile.ZipFile(packed) as files:
            masks = [name for name in files.namelist() if name.startswith("masks/")]
        assert said["slices"] == numbers["slices"] == len(masks)
        return said["slices"], said["width"], said["height"]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(visit, range(20)))
    assert answers == [(3 + number % 4, 64 + 4 * number, 64) for number in range(20)]


def test_after_a_kill_in_the_middle_of_a_series_nothing_of_it_is_reachable(tmp_path):
    scratch = tmp_path / "scratch"
    study = tmp_path / "study-of-another.zip"
    study.write_bytes(archive(slice_files(np.tile(slices(60, 96, 96), (6, 1, 1, 1)))))
    url, process = start_page(scratch)
    try:
        job = visitor(url, tmp_path).submit([handle_file(study)], "unet", api_name="/segment_series")
        while job.status().code != Status.PROCESSING:
            assert not job.done(), "it ended before it could be killed"
        (upload,) = scratch.rglob(study.name)
        address = f"gradio_api/file={upload}"
        with urlopen(url + address) as answer:
            assert answer.read() == study.read_bytes(), "the visitor's own upload, while the page lives"
    finally:
        process.kill()
        process.wait()
    assert upload.exists()

    url, process = start_page(scratch)
    try:
        assert list(scratch.rglob(study.name)) == []
        with pytest.raises(HTTPError):
            urlopen(url + address)
    finally:
        process.kill()
        process.wait()
