"""What a BackupPolicy needs now: which of its schedules is due, one run at a time.

A repository has one writer: while a run of the policy is active, whatever else is due waits for its end instead of
being left out, because a backup that comes late is better than none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from upkeep.actions.contract import Outcome
from upkeep.api.backup import (
    FULL_RESTORE,
    INTEGRITY,
    PRUNE,
    RESTORE_TEST,
    BackupScheduleStatus,
    BackupSpec,
    BackupStatus,
)
from upkeep.api.coldcopy import COLD_COPY
from upkeep.api.status import OccurrenceRecord, Trigger
from upkeep.domain.account import Cause, Reason, missed, record, records
from upkeep.domain.backupwork import backup_work
from upkeep.domain.binding import Surroundings, Waiting, binding_problem, verdict
from upkeep.domain.capacity import capacity
from upkeep.domain.conditions import Fact, Problem, merge, readiness
from upkeep.domain.decision import Announce, Decision, EventType, Occasion, StartRun
from upkeep.domain.history import SETTLING, Ledger, expired_jobs, last_run_fact, settled
from upkeep.domain.identity import RUN_NOW_ANNOTATION, Identity
from upkeep.domain.instants import write_instant, write_optional
from upkeep.domain.overdue import OVERDUE, Lateness, overdue_news, remembered
from upkeep.domain.pause import INVALID_SCHEDULE, INVALID_SPEC, Pause
from upkeep.domain.proof import Proofs
from upkeep.domain.recollection import Recollection, recall
from upkeep.domain.run import Run, run_name
from upkeep.domain.schedule import ScheduleError
from upkeep.domain.spec import explain
from upkeep.domain.timetable import Declaration, Mark, Timetable

SUSPENDED: Final = "Suspended"
WAITING: Final = "Waiting"
_MAX_ACTIVE: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSnapshot:
    """All that a decision about a policy looks at.

    Attributes:
        resource: the BackupPolicy as read.
        runs: its runs.
        now: the time of the decision.
        surroundings: the MaintenanceWindows that it names, and what they depend on.
        refusal: why the cluster refuses to start what was decided; then nothing is begun, and that is told.
    """

    resource: Mapping[str, Any]
    runs: Sequence[Run]
    now: datetime
    surroundings: Surroundings = field(default_factory=Surroundings)
    refusal: str = ""


def decide(snapshot: BackupSnapshot) -> Decision:
    """What should happen now."""
    known = recall(BackupStatus, snapshot.resource.get("status"))
    plan = _Plan(
        snapshot=snapshot,
        known=known,
        ledger=Ledger.of(known, pending=known.status.active),
        proofs=Proofs(snapshots=tuple(known.status.snapshots)),
    ).with_ends()
    try:
        spec = BackupSpec.model_validate(snapshot.resource.get("spec"))
        timetables = _timetables(snapshot, spec, known)
    except ValidationError as problem:
        return plan.stalled(Problem(reason=INVALID_SPEC, message=explain(problem)))
    except ScheduleError as problem:
        return plan.stalled(Problem(reason=INVALID_SCHEDULE, message=str(problem)))
    namespace = snapshot.resource["metadata"]["namespace"]
    plan = replace(
        plan,
        problem=binding_problem(spec.windows, snapshot.surroundings, namespace),
        tested=spec.verify.tested,
    )
    plan = plan.with_manual_run(spec).without_abandoned(spec)
    for timetable in timetables:
        plan = plan.with_occurrences(spec, timetable)
    return plan.decision(spec, timetables)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A decision in the making."""

    snapshot: BackupSnapshot
    known: Recollection[BackupStatus]
    ledger: Ledger
    starts: tuple[StartRun, ...] = ()
    handled: Mapping[str, datetime] | None = None
    token: str | None = None
    events: tuple[Announce, ...] = ()
    proofs: Proofs = field(default_factory=Proofs)
    tested: bool | None = None
    unsettled: bool = False
    wake_at: datetime | None = None
    waiting: Waiting | None = None
    problem: Problem | None = None

    @property
    def status(self) -> BackupStatus:
        """As it was."""
        return self.known.status

    @property
    def busy(self) -> str | None:
        """The run for whose end everything else waits."""
        running = [*(run.name for run in self.snapshot.runs if run.active), *(start.name for start in self.starts)]
        return running[0] if running else None

    @property
    def departed(self) -> Sequence[str]:
        """The Jobs that have ended, the latest first: their Pods have gone before, and use the repository no more."""
        ended = sorted((run for run in self.snapshot.runs if not run.active), key=lambda run: run.created, reverse=True)
        sure = {*Outcome} - {Outcome.UNKNOWN}
        known = (record.job for record in self.status.history if record.job and record.outcome in sure)
        return list(dict.fromkeys([*(run.name for run in ended), *known]))

    def held(self, schedule: str) -> bool:
        """Whether it waits for a run: for the end of one, and the removal also for what one proved that has ended."""
        return bool(self.snapshot.refusal or self.busy) or (schedule == PRUNE and self.unsettled)

    def with_ends(self) -> "_Plan":
        """Record what ended since."""
        now = self.snapshot.now
        plan = replace(self, ledger=self.ledger.with_vanished(self.snapshot.runs, now))
        unsettled = []
        for run in sorted(self.snapshot.runs, key=lambda run: (run.created, run.name)):
            if plan.ledger.covers(run):
                continue
            if run.active:
                plan = replace(plan, ledger=plan.ledger.with_start(run))
            elif settled(run, now):
                plan = replace(plan, ledger=plan.ledger.with_end(run), proofs=plan.proofs.with_end(run))
            else:
                unsettled.append((run.finished or run.created) + SETTLING)
        return replace(plan, wake_at=min(unsettled, default=None), unsettled=bool(unsettled))

    def with_manual_run(self, spec: BackupSpec) -> "_Plan":
        """`run-now: <token>` runs the first schedule, `run-now: <schedule>/<token>` the one of that name."""
        token = (self.snapshot.resource["metadata"].get("annotations") or {}).get(RUN_NOW_ANNOTATION, "")[:128]
        if not token or token == self.status.last_manual_run:
            return self
        names = [name for name, _ in _declared(spec)]
        wanted = token.partition("/")[0] if "/" in token else names[0]
        plan = replace(self, token=token)
        occasion = Occasion(trigger=Trigger.MANUAL, schedule=wanted, token=token)
        if self.begun(occasion):
            # Noted also while another run is under way: after a long one nothing might tell any more that it ran.
            return plan
        if self.held(wanted):
            return self
        if wanted not in names:
            message = f"run-now {token!r}: there is no schedule {wanted!r}; there are: {', '.join(names)}"
            event = Announce(type=EventType.WARNING, reason="ManualRunRefused", message=message)
            return replace(plan, events=(*plan.events, event))
        return plan.starting(spec, occasion) if self.known.remembers_token else plan

    def without_abandoned(self, spec: BackupSpec) -> "_Plan":
        """Account for what was due of schedules that are not there any more."""
        plan, pause = self, Pause.of(self.status)
        cause = missed(Reason.SCHEDULE_CHANGED, "the schedule was changed before it could start")
        declarations = dict(_declared(spec))
        for former in self.status.schedules:
            declaration = declarations.get(former.name, Declaration(zone=spec.time_zone, exclusions=spec.exclusions))
            due = _mark(self.snapshot, self.known, former.name).abandoned(declaration, self.snapshot.now)
            absent = [time for time in due.times if not self.begun(_scheduled(former.name, time))]
            unrun = records(absent, lambda t: pause.cause(t) or cause, schedule=former.name, more=due.truncated)
            plan = plan.recording(*unrun)
        return plan

    def with_occurrences(self, spec: BackupSpec, timetable: Timetable) -> "_Plan":
        """Account for what is due of one schedule."""
        due, pause = timetable.due(self.snapshot.now), Pause.of(self.status)
        paused = pause.ends(suspend=spec.suspend)
        if due.latest is None or (spec.suspend and not paused):
            return self
        absent = [*due.earlier, due.latest] if paused else due.earlier
        ran = {time for time in (*due.earlier, due.latest) if self.begun(_scheduled(timetable.name, time))}
        unrun = timetable.unrun(absent, lambda time: pause.cause(time) or self.absence(time), ran=ran, more=due.more)
        plan = self.recording(*unrun)
        if paused or due.latest in ran:
            return plan.handling(timetable.name, due.latest)
        if due.earlier:
            plan = plan.handling(timetable.name, due.earlier[-1])
        obstacle = timetable.exclusion(due.latest) or plan.obstacle(spec, timetable, due.latest)
        if isinstance(obstacle, Waiting):
            return replace(plan, waiting=obstacle).waking(obstacle.until)
        if obstacle:
            unstarted = record(due.latest, obstacle, schedule=timetable.name)
            return plan.recording(unstarted).handling(timetable.name, due.latest)
        if plan.held(timetable.name):
            return plan
        return plan.starting(spec, _scheduled(timetable.name, due.latest)).handling(timetable.name, due.latest)

    def absence(self, occurrence: datetime) -> Cause:
        """Why an occurrence did not run before the next one was due: it waited for another run, or nobody was there."""
        ahead = next((run for run in self.snapshot.runs if _spans(run, occurrence)), None)
        if ahead:
            return missed(Reason.CONCURRENCY_FORBIDDEN, f"it waited for {ahead.name} until the next one was due")
        if self.status.phase == WAITING:
            return missed(Reason.WINDOW_CLOSED, "its window had not opened when the next one was due")
        return missed(Reason.OPERATOR_DOWN, "nobody was there to start it in its time")

    def obstacle(self, spec: BackupSpec, timetable: Timetable, due: datetime) -> Cause | Waiting | None:
        """Why an occurrence may not start any more, or for what it waits; None while it may."""
        late = (self.snapshot.now - timetable.start_of(due)).total_seconds()
        deadline = spec.starting_deadline_seconds
        if deadline is not None and late > deadline:
            return missed(Reason.DEADLINE_EXCEEDED, f"{late:.0f}s late, startingDeadlineSeconds is {deadline}")
        if self.problem:
            return missed(Reason.INVALID_SPEC, self.problem.message)
        namespace = self.snapshot.resource["metadata"]["namespace"]
        return verdict(spec.windows, self.snapshot.surroundings, namespace, self.snapshot.now)

    def waking(self, time: datetime) -> "_Plan":
        """Deciding again at this time at the latest."""
        return replace(self, wake_at=min(time, self.wake_at or time))

    def recording(self, *unrun: OccurrenceRecord) -> "_Plan":
        """Take records of occurrences that did not run into the ledger."""
        return replace(self, ledger=self.ledger.with_records(*unrun))

    def begun(self, occasion: Occasion) -> bool:
        """Whether there was a run for this already: its Job or what is known of it says so."""
        owner = Identity.of(self.snapshot.resource)
        name = run_name(owner.name, owner.uid, occasion)
        return any(name == run.name for run in self.snapshot.runs) or self.ledger.mentions(name)

    def handling(self, schedule: str, occurrence: datetime) -> "_Plan":
        """Occurrences of the schedule are accounted for up to this one."""
        return replace(self, handled={**(self.handled or {}), schedule: occurrence})

    def starting(self, spec: BackupSpec, occasion: Occasion) -> "_Plan":
        """Start a run."""
        owner = Identity.of(self.snapshot.resource)
        verified = self.proofs.remembered.get("last_verified") or self.status.last_verified
        start = StartRun(
            owner=owner,
            name=run_name(owner.name, owner.uid, occasion),
            occasion=occasion,
            work=backup_work(
                owner,
                spec,
                occasion.schedule,
                verified=verified,
                departed=self.departed,
                known=self.proofs.snapshots,
            ),
        )
        event = Announce(type=EventType.NORMAL, reason="RunStarted", message=f"{start.name}: {occasion.schedule}")
        return replace(self, starts=(*self.starts, start), events=(*self.events, event))

    def decision(self, spec: BackupSpec, timetables: Sequence[Timetable]) -> Decision:
        """The plan as a decision."""
        now = self.snapshot.now
        upcoming = {each.name: None if spec.suspend else each.next_after(now) for each in timetables}
        following = min((time for time in upcoming.values() if time), default=None)
        schedules = [self._schedule(each, upcoming) for each in timetables]
        since = (self.status.suspended_since or write_instant(now)) if spec.suspend else None
        grace = spec.timeout if spec.overdue_after is None else spec.overdue_after
        lateness = Lateness.at(now, [] if spec.suspend else timetables, schedules, grace)
        overdue = lateness.fact(suspended=since, grace=grace)
        status = self._status(
            phase=self._phase(spec, overdue),
            problem=self.problem or self._refused,
            suspended_since=since,
            upcoming=following,
            schedules=schedules,
            overdue=(overdue,),
        )
        alarms = [] if spec.suspend else [each.due(now).wake_at for each in timetables]
        alarms.append(lateness.wake_at)
        return Decision(
            status=status,
            actions=self.starts,
            events=(
                *self.events,
                *self.ledger.announcements,
                *self.proofs.announcements,
                *overdue_news(self.status.conditions, overdue),
            ),
            cleanup=expired_jobs(
                self.snapshot.runs,
                recorded=self.ledger.covers,
                good=spec.successful_runs_history_limit,
                bad=spec.failed_runs_history_limit,
            ),
            wake_at=min((time for time in (*alarms, self.wake_at) if time), default=None),
        )

    @property
    def _refused(self) -> Problem | None:
        return Problem(reason="Refused", message=self.snapshot.refusal) if self.snapshot.refusal else None

    def _phase(self, spec: BackupSpec, overdue: Fact) -> str:
        phase = SUSPENDED if spec.suspend else OVERDUE if overdue.status else "Scheduled"
        phase = WAITING if self.waiting else phase
        phase = "Running" if self.busy else phase
        phase = "Refused" if self._refused else phase
        return "Invalid" if self.problem else phase

    def stalled(self, problem: Problem) -> Decision:
        """A spec that cannot be read starts nothing; what runs is followed to its end."""
        status = self._status(
            phase="Invalid",
            problem=problem,
            suspended_since=self.status.suspended_since,
            upcoming=None,
            schedules=self.status.schedules,
            overdue=remembered(self.status.conditions),
        )
        events = (*self.ledger.announcements, *self.proofs.announcements)
        return Decision(status=status, events=events, wake_at=self.wake_at)

    def _schedule(self, timetable: Timetable, upcoming: Mapping[str, datetime | None]) -> BackupScheduleStatus:
        known = next((each for each in self.status.schedules if each.name == timetable.name), None)
        handled = (self.handled or {}).get(timetable.name)
        return BackupScheduleStatus(
            name=timetable.name,
            next_schedule_time=write_optional(upcoming[timetable.name]),
            last_schedule_time=write_optional(handled) or (known.last_schedule_time if known else None),
            last_successful_time=self.proofs.successes.get(timetable.name)
            or (known.last_successful_time if known else None),
            schedule_anchor=timetable.anchor,
        )

    def _status(
        self,
        *,
        phase: str,
        problem: Problem | None,
        suspended_since: str | None,
        upcoming: datetime | None,
        schedules: Sequence[BackupScheduleStatus],
        overdue: Sequence[Fact],
    ) -> BackupStatus:
        generation = int(self.snapshot.resource["metadata"].get("generation") or 0)
        handled = max((self.handled or {}).values(), default=None)
        return self.status.model_copy(
            update={
                **self.ledger.with_begun(self.starts, self.snapshot.now).remembered(),
                **self.proofs.remembered,
                "capacity": capacity(self.status.capacity, self.proofs.sizes),
                "observed_generation": generation,
                "phase": phase,
                "conditions": merge(
                    self.status.conditions,
                    [*self._facts(problem, phase, upcoming, suspended=suspended_since is not None), *overdue],
                    generation=generation,
                    now=self.snapshot.now,
                ),
                "next_schedule_time": write_optional(upcoming),
                "last_schedule_time": write_optional(handled) or self.status.last_schedule_time,
                "last_manual_run": self.token or self.status.last_manual_run,
                "suspended_since": suspended_since,
                "schedules": schedules,
                "active": [
                    *self.ledger.uncovered(self.snapshot.runs),
                    *(start.name for start in self.starts),
                ][:_MAX_ACTIVE],
            }
        )

    def _facts(
        self, problem: Problem | None, phase: str, upcoming: datetime | None, *, suspended: bool
    ) -> Sequence[Fact]:
        stuck = next((run for run in self.snapshot.runs if run.trouble), None)
        if problem is None and stuck and stuck.trouble:
            problem = Problem(reason=stuck.trouble.reason, message=f"{stuck.name}: {stuck.trouble.message}")
        message = f"next run at {write_instant(upcoming)}" if upcoming else "nothing is scheduled"
        message = self.waiting.message if self.waiting else message
        facts = readiness(problem, reason=phase, message="suspended" if suspended else message)
        return [
            *facts,
            *last_run_fact(self.ledger, self.status.conditions),
            *self.proofs.facts(self.status.conditions, tested=self.tested),
        ]


def _declared(spec: BackupSpec) -> list[tuple[str, Declaration]]:
    """The schedules by name, what proves the backups, what removes the old ones, and what copies them."""
    crons = [(schedule.name, schedule.schedule) for schedule in spec.schedules]
    if spec.verify.integrity:
        crons.append((INTEGRITY, spec.verify.integrity.schedule))
    if spec.verify.restore_test:
        crons.append((RESTORE_TEST, spec.verify.restore_test.schedule))
    if spec.verify.full_restore:
        crons.append((FULL_RESTORE, spec.verify.full_restore.schedule))
    if spec.prune:
        crons.append((PRUNE, spec.prune.schedule))
    if spec.cold_copy:
        crons.append((COLD_COPY, spec.cold_copy.schedule))
    return [(name, Declaration(cron=cron, zone=spec.time_zone, exclusions=spec.exclusions)) for name, cron in crons]


def _spans(run: Run, instant: datetime) -> bool:
    return run.created <= instant and (run.finished is None or run.finished > instant)


def _scheduled(schedule: str, time: datetime) -> Occasion:
    return Occasion(trigger=Trigger.SCHEDULE, schedule=schedule, scheduled=time)


def _mark(snapshot: BackupSnapshot, known: Recollection[BackupStatus], name: str) -> Mark:
    """What is remembered of one schedule; one that is added later counts from when it was first seen."""
    before = next((each for each in known.status.schedules if each.name == name), None)
    mark = Mark.of(known, snapshot.resource, anchor=before.schedule_anchor if before else None, now=snapshot.now)
    return replace(mark, handled=before.last_schedule_time if before else None)


def _timetables(snapshot: BackupSnapshot, spec: BackupSpec, known: Recollection[BackupStatus]) -> list[Timetable]:
    timetables = []
    for name, declaration in _declared(spec):
        schedule = declaration.schedule()
        if schedule is None:
            continue
        anchor, since = _mark(snapshot, known, name).anchored(declaration, snapshot.now)
        uid = snapshot.resource["metadata"]["uid"]
        timetables.append(Timetable(schedule=schedule, anchor=anchor, since=since, uid=uid, name=name))
    return timetables
