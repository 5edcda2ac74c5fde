from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.home import Home

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A lab of its own, with no cluster."""
    return Home(root=tmp_path / "upkeep")
