"""Processes that outlive the command that started them, and how to find exactly these again.

A pid alone may belong to somebody else by now, so a record also holds the start time and the boot. This module must
never signal a process whose record does not match.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.command import tail
from lab.failure import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab.home import Home

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LOG_BYTES_SHOWN = 4_000
EXIT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Record:
    """One started process: enough to know it again, also after a reboot."""

    name: str
    pid: int
    started: int
    """Clock ticks since boot (field 22 of proc_pid_stat(5))."""
    boot: str
    argv: tuple[str, ...]


def parse_stat(text: str) -> tuple[str, int]:
    """Return state and start time from a line of /proc/PID/stat; the command's name may hold spaces and brackets."""
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def started(pid: int) -> int | None:
    """Return the start time of a live process; None if there is none or it is a zombie."""
    try:
        state, ticks = parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else ticks


def alive(record: Record) -> bool:
    """Whether the very process of the record still runs."""
    return record.boot == BOOT_ID.read_text().strip() and started(record.pid) == record.started


def recorded(home: Home, name: str) -> Record | None:
    """Return the record of `name`, whether the process lives or not."""
    try:
        fields = json.loads((home.processes / f"{name}.json").read_text())
    except FileNotFoundError:
        return None
    return Record(**{**fields, "argv": tuple(fields["argv"])})


def records(home: Home) -> list[Record]:
    """Return all records, oldest start first."""
    found = [recorded(home, path.stem) for path in home.processes.glob("*.json")]
    return sorted((record for record in found if record), key=lambda record: record.started)


def running(home: Home, name: str) -> bool:
    """Whether `name` was started and still runs."""
    record = recorded(home, name)
    return record is not None and alive(record)


def log_path(home: Home, name: str) -> Path:
    """Where `name` writes to."""
    return home.logs / f"{name}.log"


def last_words(home: Home, name: str) -> str:
    """Return the end of a component's log, for an error message."""
    try:
        text = log_path(home, name).read_bytes()[-LOG_BYTES_SHOWN:].decode(errors="replace")
    except FileNotFoundError:
        return "    (no log)"
    return tail(text, lines=12)


def launch(home: Home, name: str, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> Record:
    """Start `argv` in a session of its own unless `name` runs already; return its record.

    Raises:
        LabError: the program cannot be started.
    """
    known = recorded(home, name)
    if known and alive(known):
        return known
    home.logs.mkdir(parents=True, exist_ok=True)
    home.processes.mkdir(parents=True, exist_ok=True)
    words = tuple(str(word) for word in argv)
    with log_path(home, name).open("ab") as log:
        try:
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=home.cluster,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        except OSError as error:
            message = f"Starting {name}: {words[0]} cannot be started: {error.strerror}."
            raise LabError(message) from error
    ticks = started(child.pid)
    if ticks is None:
        message = f"Starting {name}: it ended at once. The end of {log_path(home, name)}:\n{last_words(home, name)}"
        raise LabError(message)
    # Whoever started it need not wait for it: the record, not the parent, is what finds it again.
    child.returncode = 0
    record = Record(name=name, pid=child.pid, started=ticks, boot=BOOT_ID.read_text().strip(), argv=words)
    path = home.processes / f"{name}.json"
    path.with_suffix(".tmp").write_text(json.dumps(asdict(record), indent=1))
    path.with_suffix(".tmp").replace(path)
    return record


def stop(home: Home, name: str) -> None:
    """End `name`, if it runs, and forget it."""
    record = recorded(home, name)
    if record and alive(record):
        end(record.pid, record.started)
    (home.processes / f"{name}.json").unlink(missing_ok=True)


def end(pid: int, ticks: int) -> None:
    """End one process, known by pid and start time, and return when it is gone.

    It is killed, not asked: what the lab runs has nothing to save, and a polite API server takes seconds. The pidfd is
    opened before the start time is compared, so that what is signalled is what was compared.

    Raises:
        LabError: it cannot be ended.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if started(pid) != ticks:
            return
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(EXIT_SECONDS * 1000):
            message = f"Stopping process {pid}: it survives SIGKILL, so it hangs in the kernel. A reboot will end it."
            raise LabError(message)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
