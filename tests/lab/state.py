"""What `up` decided and `down` must undo, kept on disk between commands.

It is written before the first change to the machine and removed after the last one is undone, so that an interrupted
`up` or `down` can always be finished by `down`.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

from lab.process import BOOT_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.home import Home
    from lab.report import Report

Kind = Literal["home-built", "kind"]


@dataclass(frozen=True, slots=True)
class State:
    """One cluster of the lab's own."""

    kind: Kind
    context: str
    ports: dict[str, int]
    settings: dict[str, str] = field(default_factory=dict)
    """Kernel settings as they were before."""
    ingress: bool = False
    """Whether the cluster's Ingresses are served."""
    boot: str = ""
    """The boot in which all this happened: a restart of the machine undoes most of it."""


def this_boot() -> str:
    """Return an identifier that changes with every boot."""
    return BOOT_ID.read_text().strip()


def load(home: Home) -> State | None:
    """Return what is recorded; None if the lab has no cluster."""
    try:
        return State(**json.loads(home.state.read_text()))
    except FileNotFoundError:
        return None


def save(home: Home, state: State) -> None:
    """Record `state`, at once or not at all."""
    home.cluster.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = home.state.with_suffix(".tmp")
    draft.write_text(json.dumps(asdict(state), indent=1))
    draft.replace(home.state)


@contextmanager
def alone(home: Home, report: Report) -> Iterator[None]:
    """Hold the lab for one command: two that change the cluster at the same time would undo each other's work."""
    home.root.mkdir(parents=True, exist_ok=True)
    with (home.root / "lab.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            report.say(f"Another lab command is at work (pid {lock.read().strip() or 'unknown'}); waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
