"""The control group that holds everything the kubelet starts, and nothing else.

It is what tells Pods' processes from all others, so `down` can end them to the last one, and only them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from lab.process import end, started
from lab.waiting import until

GROUP = "upkeep-lab"
HIERARCHIES = Path("/sys/fs/cgroup")


def roots(hierarchies: Path = HIERARCHIES) -> list[Path]:
    """Return every hierarchy of this machine: one for cgroup v2, one a controller for v1 or a mix of both."""
    if (hierarchies / "cgroup.controllers").exists():
        return [hierarchies]
    return sorted({path.resolve() for path in hierarchies.iterdir() if (path / "cgroup.procs").exists()})


def create() -> None:
    """Make the group in every hierarchy, able to limit whatever the machine can limit."""
    for root in roots():
        group = root / GROUP
        if (root / "cgroup.controllers").exists():
            for controller in (root / "cgroup.controllers").read_text().split():
                (root / "cgroup.subtree_control").write_text(f"+{controller}")
        group.mkdir(exist_ok=True)
        # A cpuset of v1 takes no process before it names its CPUs.
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (group / name).exists() and not (group / name).read_text().strip():
                (group / name).write_text((root / name).read_text())


def members() -> set[int]:
    """Return the pids of all processes in the group or below it."""
    found: set[int] = set()
    for root in roots():
        for directory, _, _ in os.walk(root / GROUP):
            # Groups vanish while they are read, as the processes in them end.
            with suppress(OSError):
                found.update(int(word) for word in Path(directory, "cgroup.procs").read_text().split())
    return found


def kill() -> int:
    """End every process in the group at once and return how many there were."""
    ended: set[int] = set()
    while pids := members() - ended:
        for pid in pids:
            ended.add(pid)
            if (ticks := started(pid)) is not None:
                end(pid, ticks)
    return len(ended)


def remove() -> None:
    """Remove the group. The kernel needs a moment after the last process."""
    until(_removed, doing=f"Removing the control group {GROUP}", seconds=10)


def _removed() -> bool:
    for root in roots():
        group = root / GROUP
        if not group.exists():
            continue
        try:
            for path in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                path.rmdir()
            group.rmdir()
        except OSError:
            return False
    return True
