"""What a package of PostgreSQL lists as links becomes links, and none leads out of its directory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lab import servers
from lab.failure import LabError

if TYPE_CHECKING:
    from pathlib import Path


def package(directory: Path, *, source: str, target: str) -> Path:
    (directory / "native" / "lib").mkdir(parents=True)
    links = [{"source": source, "target": target}]
    (directory / "native" / "pg-symlinks.json").write_text(json.dumps(links))
    return directory


def test_a_listed_link_is_made(tmp_path: Path) -> None:
    unpacked = package(tmp_path, source="native/lib/libpq.so.5.18", target="native/lib/libpq.so.5")
    (unpacked / "native" / "lib" / "libpq.so.5.18").write_text("library")
    servers.link(unpacked)
    assert (unpacked / "native" / "lib" / "libpq.so.5").read_text() == "library"


@pytest.mark.parametrize(
    ("source", "target"),
    [("../../etc/passwd", "native/lib/x"), ("native/lib/x", "../x"), ("/etc/passwd", "/etc/x"), ("../x", "../y")],
)
def test_a_link_that_leads_out_is_refused(tmp_path: Path, source: str, target: str) -> None:
    unpacked = package(tmp_path, source=source, target=target)
    with pytest.raises(LabError, match="out of its directory"):
        servers.link(unpacked)
