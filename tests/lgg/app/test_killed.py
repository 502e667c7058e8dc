"""A page that was killed hands nothing of its visitors on to the next."""

from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.utils import Status

from tests.page_server import start_page
from tests.series_files import archive, slice_files, slices

pytestmark = pytest.mark.slow


def test_after_a_kill_in_the_middle_of_a_series_nothing_of_it_is_reachable(tmp_path):
    scratch = tmp_path / "scratch"
    study = tmp_path / "study-of-another.zip"
    study.write_bytes(archive(slice_files(np.tile(slices(60, 96, 96), (6, 1, 1, 1)))))
    url, process = start_page(scratch)
    try:
        client = Client(url, verbose=False, download_files=str(tmp_path), httpx_kwargs={"timeout": 240})
        job = client.submit([handle_file(study)], "unet", api_name="/segment_series")
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
