"""What the page's tests share: one running page and one browser for the whole session."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running page."""
    # Imported here: most tests need neither a page nor a browser.
    from tests.page_server import serve_page, weights_for_tests

    scratch = tmp_path_factory.mktemp("page")
    with serve_page(weights_for_tests(scratch / "weights"), scratch) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """A headless Chromium."""
    from tests.page_server import chromium

    with chromium() as one:
        yield one
