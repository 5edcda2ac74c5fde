"""Reads the API server's audit log: who created which Job when, on one clock for all contestants.

`creationTimestamp` has whole seconds only; the audit log has microseconds. It must never ask the API server anything,
so that looking does not change what is seen.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

CREATED = 201
STANDING = frozenset({"leases", "customresourcedefinitions", "namespaces"})
"""What a controller asks for however much or little there is to do."""


@dataclass(slots=True)
class Deeds:
    """What one user did in one namespace, as far as the log was read.

    Attributes:
        jobs: when each of its Jobs had been created: the instant at which the API server answered.
        requests: how many requests of each kind (`create jobs`, `patch maintenancetasks/status`), without watches and
            without what does not depend on the number of runs.
        watching: plural names of what it watches, in whatever namespace.
    """

    jobs: list[datetime] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    watching: set[str] = field(default_factory=set)

    @property
    def status_writes(self) -> int:
        """How many of the requests wrote a status."""
        return sum(number for request, number in self.requests.items() if request.endswith("/status"))


class Audit:
    """Follows the audit log for one user and one namespace."""

    def __init__(self, path: Path, *, user: str, namespace: str) -> None:
        self._path = path
        self._user = user
        self._namespace = namespace
        self._offset = path.stat().st_size if path.exists() else 0
        self._rest = b""
        self.deeds = Deeds()

    def read(self) -> Deeds:
        """Take in what was written since the last call, and return all that is known."""
        if not self._path.exists():
            return self.deeds
        with self._path.open("rb") as log:
            log.seek(self._offset)
            written = log.read()
        self._offset += len(written)
        *lines, self._rest = (self._rest + written).split(b"\n")
        mark = self._user.encode()
        for line in lines:
            if mark in line:
                self._take_in(json.loads(line))
        return self.deeds

    def _take_in(self, event: dict[str, Any]) -> None:
        target = event.get("objectRef") or {}
        resource = "/".join(part for part in (target.get("resource"), target.get("subresource")) if part)
        if event["user"]["username"] != self._user or not resource:
            return
        if event["verb"] == "watch":
            self.deeds.watching.add(resource)
            return
        if target.get("namespace") != self._namespace or resource in STANDING:
            return
        code = event["responseStatus"]["code"]
        self.deeds.requests[f"{event['verb']} {resource}"] += 1
        if (event["verb"], resource, code) == ("create", "jobs", CREATED):
            self.deeds.jobs.append(datetime.fromisoformat(event["stageTimestamp"]))
