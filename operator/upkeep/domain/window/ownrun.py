"""The runs that belong to an opening of a window: of its tasks, and those that it makes itself."""

from dataclasses import dataclass
from datetime import datetime

from upkeep.api.status import Trigger
from upkeep.domain.decision import Occasion, StartRun
from upkeep.domain.identity import Identity
from upkeep.domain.run import Run, run_name
from upkeep.domain.window.snapshot import WindowSnapshot
from upkeep.domain.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRun:
    """A run that a window makes itself: a check or a rollback. Its name follows from what it is for."""

    owner: Identity
    occasion: Occasion

    @property
    def name(self) -> str:
        """Name of its Job."""
        return run_name(self.owner.name, self.owner.uid, self.occasion)

    def found(self, snapshot: WindowSnapshot) -> Run | None:
        """The run, where its Job is there."""
        return next((run for run in snapshot.runs if run.name == self.name), None)

    def start(self, work: Work) -> StartRun:
        """What begins it."""
        return StartRun(owner=self.owner, name=self.name, occasion=self.occasion, work=work)


def own_run(snapshot: WindowSnapshot, start: datetime, part: str) -> OwnRun:
    """The run that is `part` of the opening at `start`."""
    return OwnRun(owner=snapshot.identity, occasion=window_occasion(snapshot, start, part))


def window_occasion(snapshot: WindowSnapshot, start: datetime, part: str = "") -> Occasion:
    """What the runs of one opening are for."""
    return Occasion(trigger=Trigger.WINDOW, scheduled=start, schedule=part, window_uid=snapshot.identity.uid)
