"""A browser for all tests of this folder."""

from collections.abc import Iterator

import pytest

from browser.chromium import chromium


@pytest.fixture(scope="session")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the DevTools socket of a browser that runs for the session."""
    with chromium(tmp_path_factory.mktemp("profile")) as address:
        yield address
