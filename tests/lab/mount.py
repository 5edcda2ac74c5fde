"""Mounts under the lab's directory. It must never unmount anything outside of it."""

from __future__ import annotations

from pathlib import Path

from lab.command import run

MOUNTS = Path("/proc/self/mountinfo")


def decode(field: str) -> str:
    r"""Return a path from mountinfo, where blanks and backslashes are octal (`\040`)."""
    return field.encode("latin-1", "backslashreplace").decode("unicode_escape").encode("latin-1").decode()


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
