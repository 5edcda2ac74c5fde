"""What users declare of a MaintenanceWindow: when, for whom, and what happens then."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.fields import Duration, Model, Rule
from upkeep.api.scheduling import CronExpression, Exclusions, Timestamp, TimeZone
from upkeep.api.steps import Connections
from upkeep.api.window.change import Approval, Change, Checklist
from upkeep.api.window.gating import Requirements, Silence
from upkeep.api.window.health import Verification, Watch
from upkeep.api.window.maintenance import MaintenanceMode
from upkeep.api.window.notices import ANNOUNCED_TO_SOMEBODY, Announcements, Notify, check_announcements
from upkeep.api.window.plan import Overrun, Plan
from upkeep.api.window.publication import StatusPage
from upkeep.api.window.sharing import Kind, SharedWith, WindowKind, check_freeze, freeze_rules


class Urgency(StrEnum):
    """How a window came about."""

    PLANNED = "Planned"
    EMERGENCY = "Emergency"


class WindowSpec(Model):
    """When it opens, for how long, and what happens then."""

    kind: Kind = WindowKind.MAINTENANCE
    """Maintenance: work is done while it is open. Freeze: while it is open no maintenance begins, in its own namespace
    and in those that it is shared with; where one allows and another forbids, nothing begins. It cannot be changed."""
    shared_with: SharedWith = Field(default_factory=list)
    """Other namespaces, `*` for all. Maintenance: their tasks and backups may name it in windows. Freeze: it forbids
    there too."""
    urgency: Urgency = Urgency.PLANNED
    """Planned: it opens by schedule or startAt. Emergency: it opens once; without startAt as soon as it is created, or
    when noticePeriod has passed since."""
    schedule: CronExpression | None = None
    """When it opens, as a cron expression of five fields in timeZone."""
    start_at: Timestamp | None = None
    """When it opens once, for example 2026-12-01T02:00:00Z."""
    notice_period: Duration | None = None
    """How long after its creation an emergency window opens, so that people can be told, for example 1h."""
    duration: Duration
    """How long it is open at most. Maintenance mode never outlives it."""
    cutoff: Duration = Field(default="0s", validate_default=True)
    """No task starts later than this before the end."""
    overrun: Overrun = Overrun.FINISH
    """What becomes of tasks that still run at the end: Finish lets them run on, without the page; Stop ends them in
    order: their queries are cancelled. Either way the window has failed."""
    time_zone: TimeZone = "Etc/UTC"
    """IANA time zone of schedule and exclusions, for example Europe/Berlin. It binds to the start: the end is the
    start plus the duration, whatever the clocks do in between."""
    exclusions: Exclusions = Field(default_factory=list)
    """Times in which it does not open: freezes and holidays."""
    suspend: bool = False
    """True: it does not open any more. One that is open already is brought to its end."""
    reason: Annotated[str, Field(max_length=200)] = ""
    """Freeze: why, shown wherever something does not begin for it."""
    allow_emergency: bool = False
    """Freeze: windows of urgency Emergency open all the same."""
    change: Change | None = None
    """Why it is done and how to go back, for those who approve it and those who look later."""
    approval: Approval | None = None
    """Whether a named person has to approve each opening before its start."""
    checklist: Checklist | None = None
    """What people do by hand and tick off."""
    connections: Connections = Field(default_factory=list)
    """Servers and volumes that required checks and the verification use, by name."""
    plan: Plan | None = None
    """The tasks that run while it is open."""
    maintenance_mode: MaintenanceMode | None = None
    """What shows a maintenance page meanwhile."""
    status_page: StatusPage | None = None
    """Shows it on the status page, with these words. Left out: no status page knows of it."""
    requires: Requirements | None = None
    """What must hold before it opens."""
    silence: Silence | None = None
    """Alerts that are silenced while it is open."""
    verify: Verification | None = None
    """Checks after the plan, before maintenance mode is lifted."""
    watch: Watch | None = None
    """Checks after it has closed."""
    announcements: Announcements = Field(default_factory=list)
    """How long before each opening people are told of it, for example 336h, 24h and 1h."""
    notify: Notify | None = None
    """Who is told: before each opening, when it opens, how it ended, and when it does not come about."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What one object can show to be wrong."""
        return (_ONE_TIME, _NOTICE, _DURATION_RANGE, _WATCHABLE, *freeze_rules(cls), ANNOUNCED_TO_SOMEBODY)

    @model_validator(mode="after")
    def _opens_somehow(self) -> Self:
        emergency, given = self.urgency is Urgency.EMERGENCY, (self.schedule is not None, self.start_at is not None)
        if given not in (((False, True), (False, False)) if emergency else ((False, True), (True, False))):
            raise ValueError(_ONE_TIME["message"])
        if self.notice_period is not None and (not emergency or self.start_at is not None):
            raise ValueError(_NOTICE["message"])
        if not self.duration:
            raise ValueError(_DURATION_RANGE["message"])
        if self.watch and not (self.watch.steps or self.watch.no_firing_alerts or self.verify):
            raise ValueError(_WATCHABLE["message"])
        check_freeze(self, self.kind)
        check_announcements(self.announcements, self.notify)
        return self


_ONE_TIME: Final[Rule] = {
    "rule": "self.urgency == 'Emergency' ? !has(self.schedule) : has(self.schedule) != has(self.startAt)",
    "message": "exactly one of these must be set: schedule, startAt; an Emergency has no schedule, and opens at once "
    "where it has no startAt either",
}
_NOTICE: Final[Rule] = {
    "rule": "!has(self.noticePeriod) || (self.urgency == 'Emergency' && !has(self.startAt))",
    "message": "noticePeriod is for windows of urgency Emergency without startAt: they open so long after they were "
    "created",
}
_DURATION_RANGE: Final[Rule] = {
    "rule": "self.duration.matches('[1-9]')",
    "message": "duration must be longer than 0s, for example 2h",
}
_WATCHABLE: Final[Rule] = {
    "rule": "!has(self.watch) || has(self.watch.steps) || has(self.watch.noFiringAlerts) || has(self.verify)",
    "message": "watch needs steps of its own or noFiringAlerts where there is no verify",
}
