"""A MaintenanceWindow whose messages go to channels that may refuse them, and an operator that may die at any point."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from unit.domain.cluster import Object, edited, resource, status_written
from upkeep.domain import window
from upkeep.domain.decision import Announce, Decision
from upkeep.domain.notices import Attempt, AwaitTurn, Delivery, Message, NoticeKey, Post, Receipt, SendNotice
from upkeep.domain.window import WindowSnapshot

SENT = Delivery(Receipt.SENT)
REFUSED = Delivery(Receipt.REFUSED, "its server answered 503")
LONGEST_BURST = 40


@dataclass(frozen=True)
class Sent:
    """A message that a channel has taken."""

    time: datetime
    key: NoticeKey
    message: Message


@dataclass
class NoticeWorld:
    """What one window sees of its channels, and they of it.

    Attributes:
        answers: what each channel answers to whatever it gets; one that is not there takes everything.
        channels: what the platform has configured.
        sent: all that ever arrived.
        offered: all that was ever offered to a channel, with when.
        life: which process of the operator this is.
    """

    now: datetime
    spec: Mapping[str, Any]
    created: datetime | None = None
    channels: set[str] = field(default_factory=lambda: {"chat", "mail"})
    answers: dict[str, Delivery] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    offered: list[tuple[datetime, NoticeKey]] = field(default_factory=list)
    events: list[Announce] = field(default_factory=list)
    life: int = 1
    decisions: int = 0
    wake_at: datetime | None = None
    turns: set[str] = field(default_factory=set)
    deliveries: dict[Attempt, Delivery] = field(default_factory=dict)
    in_flight: set[Attempt] = field(default_factory=set)
    begun: set[NoticeKey] = field(default_factory=set)
    window: Object = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.window = resource("MaintenanceWindow", dict(self.spec), created=self.created or self.now, name="sunday")

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.window.get("status") or {}
        return found

    @property
    def notices(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.status.get("notices", [])
        return found

    def states(self, channel: str = "chat") -> list[tuple[str, str, str]]:
        """Kind, lead and state of the messages on a channel."""
        return [
            (each["kind"], each.get("lead", ""), each["state"])
            for each in self.notices
            if each.get("channel", "") == channel
        ]

    def arrived(self, channel: str = "chat") -> list[tuple[str, str]]:
        """Kind and subject of what a channel has taken."""
        return [
            (str(each.key.kind), each.message.subject.removeprefix("Maintenance shop/sunday "))
            for each in self.sent
            if each.key.channel == channel
        ]

    def condition(self) -> tuple[str, str]:
        """Status and reason of the condition Notified."""
        found = [each for each in self.status.get("conditions", []) if each["type"] == "Notified"]
        return (found[0]["status"], found[0]["reason"]) if found else ("", "")

    def snapshot(self) -> WindowSnapshot:
        self.decisions += 1
        sender = f"upkeep-{self.life}"
        return WindowSnapshot(
            resource=self.window,
            tasks={},
            runs=[],
            busy=frozenset(),
            targets={},
            page_service="",
            page_ready=None,
            now=self.now,
            post=Post(
                sender=sender,
                claim=f"{sender}/{self.decisions}",
                channels=frozenset(self.channels),
                turns=frozenset(self.turns),
                in_flight=frozenset(self.in_flight),
                deliveries=dict(self.deliveries),
                begun=frozenset(self.begun),
            ),
        )

    def act(self) -> bool:
        """Decide and carry it out; whether something more is to be decided at once."""
        snapshot = self.snapshot()
        decision = window.decide(snapshot)
        assert decision == window.decide(snapshot), "the same snapshot gives the same decision"
        if not self.survives("decided"):
            return True
        status_written(self.window, decision)
        self.events += decision.events
        self.turns.clear()
        self.wake_at = decision.wake_at
        self._forget()
        return self.survives("written") is False or self._deliver(decision)

    def survives(self, where: str) -> bool:
        """Whether the operator lives on."""
        assert where
        return True

    def die(self) -> None:
        """The process is gone, with all that it remembered; another one follows."""
        self.life += 1
        self.turns, self.deliveries, self.in_flight, self.begun = set(), {}, set(), set()

    def wait(self, duration: timedelta) -> None:
        """Let time pass while the operator works."""
        until, burst = self.now + duration, 0
        while True:
            before, more = self.now, self.act()
            if not more and (self.wake_at is None or self.wake_at > until):
                break
            upcoming = self.now if more else max(self.now, self.wake_at or self.now)
            burst = 0 if upcoming > before else burst + 1
            assert burst < LONGEST_BURST, f"in circles: {self.status}"
            self.now = upcoming
        self.now = until

    def sleep(self, duration: timedelta) -> None:
        """Let time pass while no operator is there."""
        self.die()
        self.now += duration

    def edit(self, **spec: object) -> None:
        edited(self.window, **spec)

    def _deliver(self, decision: Decision) -> bool:
        more = False
        for action in decision.cleanup:
            if isinstance(action, AwaitTurn):
                self.turns.add(action.channel)
                more = True
            if isinstance(action, SendNotice):
                more = True
                if not self._send(action):
                    break
        return more

    def _send(self, order: SendNotice) -> bool:
        attempt = order.attempt
        self.begun.add(attempt.key)
        self.offered.append((self.now, attempt.key))
        answer = self.answers.get(attempt.key.channel, SENT)
        if answer.receipt is not Receipt.REFUSED:
            self.sent.append(Sent(self.now, attempt.key, order.message))
        if not self.survives("sent"):
            return False
        self.deliveries[attempt] = answer
        return True

    def _forget(self) -> None:
        claims = {each.get("claim") for each in self.notices if each["state"] == "Sending"}
        self.deliveries = {attempt: each for attempt, each in self.deliveries.items() if attempt.claim in claims}
