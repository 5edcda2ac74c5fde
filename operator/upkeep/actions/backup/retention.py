"""What of a schedule's snapshots is kept: restic's own rules, and what those may never take away.

restic proposes, this module only ever takes away from the proposal: it must never name a snapshot for removal that
restic would keep, that is the newest one of its schedule, that was verified last, or that one which stays builds on.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.backup.chain import needed
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.fields import Duration, Model, Rule

_SECONDS_PER_HOUR: Final = 3600
_COUNTS: Final = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
_NAMES: Final = (*(f"keep{each.capitalize()}" for each in _COUNTS), "keepWithin")
_SOMETHING: Final[Rule] = {
    "rule": " || ".join(f"has(self.{name})" for name in _NAMES),
    "message": f"say what is kept, by at least one of {', '.join(_NAMES)}; without retention everything is kept",
}
_SOME_TIME: Final[Rule] = {
    "rule": "!has(self.keepWithin) || self.keepWithin.matches('[1-9]')",
    "message": "keepWithin must be longer than nothing, for example 30d",
}

_Count = Annotated[int | None, Field(ge=1, le=10000)]


class Retention(Model):
    """What is kept of a schedule's backups, by restic's rules: what any of them keeps is kept, the rest is removed.

    Days, weeks, months and years are counted in UTC. The newest backup of the schedule, and the one that was verified
    last, are kept whatever this says.
    """

    keep_last: _Count = None
    """The newest ones, so many."""
    keep_hourly: _Count = None
    """The newest one of an hour, for the last so many hours that have one."""
    keep_daily: _Count = None
    """The newest one of a day, for the last so many days that have one."""
    keep_weekly: _Count = None
    """The newest one of a week, for the last so many weeks that have one."""
    keep_monthly: _Count = None
    """The newest one of a month, for the last so many months that have one."""
    keep_yearly: _Count = None
    """The newest one of a year, for the last so many years that have one."""
    keep_within: Duration | None = None
    """All that are less than so much older than the newest one, for example `30d`."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """A retention that keeps nothing is refused."""
        return (_SOMETHING, _SOME_TIME)

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if not self.options():
            raise ValueError(_SOMETHING["message"])
        if self.keep_within == timedelta(0):
            raise ValueError(_SOME_TIME["message"])
        return self

    def options(self) -> list[str]:
        """The same for `restic forget`. restic knows whole hours only: a part of one counts as one."""
        counts = [(each, getattr(self, f"keep_{each}")) for each in _COUNTS]
        options = [f"--keep-{each}={count}" for each, count in counts if count is not None]
        if self.keep_within is not None:
            hours = -(-self.keep_within.seconds // _SECONDS_PER_HOUR)
            options.append(f"--keep-within={self.keep_within.days}d{hours}h")
        return options


class ScheduleRetention(Model):
    """A schedule with its retention."""

    schedule: str
    """Name of the schedule; a tag of its snapshots."""
    retention: Retention
    """What is kept of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What becomes of the snapshots of one schedule.

    Attributes:
        removed: what may go, oldest first.
        kept: what stays, oldest first.
        pinned: those of `kept` that only stay because they are the newest, were verified last, or another builds on
            them.
    """

    removed: Sequence[Stored]
    kept: Sequence[Stored]
    pinned: Sequence[Stored]

    def sparing(self, spared: Collection[Stored]) -> "Choice":
        """The same, but that these stay too."""
        staying = [each for each in self.removed if each in spared]
        return Choice(
            removed=[each for each in self.removed if each not in staying],
            kept=sorted([*self.kept, *staying], key=lambda each: (each.time, each.identifier)),
            pinned=[*self.pinned, *staying],
        )


def choose(stored: Collection[Stored], proposed: Collection[str], *, verified: str | None) -> Choice:
    """Decide on the snapshots of one schedule.

    Args:
        stored: all of them.
        proposed: whole ids of those that restic's rules do not keep; ids of others are ignored.
        verified: the id, or the beginning of the id, of the snapshot that was verified last.
    """
    ordered = sorted(stored, key=lambda each: (each.time, each.identifier))
    newest = max((each.time for each in ordered), default=None)
    out = [each for each in ordered if each.identifier in proposed]
    pinned = [each for each in out if each.time == newest or (verified and each.goes_by(verified))]
    removed = [each for each in out if each not in pinned]
    return Choice(removed=removed, kept=[each for each in ordered if each not in removed], pinned=pinned)


def unbroken(stored: Collection[Stored], choices: Mapping[str, Choice]) -> dict[str, Choice]:
    """The same choices, without those removals by which a snapshot that stays would lose what it builds on.

    Args:
        stored: all snapshots of the policy.
        choices: what becomes of those of each schedule with a retention, by its name.
    """
    going = [each for choice in choices.values() for each in choice.removed]
    spared = needed(stored, [each for each in stored if each not in going])
    return {name: choice.sparing(spared) for name, choice in choices.items()}
