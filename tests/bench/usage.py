"""What a process costs, as Linux counts it in /proc."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

MIB = 1024
"""In KiB, the unit of /proc/PID/status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of one process: CPU seconds since its start, user and system; resident memory now, in MiB."""

    cpu: float
    memory: float


def usage(pid: int) -> Usage:
    """Read it.

    Raises:
        FileNotFoundError: there is no such process any more.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    resident = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return Usage(cpu=ticks / os.sysconf("SC_CLK_TCK"), memory=int(resident[1]) / MIB if resident else 0.0)
