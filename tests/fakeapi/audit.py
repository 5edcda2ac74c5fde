"""The record of every request.

It exists because invariants ("at most one Job an occurrence", "no writes while idle") are about what a client
asked for, whatever came of it. Direct test access and the simulated world leave no entries.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fakeapi.calls import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request.

    Attributes:
        n: its number, from 1.
        time: when it arrived, by the server's clock.
        verb: as Kubernetes names it.
        resource: plural of the kind; the path where the request is for no kind.
        subresource: for example `status`, or empty.
        namespace: empty for cluster-scoped kinds and all namespaces.
        name: empty for collections; for generated names the one that was generated.
        manager: field manager.
        code: HTTP status that was decided on, 0 where a fault cut the connection before anything was.
        answered: whether the answer was sent, as far as the server knows.
        user_agent: the client's own name.
        body: decoded body of a write.
    """

    n: int
    time: datetime
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    manager: str
    code: int
    answered: bool
    user_agent: str
    body: Any

    @property
    def committed(self) -> bool:
        """Whether the request did what it asked for."""
        return 200 <= self.code < 300


class Audit:
    """All requests so far, oldest first."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._writes: list[Entry] = []

    @property
    def writes(self) -> list[Entry]:
        """The requests that change objects, those that were refused included."""
        return list(self._writes)

    def record(self, call: Call, *, time: datetime, code: int, answered: bool, name: str = "") -> None:
        """Append a request.

        Args:
            call: what it meant.
            time: when it arrived.
            code: HTTP status, 0 for none.
            answered: whether the client got it.
            name: the generated name, where the call had none.
        """
        entry = Entry(
            n=len(self.entries) + 1,
            time=time,
            verb=call.verb,
            resource=call.resource.plural if call.resource else call.path,
            subresource=call.subresource,
            namespace=call.namespace,
            name=call.name or name,
            manager=call.manager,
            code=code,
            answered=answered,
            user_agent=call.user_agent,
            body=call.body,
        )
        self.entries.append(entry)
        if call.is_write:
            self._writes.append(entry)
