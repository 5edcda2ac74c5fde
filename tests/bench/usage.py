"""What a process costs, and what others take of the machine meanwhile, as Linux counts it in /proc."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB = 1024
"""In KiB, the unit of /proc/PID/status."""
TICKS = os.sysconf("SC_CLK_TCK")
WORKING = (0, 1, 2, 5, 6, 7)
"""Columns of /proc/stat: user, nice, system, irq, softirq, steal. What another virtual machine takes counts too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of one process: CPU seconds since its start, user and system; resident memory now, in MiB."""

    cpu: float
    memory: float


def peak() -> float:
    """The most resident memory that this process has had since its program began, in MiB.

    What getrusage calls the peak may be that of the parent, from before the program began.
    """
    resident = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(resident[1]) / MIB if resident else 0.0


def usage(pid: int) -> Usage:
    """Read it.

    Raises:
        FileNotFoundError: there is no such process any more.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    resident = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return Usage(cpu=ticks / TICKS, memory=int(resident[1]) / MIB if resident else 0.0)


class Surroundings:
    """Measures from now on what share of the machine's CPU time goes to processes that do not belong to the round."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._began = time.monotonic()
        self._others = self._elsewhere()

    def share(self) -> float:
        """Of all CPU time since the beginning: 0 is a machine of our own; near 1, nothing can be measured."""
        seconds = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        return max(0.0, (self._elsewhere() - self._others) / seconds)

    def _elsewhere(self) -> float:
        columns = Path("/proc/stat").read_text().split(maxsplit=11)[1:11]
        machine = sum(int(columns[column]) for column in WORKING) / TICKS
        # The benchmark itself, with the children that it has waited for.
        ours = sum(os.times()[:4]) + sum(usage(pid).cpu for pid in self._pids)
        return machine - ours
