"""A world that looks closely at every decision about a task, and counts at the end."""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from unit.domain.cluster import Object, at, deletions, starts
from unit.domain.taskworld import TaskWorld
from upkeep.api.task import TaskStatus
from upkeep.domain.decision import Decision, DeleteJob
from upkeep.domain.instants import read_instant
from upkeep.domain.run import run_name
from upkeep.domain.schedule import Schedule, jitter_offset
from upkeep.domain.task import decide

START = at("00:30")
UNREADABLE = "soon"
"""A timeout that makes a spec unreadable."""

_JITTER = {"30s": 30, "4m": 240, "2h": 7200}
_RUN_ENDS = {"RunSucceeded", "RunFailed", "RunUnknown"}
_SUM = re.compile(r"(\d+) occurrences, (\S+) to (\S+): ")
_WHEN = re.compile(r"\(\w+\) (\S+): ")


@dataclass
class Era:
    """A schedule and the stretch of time in which it counted."""

    cron: str
    since: datetime
    until: datetime | None = None

    def occurrences(self, until: datetime) -> list[datetime]:
        schedule, found, instant = Schedule.cron(self.cron), [], self.since
        while (following := schedule.next_after(instant)) is not None and following <= (self.until or until):
            found.append(following)
            instant = following
        return found


@dataclass
class Witness(TaskWorld):
    """A task whose every decision is checked.

    Attributes:
        eras: the schedules that it had, as far as the operator has noticed.
        unsaved: Jobs of which no status tells yet: nobody may remove them, or nothing would remember them.
        paused: whether it was suspended or unreadable at the last decision that was written.
    """

    eras: list[Era] = field(default_factory=list)
    unsaved: set[str] = field(default_factory=set)
    paused: bool = False

    def act(self, *, lose_status: bool = False) -> Decision:
        snapshot = self.snapshot()
        assert decide(snapshot) == decide(snapshot), "the same snapshot gives the same decision"
        known = {start.name for _, start in self.started}
        decision = super().act(lose_status=lose_status)
        for start in starts(decision):
            assert start.name not in known, "never a second start"
            assert start.name == run_name("nightly", "uid-nightly", start.occasion)
            if start.occasion.scheduled:
                self._look_at_start(start.occasion.scheduled)
        if lose_status:
            self.unsaved |= {start.name for start in starts(decision)}
        else:
            self._look_at_status(decision)
        return decision

    def settle(self) -> None:
        """Decide again at the same time: nothing is left to do."""
        self.act()
        before = self.status
        decision = self.decide()
        assert (decision.actions, decision.events, decision.cleanup) == ((), (), []), "nothing is done twice"
        self.act()
        assert self.status == before

    def _look_at_start(self, due: datetime) -> None:
        assert due > (self.eras[-1].since if self.eras else START), "an edit never fires the past"
        assert not self.paused, "a pause is not caught up"
        following = Schedule.cron(self.task["spec"]["schedule"]).next_after(due)
        assert following is not None
        jitter = timedelta(seconds=_JITTER.get(self.task["spec"].get("jitter", ""), 0))
        offset = jitter_offset(uid="uid-nightly", occurrence=due, jitter=min(jitter, following - due))
        assert self.now >= due + offset, "never early"

    def _look_at_status(self, decision: Decision) -> None:
        TaskStatus.model_validate(self.status)
        self.unsaved.clear()
        spec: Object = self.task["spec"]
        unreadable = spec.get("timeout") == UNREADABLE
        self.paused = unreadable or bool(spec.get("suspend"))
        if not unreadable:
            self._note_era(spec["schedule"])
        replaced = {action.name for action in decision.actions if isinstance(action, DeleteJob)}
        assert set(deletions(decision)) <= replaced | set(self._ends()), "only what is recorded is removed"

    def _note_era(self, cron: str) -> None:
        if not self.eras:
            self.eras.append(Era(cron, START if self.task["metadata"]["generation"] == 1 else self.now))
        elif self.eras[-1].cron != cron:
            self.eras[-1].until = self.now
            self.eras.append(Era(cron, self.now))

    def _ends(self) -> Counter[str]:
        return Counter(event.message.partition(":")[0] for event in self.events if event.reason in _RUN_ENDS)

    def assert_accounted(self) -> None:
        """The runs and the records together are the occurrences, each of them once."""
        expected = Counter(time for era in self.eras for time in era.occurrences(self.now))
        started = Counter(start.occasion.scheduled for _, start in self.started if start.occasion.scheduled)
        single, summed = self._recorded()

        assert max(started.values(), default=0) <= 1, "nothing runs twice"
        assert max(single.values(), default=0) <= 1, "nothing is recorded twice"
        assert not started.keys() & single.keys(), "nothing both ran and did not"
        assert set(started) | set(single) <= set(expected)
        total = started.total() + single.total() + sum(count for count, _, _ in summed)
        uncounted = any("at least" in event.message for event in self.events)
        assert uncounted or total + self._waiting() == expected.total(), "nothing is lost"
        for count, first, last in summed:
            inside = [time for time in expected if first <= time <= last and not single[time] and not started[time]]
            assert count <= len(inside)
        assert self._ends() == Counter(start.name for _, start in self.started), "each run has one end"

    def _recorded(self) -> tuple[Counter[datetime], list[tuple[int, datetime, datetime]]]:
        single: Counter[datetime] = Counter()
        summed = []
        for event in self.events:
            if not event.reason.startswith(("Missed", "Skipped")):
                continue
            if total := _SUM.search(event.message):
                summed.append((int(total[1]), read_instant(total[2]), read_instant(total[3])))
            elif when := _WHEN.search(event.message):
                single[read_instant(when[1])] += 1
        return single, summed

    def _waiting(self) -> int:
        """1 where the time of an occurrence has come but, for its jitter, not its start."""
        handled = read_instant(self.status.get("lastScheduleTime", "2026-01-01T00:00:00Z"))
        return sum(time > handled for time in self.eras[-1].occurrences(self.now))
