"""A BackupPolicy, its Jobs and the clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from unit.domain.cluster import GOOD, Jobs, Object, edited, resource, status_written, told
from upkeep.domain.backup import BackupSnapshot, decide
from upkeep.domain.binding import Surroundings
from upkeep.domain.decision import Announce, Decision, DeleteJob, StartRun
from upkeep.domain.identity import RUN_NOW_ANNOTATION, SCHEDULE_ANNOTATION

SPEC: Final[dict[str, Any]] = {
    "source": {"postgres": {"host": "db", "database": "shop", "secretRef": {"name": "db"}}},
    "repository": {"passwordSecretRef": {"name": "repository"}, "volume": {"claimName": "backups"}},
    "schedules": [{"name": "hourly", "schedule": "0 * * * *"}],
}


@dataclass
class BackupWorld:
    """What one policy sees.

    Attributes:
        takes: how long the runs of a schedule take; else ten seconds.
        says: what the Pods of a schedule say at their end.
    """

    now: datetime
    spec: Mapping[str, Any] = field(default_factory=dict)
    takes: dict[str, timedelta | None] = field(default_factory=dict)
    says: dict[str, str] = field(default_factory=dict)
    windows: dict[str, Object] = field(default_factory=dict)
    policy: Object = field(default_factory=dict)
    jobs: Jobs = field(default_factory=Jobs)
    events: list[Announce] = field(default_factory=list)
    started: list[tuple[datetime, StartRun]] = field(default_factory=list)
    wake_at: datetime | None = None

    def __post_init__(self) -> None:
        self.policy = resource("BackupPolicy", {**SPEC, **self.spec}, created=self.now, name="shop")

    def decide(self) -> Decision:
        windows = {name: told(window, self.now) for name, window in self.windows.items()}
        surroundings = Surroundings(windows=windows)
        runs = self.jobs.runs()
        return decide(BackupSnapshot(resource=self.policy, runs=runs, now=self.now, surroundings=surroundings))

    def act(self, *, lose_status: bool = False) -> Decision:
        decision = self.decide()
        assert decision == self.decide(), "the same snapshot gives the same decision"
        for action in decision.actions:
            assert isinstance(action, StartRun)
            assert action.name not in {start.name for _, start in self.started}, "nothing starts twice"
            assert not self.jobs.active, "a repository has one writer"
            self.started.append((self.now, action))
            self.jobs.start(action, self.now)
        if not lose_status:
            status_written(self.policy, decision)
            self.events += decision.events
            for action in decision.cleanup:
                assert isinstance(action, DeleteJob)
                self.jobs.delete(action.name)
            self.wake_at = decision.wake_at
        return decision

    def wait(self, duration: timedelta) -> None:
        """Let time pass while the operator works."""
        until = self.now + duration
        self.act()
        for _ in range(10_000):
            ends = [self._end_of(name) for name in self.jobs.active]
            upcoming = min([time for time in (self.wake_at, *ends) if time is not None], default=None)
            if upcoming is None or upcoming > until:
                break
            self.now = max(self.now, upcoming)
            self._let_end()
            self.act()
        self.now = until
        self._let_end()

    def sleep(self, duration: timedelta) -> None:
        """Let time pass while no operator is there."""
        self.now += duration
        self._let_end()

    def edit(self, **spec: object) -> None:
        edited(self.policy, **spec)

    def ask(self, token: str) -> None:
        self.policy["metadata"]["annotations"] = {RUN_NOW_ANNOTATION: token}

    @property
    def status(self) -> Object:
        found: Object = self.policy.get("status", {})
        return found

    @property
    def order(self) -> list[tuple[str, str]]:
        """Schedule and time of each start."""
        return [(start.occasion.schedule, f"{started:%H:%M:%S}") for started, start in self.started]

    @property
    def history(self) -> list[tuple[str, str, str]]:
        """Of each record: schedule, reason or outcome, and when it was due as hh:mm."""
        return [
            (
                each.get("schedule", ""),
                each.get("reason") or each.get("outcome", ""),
                each.get("scheduledTime", "")[11:16],
            )
            for each in self.status.get("history", [])
        ]

    def _schedule_of(self, name: str) -> str:
        found: str = self.jobs.objects[name]["metadata"]["annotations"].get(SCHEDULE_ANNOTATION, "")
        return found

    def _end_of(self, name: str) -> datetime | None:
        takes = self.takes.get(self._schedule_of(name), timedelta(seconds=10))
        created = datetime.fromisoformat(self.jobs.objects[name]["metadata"]["creationTimestamp"])
        return None if takes is None else created + takes

    def _let_end(self) -> None:
        for name in self.jobs.active:
            end = self._end_of(name)
            if end is not None and end <= self.now:
                self.jobs.end(name, end, message=self.says.get(self._schedule_of(name), GOOD))
