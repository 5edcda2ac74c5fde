"""What the tests of the operator as a process share: a nursery, and a stage of their own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from replicas.replica import Nursery
from replicas.stage import Stage, opened


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
async def stage(nursery: Nursery, tmp_path: Path) -> AsyncIterator[Stage]:
    async with opened(nursery, tmp_path) as stage:
        yield stage
