"""The rotation of one credential, as steps that each leave a state from which any later run can go on.

Each step makes sure that what it is about to rely on works, and ends with one write of the Secret. Whatever the Secret
has given out and could still be in use stays good until the last step; a run that is killed anywhere leaves two good
credentials behind, or one. docs/decisions/rotation.md has the whole of it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from upkeep.actions.contract import ActionError, Outcome, Severity
from upkeep.actions.fields import format_duration
from upkeep.actions.kubernetes.session import ChangedError, Cluster
from upkeep.actions.rotate.deployment import Workload, demand_well, deploy
from upkeep.actions.rotate.kind import Credential
from upkeep.actions.rotate.record import Held, Phase, Record, fingerprint, read, write

_ATTEMPTS: Final = 20
"""More than a rotation has steps, a few of them done twice because somebody else has changed the Secret."""
_RESERVE: Final = 5.0
"""Seconds before the step's own deadline at which waiting ends, so that it can be said how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was asked for.

    Attributes:
        secret: name of the Secret.
        workloads: what reads it, restarted in this order.
        max_age: how old a credential has to be for a new one.
        grace: how long the old one stays good.
        timeout: how long each rollout may take.
        revoke_in_use: whether the old one is revoked although somebody uses it.
    """

    secret: str
    workloads: Sequence[Workload]
    max_age: timedelta
    grace: timedelta
    timeout: timedelta
    revoke_in_use: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that a person may want to act on: which check saw it, how much it matters, what to do."""

    check: str
    severity: Severity
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How far a run got."""

    outcome: Outcome
    message: str
    notes: Sequence[Note] = ()


@dataclass(slots=True, kw_only=True)
class Rotation:
    """One run of it: as far as it gets today."""

    api: Cluster
    credential: Credential
    plan: Plan
    remaining: float
    notes: list[Note] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    _begun: bool = False
    _old: str = ""
    _deadline: float = 0.0

    async def advance(self) -> End:
        """Go on from where the Secret says that it stands.

        Raises:
            ActionError: something has to be mended first; nothing that is in use has been taken away.
        """
        self._deadline = asyncio.get_running_loop().time() + self.remaining - _RESERVE
        async with self.credential.alone():
            for _ in range(_ATTEMPTS):
                held = await read(self.api, self.plan.secret)
                try:
                    result = await self._step(held)
                except ChangedError:
                    continue
                if result is not None:
                    return result
        msg = f"Secret {self.plan.secret!r} is changed by somebody else all the time: find out by whom, run this again"
        raise ActionError(msg)

    async def _step(self, held: Held) -> End | None:
        """One step; returns the result where nothing more is to be done now."""
        record = held.record
        if record is None:
            return await self._begin(held)
        if record.phase is Phase.PREPARED:
            return await self._switch(held, record)
        self._demand_ours(held, record)
        match record.phase:
            case Phase.SWITCHED:
                return await self._deliver(held, record)
            case Phase.GRACE:
                return await self._revoke(held, record)
            case Phase.REVOKED:
                return await self._finish(held, record)
            case Phase.RETURNING:
                return await self._return(held, record)

    async def _begin(self, held: Held) -> End | None:
        age = _now() - held.rotated
        if self._begun:
            return self._end(Outcome.CHANGED, "")
        if age < self.plan.max_age:
            due = held.rotated + self.plan.max_age
            told = f"the credential in Secret {held.name!r} is {_days(age)} old: it is replaced from {_shown(due)} on"
            return self._end(Outcome.CHANGED if self.done else Outcome.OK, told)
        await demand_well(self.api, self.plan.workloads)
        record, data = await self.credential.begin(held)
        await write(self.api, held, data=data, record=record)
        self._begun = True
        if held.manager:
            advice = f"let {held.manager} ignore its data, or its next sync puts the old credential back"
            self._note("gitops", Severity.WARNING, advice)
        return None

    async def _switch(self, held: Held, record: Record) -> End | None:
        fault, data = await self.credential.prepared(held, record)
        if fault:
            await write(self.api, held, data=data, record=None)
            message = (
                f"the new credential does not work, so the old one stays in use, and nothing was restarted: {fault}"
            )
            return self._end(Outcome.FAILED, message)
        await write(self.api, held, data=data, record=_at(record, Phase.SWITCHED))
        self._begun = True
        return None

    async def _deliver(self, held: Held, record: Record) -> End | None:
        fault = await self._deploy(record.token) or await self.credential.fault(held)
        if fault:
            return await self._turn_back(held, record, fault)
        now = _now()
        until = now + self.plan.grace
        await write(self.api, held, data={}, record=_at(record, Phase.GRACE, revoke_after=until), rotated=now)
        self._begun = True
        self.done.append(f"Secret {held.name!r} has a new credential, which works{self._restarted()}")
        return None

    async def _turn_back(self, held: Held, record: Record, fault: str) -> End | None:
        lost, data = await self.credential.way_back(held)
        if lost:
            message = f"{fault}; the old credential does not work either, so the new one stays: {lost}"
            return self._end(Outcome.FAILED, message)
        returning = _at(record, Phase.RETURNING, fingerprint=fingerprint(data[self.credential.key] or ""))
        await write(self.api, held, data=data, record=returning)
        self.done.append(f"the new credential did not do: {fault}")
        return None

    async def _return(self, held: Held, record: Record) -> End | None:
        fault = await self._deploy(f"{record.token}-back") or await self.credential.fault(held)
        if fault:
            return self._end(Outcome.FAILED, f"on the way back to the old credential: {fault}; both are good")
        if users := await self.credential.give_up(record):
            message = f"the old credential is in use again, but the new one is still used by {users}: restart them"
            return self._end(Outcome.FAILED, message)
        await write(self.api, held, data=self.credential.forgotten(held), record=None)
        return self._end(Outcome.FAILED, "the old credential is in use again, and all is well")

    async def _revoke(self, held: Held, record: Record) -> End | None:
        until = record.revoke_after or _now()
        if _now() < until:
            told = f"the old credential is good until {_shown(until)}: the first run after that revokes it"
            return self._end(Outcome.CHANGED if self.done else Outcome.OK, told)
        if fault := await self.credential.fault(held):
            message = f"the old credential was not revoked, because the new one does not work now: {fault}"
            return self._end(Outcome.FAILED, message)
        users = await self.credential.in_use(record)
        if users:
            advice = f"let {users} read Secret {held.name!r}, or set revokeInUse"
            self._note("in-use", Severity.WARNING, advice)
            if not self.plan.revoke_in_use:
                message = f"the old credential was not revoked, because it is still used by {users}"
                return self._end(Outcome.FAILED, message)
        if still := await self.credential.revoke(held, record):
            self._note("still-good", Severity.CRITICAL, still)
        if self.credential.redeploys:
            forgotten = self.credential.forgotten(held)
            self._old = next((held.value(key) for key in forgotten), "")
            await write(self.api, held, data=forgotten, record=_at(record, Phase.REVOKED))
            return None
        await write(self.api, held, data=self.credential.forgotten(held), record=None)
        self.done.append("the old credential is revoked")
        return None

    async def _finish(self, held: Held, record: Record) -> End | None:
        fault = await self._deploy(f"{record.token}-revoked") or await self.credential.fault(held)
        if fault:
            return self._end(Outcome.FAILED, f"after the old credential was taken out of the Secret: {fault}")
        if self._old and (still := await self.credential.still_good(self._old)):
            self._note("still-good", Severity.CRITICAL, still)
        await write(self.api, held, data={}, record=None)
        self.done.append("the old credential is revoked")
        return None

    async def _deploy(self, token: str) -> str:
        clock = asyncio.get_running_loop().time
        limit = min(clock() + self.plan.timeout.total_seconds(), self._deadline)
        fault = await deploy(self.api, self.plan.workloads, secret=self.plan.secret, token=token, limit=limit)
        if fault and clock() >= self._deadline:
            msg = f"the time of this step is over, the next run goes on ({fault}): give the step a longer timeout"
            raise ActionError(msg)
        return fault

    def _demand_ours(self, held: Held, record: Record) -> None:
        if fingerprint(held.value(self.credential.key)) != record.fingerprint:
            culprit = f" ({held.manager} writes it too)" if held.manager else ""
            msg = (
                f"Secret {held.name!r} does not give out the credential that the rotation has put there: somebody has "
                f"changed it since{culprit}; nothing is revoked. Let GitOps tools ignore its data, then remove the "
                "annotation upkeep.dev/rotation to begin anew"
            )
            raise ActionError(msg)

    def _restarted(self) -> str:
        names = ", ".join(map(str, self.plan.workloads))
        return f" ({names} restarted)" if names else ""

    def _note(self, check: str, severity: Severity, advice: str) -> None:
        self.notes.append(Note(check=check, severity=severity, advice=advice))

    def _end(self, outcome: Outcome, message: str) -> End:
        return End(outcome=outcome, message="; ".join(part for part in (*self.done, message) if part), notes=self.notes)


def _at(record: Record, phase: Phase, **changes: object) -> Record:
    return record.model_copy(update={"phase": phase, **changes})


def _now() -> datetime:
    return datetime.now(UTC)


def _shown(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _days(age: timedelta) -> str:
    return format_duration(timedelta(days=age.days)) if age.days else format_duration(age)
