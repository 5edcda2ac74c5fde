"""A MaintenanceTask, its Jobs and the clock: decisions are taken when the operator would take them, and carried out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from unit.domain.cluster import BAD, GOOD, Jobs, Object, deletions, edited, resource, status_written, told
from upkeep.domain.binding import Surroundings
from upkeep.domain.decision import Announce, Decision, DeleteJob, StartRun
from upkeep.domain.identity import RUN_NOW_ANNOTATION
from upkeep.domain.task import TaskSnapshot, decide

WORK = {"job": {"image": "localhost/work"}}


@dataclass
class TaskWorld:
    """What one task sees. `now` only moves in `wait` and `sleep`.

    Attributes:
        takes: how long a run takes; None: until somebody ends it.
        endless: Jobs that do not end by themselves, whatever the others take.
        events: what was said, with when.
        last: the last decision that was carried out.
    """

    now: datetime
    spec: Mapping[str, object] = field(default_factory=dict)
    takes: timedelta | None = timedelta(seconds=30)
    good: bool = True
    task: Object = field(default_factory=dict)
    windows: dict[str, Object] = field(default_factory=dict)
    freezes: list[Object] = field(default_factory=list)
    endless: set[str] = field(default_factory=set)
    jobs: Jobs = field(default_factory=Jobs)
    events: list[Announce] = field(default_factory=list)
    started: list[tuple[datetime, StartRun]] = field(default_factory=list)
    last: Decision | None = None
    wake_at: datetime | None = None

    def __post_init__(self) -> None:
        self.task = resource("MaintenanceTask", {**WORK, **self.spec}, created=self.now)

    def snapshot(self) -> TaskSnapshot:
        windows = {name: told(window, self.now) for name, window in self.windows.items()}
        surroundings = Surroundings(windows=windows, freezes=self.freezes)
        return TaskSnapshot(resource=self.task, runs=self.jobs.runs(), now=self.now, surroundings=surroundings)

    def decide(self) -> Decision:
        """What the task decides now, without carrying it out."""
        return decide(self.snapshot())

    def act(self, *, lose_status: bool = False) -> Decision:
        """Decide and carry it out; with `lose_status` up to a crash before the status is written."""
        decision = self.decide()
        for action in decision.actions:
            if isinstance(action, DeleteJob):
                self.jobs.delete(action.name)
            elif isinstance(action, StartRun):
                self.started.append((self.now, action))
                self.jobs.start(action, self.now)
        if lose_status:
            return decision
        status_written(self.task, decision)
        self.events += decision.events
        for name in deletions(decision):
            self.jobs.delete(name)
        self.last, self.wake_at = decision, decision.wake_at
        return decision

    def wait(self, duration: timedelta) -> None:
        """Let time pass while the operator works: it decides at its alarms, and when a run ends."""
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
        edited(self.task, **spec)

    def ask(self, token: str) -> None:
        """`kubectl annotate --overwrite mt nightly upkeep.dev/run-now=<token>`."""
        self.task["metadata"]["annotations"] = {RUN_NOW_ANNOTATION: token}

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.task.get("status", {})
        return found

    @property
    def history(self) -> list[tuple[str, str, str]]:
        """Of each record: ending, reason or outcome, and when it was due as hh:mm."""
        return [
            (
                record["ending"],
                record.get("reason") or record.get("outcome", ""),
                record.get("scheduledTime", "")[11:16],
            )
            for record in self.status.get("history", [])
        ]

    @property
    def scheduled_starts(self) -> list[str]:
        """When the occurrences were due for which runs were started, as hh:mm."""
        return [f"{start.occasion.scheduled:%H:%M}" for _, start in self.started if start.occasion.scheduled]

    def _end_of(self, name: str) -> datetime | None:
        if self.takes is None or name in self.endless:
            return None
        return datetime.fromisoformat(self.jobs.objects[name]["metadata"]["creationTimestamp"]) + self.takes

    def _let_end(self) -> None:
        for name in self.jobs.active:
            end = self._end_of(name)
            if end is not None and end <= self.now:
                self.jobs.end(name, end, message=GOOD if self.good else BAD)
