"""Mounts under the lab's directory. It must never unmount anything outside of it."""

from __future__ import annotations

import re
from pathlib import Path

from lab.command import run

MOUNTS = Path("/proc/self/mountinfo")


def decode(field: str) -> str:
    r"""Return a path from mountinfo, where blanks and backslashes are octal (`\040`)."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def below(directory: Path, mountinfo: str) -> list[Path]:
    """Return the mount points under `directory`, the newest first, so that each can be unmounted in turn."""
    points = [Path(decode(line.split()[4])) for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if point.is_relative_to(directory)]


def release(directory: Path) -> int:
    """Unmount everything under `directory` and return how many mounts there were."""
    points = below(directory, MOUNTS.read_text())
    for point in points:
        run(["umount", "--lazy", point], doing=f"Unmounting {point}")
    return len(points)
