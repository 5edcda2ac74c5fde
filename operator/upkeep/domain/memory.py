"""What a task remembers of its steps from run to run: since when findings are seen, and what actions left behind.

It only depends on what stood in the status before and on the reports of runs, never on when it is looked at. So the
same comes out again after a crash, and the Jobs that are still there give back what a lost status has known.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from upkeep.actions.contract import Grade, Outcome
from upkeep.api.status import FindingSummary
from upkeep.api.steps import StepBase
from upkeep.api.task import FindingAge, PatchDeadlines, StepMemory
from upkeep.domain import sighting
from upkeep.domain.decision import Announce, EventType
from upkeep.domain.instants import read_instant, write_instant
from upkeep.domain.report import StepReport
from upkeep.domain.run import Run
from upkeep.domain.sighting import Sighting

_CONCLUSIVE: Final = frozenset({Outcome.OK, Outcome.CHANGED})
_NAMED: Final = 3
MAX_STEPS: Final = 32
"""How many steps a task has at most; more entries are left of a spec that cannot be read."""
Deadlines = Mapping[Grade, timedelta]
"""How soon a weakness has to be patched, by its grade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered, as a value that grows.

    Attributes:
        entries: by step and its action.
        announcements: Events about it.
    """

    entries: Mapping[tuple[str, str], StepMemory] = field(default_factory=dict)
    announcements: tuple[Announce, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[StepMemory]) -> "Memory":
        """What a status remembers."""
        return cls(entries={(entry.step, entry.action): entry for entry in entries})

    def with_end(self, run: Run, deadlines: Deadlines | None) -> "Memory":
        """Adds what a run that has ended says; a step that came to no result takes nothing away.

        Args:
            run: a run that has ended.
            deadlines: of the task; None where nobody can read them, so that those that are known stay.
        """
        ended = run.finished or run.created
        entries = dict(self.entries)
        for step in run.report.steps if run.report else ():
            key = (step.name, step.action)
            known = entries.get(key)
            if known and read_instant(known.time) > ended:
                continue  # two runs at once, and the one that began later has ended before
            after = _remembered(known, step, ended, deadlines)
            if after:
                entries[key] = after
        return replace(self, entries=entries)

    def of_steps(self, steps: Sequence[StepBase]) -> "Memory":
        """Only what belongs to these: a step that was renamed, removed or given another action is forgotten."""
        there = {(step.name, step.action_name) for step in steps}
        return replace(self, entries={key: entry for key, entry in self.entries.items() if key in there})

    def at(self, now: datetime, told: Sequence[FindingSummary]) -> "Memory":
        """With what is overdue by now, and an Event for what has become so.

        Args:
            now: the time of the decision.
            told: findings of the last run in words, the worst first.
        """
        entries = {key: _at(entry, now) for key, entry in self.entries.items()}
        grown = replace(self, entries=entries)
        more = grown.overdue - self.overdue
        if more <= 0:
            return grown
        late = [f"{each.object} (due {each.due})" for each in told if each.due and read_instant(each.due) <= now]
        message = (
            f"{more} more past the patch deadline, {grown.overdue} in all{': ' if late else ''}"
            f"{', '.join(late[:_NAMED])}; patch them, then run the task again"
        )
        event = Announce(type=EventType.WARNING, reason="PatchOverdue", message=message)
        return replace(grown, announcements=(*self.announcements, event))

    def ages(self) -> Mapping[str, FindingAge]:
        """By fingerprint; of one that several steps see, the longest."""
        found: dict[str, FindingAge] = {}
        for entry in self.entries.values():
            for age in entry.findings:
                if age.fingerprint not in found or age.first_seen < found[age.fingerprint].first_seen:
                    found[age.fingerprint] = age
        return found

    def remembered(self) -> Mapping[str, object]:
        """The fields of a status that hold this."""
        return {"memory": tuple(self.entries.values())[:MAX_STEPS], "overdue_findings": self.overdue}

    @property
    def overdue(self) -> int:
        """How many findings are past their deadline."""
        return sum(age.overdue for entry in self.entries.values() for age in entry.findings)

    @property
    def next_due(self) -> datetime | None:
        """When the next finding becomes overdue."""
        ages = (age for entry in self.entries.values() for age in entry.findings)
        return min((read_instant(age.due) for age in ages if age.due and not age.overdue), default=None)


def allowances(deadlines: PatchDeadlines) -> Deadlines:
    """Those of a task, without the grades that have none."""
    found = {grade: getattr(deadlines, grade.value) for grade in Grade}
    return {grade: allowed for grade, allowed in found.items() if allowed is not None}


def _remembered(
    known: StepMemory | None, step: StepReport, ended: datetime, deadlines: Deadlines | None
) -> StepMemory | None:
    """What is remembered of a step after a run; None where that is nothing at all."""
    before = {age.fingerprint: age for age in known.findings} if known else {}
    sightings = sighting.decode(step.seen)
    seen = {each.fingerprint: _age(each, before.get(each.fingerprint), ended, deadlines) for each in sightings}
    conclusive = step.outcome in _CONCLUSIVE
    if conclusive and len(seen) < step.findings:
        # Which of those known before are among those that did not fit, nobody knows: their age stays, no deadline.
        rest = {name: FindingAge(fingerprint=name, first_seen=age.first_seen) for name, age in before.items()}
    else:
        rest = {} if conclusive else dict(before)
    findings = [*seen.values(), *(age for name, age in rest.items() if name not in seen)][: sighting.MOST]
    if not conclusive:
        if known is None:
            return _entry(step, ended, findings, {}) if findings else None
        return known.model_copy(update={"findings": findings})
    return _entry(step, ended, findings, step.memory) if findings or step.memory or known else None


def _entry(step: StepReport, ended: datetime, findings: Sequence[FindingAge], values: Mapping[str, str]) -> StepMemory:
    return StepMemory(step=step.name, action=step.action, time=write_instant(ended), values=values, findings=findings)


def _age(seen: Sighting, before: FindingAge | None, ended: datetime, deadlines: Deadlines | None) -> FindingAge:
    if deadlines is None and before:
        return before
    first = before.first_seen if before else write_instant(ended)
    allowed = deadlines.get(seen.grade) if deadlines and seen.grade else None
    due = _after(seen.since or read_instant(first), allowed) if allowed is not None else None
    return FindingAge(
        fingerprint=seen.fingerprint,
        first_seen=first,
        due=due,
        overdue=bool(before and before.overdue and before.due == due),
    )


def _after(instant: datetime, time: timedelta) -> str | None:
    try:
        return write_instant(instant + time)
    except OverflowError:
        return None  # somebody wrote a year into the status after which there is none


def _at(entry: StepMemory, now: datetime) -> StepMemory:
    late = {age.fingerprint for age in entry.findings if age.due and not age.overdue and read_instant(age.due) <= now}
    if not late:
        return entry
    ages = [age.model_copy(update={"overdue": age.overdue or age.fingerprint in late}) for age in entry.findings]
    return entry.model_copy(update={"findings": ages})
