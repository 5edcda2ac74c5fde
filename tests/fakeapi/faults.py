"""What goes wrong, when and how often: a small engine of rules, the same on every run.

It exists because a controller is only as good as what it does when killed between a commit and its answer. Rules
count the requests that match them; nothing here is left to chance or to time. It must never change what is stored.

    cluster.faults.on("create", "jobs", nth=2).kill_after(lambda: os.kill(pid, signal.SIGKILL))
    cluster.faults.on(WRITES, manager="upkeep", times=3).answer(429, retry_after=1)
    stale = cluster.faults.on_watch("jobs").hold()
    ...
    stale.release()
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from fakeapi.calls import Call
from fakeapi.resources import Catalogue, ResourceType

Callback = Callable[[], Awaitable[None] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which requests a rule is about; what is None is not looked at."""

    verbs: frozenset[str] | None = None
    resource: ResourceType | None = None
    subresource: str | None = None
    namespace: str | None = None
    name: str | None = None
    manager: str | None = None
    user_agent: str | None = None
    excluded: frozenset[ResourceType] = frozenset()

    def matches(self, call: Call) -> bool:
        """Return whether a request is meant."""
        return (
            (self.verbs is None or call.verb in self.verbs)
            and (self.resource is None or call.resource == self.resource)
            and (self.subresource is None or call.subresource == self.subresource)
            and (self.namespace is None or call.namespace == self.namespace)
            and (self.name is None or call.name == self.name)
            and (self.manager is None or call.manager == self.manager)
            and (self.user_agent is None or call.user_agent.startswith(self.user_agent))
            and call.resource not in self.excluded
        )


@dataclass(frozen=True, slots=True)
class Kill:
    """Call back (for example to kill the client) and cut the connection."""

    callback: Callback
    after_commit: bool


@dataclass(frozen=True, slots=True)
class Drop:
    """Cut the connection without an answer."""

    after_commit: bool


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait, in seconds."""

    seconds: float
    after_commit: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with an error instead of the truth.

    Attributes:
        code: HTTP status.
        reason: of the Status object, empty for the one that the real server gives with this code.
        message: of the Status object, empty likewise.
        retry_after: seconds in the Retry-After header, None for none.
        after_commit: commit all the same, as a server does whose database answers too late.
    """

    code: int
    reason: str
    message: str
    retry_after: int | None
    after_commit: bool


Effect = Kill | Drop | Delay | Answer


@dataclass(eq=False)
class Counter:
    """How often something has to match, and how often it may strike.

    Attributes:
        nth: first match that counts, from 1.
        times: how often it strikes, None for always.
        seen: matches so far.
        fired: strikes so far.
        struck: set at the first strike, for tests to wait for.
    """

    nth: int = 1
    times: int | None = None
    seen: int = 0
    fired: int = 0
    struck: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def armed(self) -> bool:
        """Whether the next match is struck."""
        return self.seen + 1 >= self.nth and (self.times is None or self.fired < self.times)

    def strike(self) -> bool:
        """Count a match and return whether it is struck."""
        due = self.armed
        self.seen += 1
        if due:
            self.fired += 1
            self.struck.set()
        return due


@dataclass(eq=False)
class Rule(Counter):
    """A fault of requests."""

    target: Target = field(default_factory=Target)
    effect: Effect = field(default_factory=lambda: Drop(after_commit=False))
    _rules: "list[Rule]" = field(default_factory=list, repr=False)

    def remove(self) -> None:
        """End the fault."""
        self._rules.remove(self)


class Trigger:
    """When a fault strikes; its methods say what happens then and return the rule."""

    def __init__(self, rules: list[Rule], target: Target, *, nth: int, times: int | None) -> None:
        self._rules = rules
        self._target = target
        self._nth = nth
        self._times = times

    def kill_before(self, callback: Callback) -> Rule:
        """Call back before the commit, then cut the connection: nothing was written."""
        return self._rule(Kill(callback, after_commit=False))

    def kill_after(self, callback: Callback) -> Rule:
        """Call back after the commit, then cut the connection: it was written and nobody knows."""
        return self._rule(Kill(callback, after_commit=True))

    def drop_before(self) -> Rule:
        """Cut the connection before the commit."""
        return self._rule(Drop(after_commit=False))

    def drop_after(self) -> Rule:
        """Cut the connection after the commit."""
        return self._rule(Drop(after_commit=True))

    def delay(self, seconds: float, *, after_commit: bool = False) -> Rule:
        """Wait before the commit, or after it and before the answer."""
        return self._rule(Delay(seconds, after_commit))

    def answer(
        self,
        code: int,
        *,
        reason: str = "",
        message: str = "",
        retry_after: int | None = None,
        after_commit: bool = False,
    ) -> Rule:
        """Answer with an error; see `Answer`."""
        return self._rule(Answer(code, reason, message, retry_after, after_commit))

    def _rule(self, effect: Effect) -> Rule:
        rule = Rule(nth=self._nth, times=self._times, target=self._target, effect=effect, _rules=self._rules)
        self._rules.append(rule)
        return rule


class Stream(Protocol):
    """What faults need of an open watch."""

    muted: bool

    def deliver(self, line: bytes) -> None:
        """Queue an event for the client."""


@dataclass(eq=False)
class WatchRule(Counter):
    """A fault of watch events.

    Attributes:
        kind: what happens to an event that is struck.
    """

    resource: ResourceType | None = None
    user_agent: str | None = None
    kind: Literal["silence", "lose", "duplicate", "hold"] = "silence"
    _rules: "list[WatchRule]" = field(default_factory=list, repr=False)
    _held: list[tuple[Stream, bytes]] = field(default_factory=list, repr=False)

    def matches(self, resource: ResourceType, user_agent: str) -> bool:
        """Return whether a watch is meant."""
        return self.resource in {None, resource} and user_agent.startswith(self.user_agent or "")

    def hold(self, stream: Stream, line: bytes) -> None:
        """Keep an event back until `release`."""
        self._held.append((stream, line))

    def remove(self) -> None:
        """End the fault; watches that fell silent stay silent, what is held is never delivered."""
        self._rules.remove(self)

    def release(self) -> None:
        """End the fault and deliver, in order, what was held."""
        self.remove()
        for stream, line in self._held:
            stream.deliver(line)
        self._held.clear()


class WatchTrigger:
    """Which watch events a fault strikes; its methods say what happens to them and return the rule."""

    def __init__(self, rules: list[WatchRule], make: Callable[[], WatchRule]) -> None:
        self._rules = rules
        self._make = make

    def silence(self) -> WatchRule:
        """Let the stream stay open and say nothing any more, bookmarks included."""
        return self._rule("silence")

    def lose(self) -> WatchRule:
        """Leave the event out."""
        return self._rule("lose")

    def duplicate(self) -> WatchRule:
        """Send the event twice."""
        return self._rule("duplicate")

    def hold(self) -> WatchRule:
        """Keep events and bookmarks back until `release`: a stale watch."""
        return self._rule("hold")

    def _rule(self, kind: Literal["silence", "lose", "duplicate", "hold"]) -> WatchRule:
        rule = self._make()
        rule.kind = kind
        self._rules.append(rule)
        return rule


class Faults:
    """The faults of one server.

    Args:
        catalogue: the kinds that rules can name.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._rules: list[Rule] = []
        self._watch_rules: list[WatchRule] = []

    def on(
        self,
        verb: str | Collection[str] | None = None,
        resource: str | ResourceType | None = None,
        *,
        subresource: str | None = None,
        namespace: str | None = None,
        name: str | None = None,
        manager: str | None = None,
        user_agent: str | None = None,
        without: Collection[str] = (),
        nth: int | None = None,
        times: int | None = None,
    ) -> Trigger:
        """Say which requests a fault strikes.

        Args:
            verb: one verb, several (`WRITES`), or None for all.
            resource: kind or plural, None for all.
            subresource: `status`, empty for the object itself, None for both.
            namespace: only in this namespace.
            name: only for this object.
            manager: only by this field manager.
            user_agent: only by clients whose user agent starts so.
            without: kinds or plurals that are left alone, `("leases",)` for instance.
            nth: only from the nth match on, counted from 1 since now; that one alone unless `times` says more.
            times: how often, None for always.
        """
        target = Target(
            verbs=None if verb is None else frozenset({verb} if isinstance(verb, str) else verb),
            resource=None if resource is None else self._catalogue.named(resource),
            subresource=subresource,
            namespace=namespace,
            name=name,
            manager=manager,
            user_agent=user_agent,
            excluded=frozenset(self._catalogue.named(name) for name in without),
        )
        return Trigger(self._rules, target, nth=nth or 1, times=_times(nth, times))

    def on_watch(
        self,
        resource: str | ResourceType | None = None,
        *,
        user_agent: str | None = None,
        nth: int | None = None,
        times: int | None = None,
    ) -> WatchTrigger:
        """Say which watch events a fault strikes.

        Args:
            resource: kind or plural, None for all.
            user_agent: only watches of clients whose user agent starts so.
            nth: only from the nth event on, counted from 1 since now; that one alone unless `times` says more.
            times: how many events, None for all.
        """
        kind = None if resource is None else self._catalogue.named(resource)
        return WatchTrigger(
            self._watch_rules,
            lambda: WatchRule(
                nth=nth or 1,
                times=_times(nth, times),
                resource=kind,
                user_agent=user_agent,
                _rules=self._watch_rules,
            ),
        )

    def clear(self) -> None:
        """End all faults; what is held is never delivered."""
        self._rules.clear()
        self._watch_rules.clear()

    def due(self, call: Call) -> list[Effect]:
        """Count a request and return what strikes it, in the order of the rules."""
        return [rule.effect for rule in tuple(self._rules) if rule.target.matches(call) and rule.strike()]

    def quiet(self, resource: ResourceType, user_agent: str) -> bool:
        """Return whether a watch may give no bookmark now, for it would show the stream alive or up to date."""
        return any(
            rule.kind in {"silence", "hold"} and rule.armed and rule.matches(resource, user_agent)
            for rule in self._watch_rules
        )

    def pass_on(self, stream: Stream, line: bytes, *, resource: ResourceType, user_agent: str) -> Iterable[bytes]:
        """Return what becomes of a watch event: nothing, itself, or itself twice."""
        copies = 1
        for rule in tuple(self._watch_rules):
            if not rule.matches(resource, user_agent) or not rule.strike():
                continue
            if rule.kind == "silence":
                stream.muted = True
            if rule.kind == "hold":
                rule.hold(stream, line)
            if rule.kind != "duplicate":
                return ()
            copies = 2
        return (line,) * copies


def _times(nth: int | None, times: int | None) -> int | None:
    return 1 if nth is not None and times is None else times
