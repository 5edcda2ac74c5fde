"""Fixtures of the fake API server; a conftest takes them in by importing them."""

from collections.abc import AsyncIterator

import pytest

from fakeapi.server import FakeCluster


@pytest.fixture
async def fake_cluster() -> AsyncIterator[FakeCluster]:
    """Give a fresh fake API server, gone after the test."""
    async with FakeCluster() as cluster:
        yield cluster
