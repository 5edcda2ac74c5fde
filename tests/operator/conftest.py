"""What the tests of the operator as a process share: a nursery, and a stage of their own."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
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


@pytest.fixture
def measured(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], None]]:
    """Say what was measured; figures are shown, not judged."""
    lines: list[str] = []
    yield lines.append
    with capsys.disabled():
        for line in lines:
            sys.stdout.write(f"\n    {line} ")
