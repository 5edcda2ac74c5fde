"""Whether a named person has approved an opening: who may, who did, and what an approval is worth.

An approval stands in annotations of the window. That nobody can write it in the name of another, the
ValidatingAdmissionPolicy of the installation sees to; where that is missing no approval counts. It is for one opening
and for one generation of the spec: whatever is changed afterwards has to be approved again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from upkeep.api.status import Trigger
from upkeep.api.window import ApprovalStatus, Urgency, WindowOccurrence, WindowSpec, WindowStatus
from upkeep.domain.account import Cause, Reason, skipped
from upkeep.domain.conditions import Problem
from upkeep.domain.instants import write_instant
from upkeep.domain.openings import Opening
from upkeep.domain.recollection import recall
from upkeep.domain.window.held import Held
from upkeep.domain.window.snapshot import WindowSnapshot

APPROVED_BY: Final = "upkeep.dev/approved-by"
APPROVED_OCCURRENCE: Final = "upkeep.dev/approved-occurrence"
APPROVED_GENERATION: Final = "upkeep.dev/approved-generation"

AWAITING_APPROVAL: Final = "AwaitingApproval"
POLICY_MISSING: Final = "ApprovalPolicyMissing"
UNTRUSTED: Final = (
    "approvals and ticks are not protected against forgery here, so none counts: install Upkeep with "
    "approval.policy.enabled=true (Kubernetes 1.30 or newer)"
)
WHOAMI: Final = "$(kubectl auth whoami -o jsonpath='{.status.userInfo.username}')"
"""What a shell replaces by the name that the API server knows its user by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endorsement:
    """What stands in the annotations: who approved which opening of which generation of the spec."""

    by: str
    occurrence: str
    generation: str

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> Self | None:
        """The approval of a window; None where there is none, or only a part of one."""
        found = annotations_of(resource)
        by, occurrence, generation = (
            found.get(name, "") for name in (APPROVED_BY, APPROVED_OCCURRENCE, APPROVED_GENERATION)
        )
        return cls(by=by, occurrence=occurrence, generation=generation) if by and occurrence and generation else None

    @property
    def annotations(self) -> dict[str, str]:
        """As it is written on a window."""
        values = (self.by, self.occurrence, self.generation)
        return dict(zip((APPROVED_BY, APPROVED_OCCURRENCE, APPROVED_GENERATION), values, strict=True))


def annotations_of(resource: Mapping[str, Any]) -> Mapping[str, str]:
    """The annotations of an object; those that are no text are left out."""
    found = resource["metadata"].get("annotations") or {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def generation_of(resource: Mapping[str, Any]) -> int:
    """The generation of a window's spec."""
    return int(resource["metadata"].get("generation") or 0)


def required(spec: WindowSpec) -> bool:
    """Whether a window opens only when somebody has approved it."""
    return spec.approval is not None and spec.approval.required


def lacking(snapshot: WindowSnapshot, spec: WindowSpec, start: datetime) -> Problem | None:
    """Why the opening at `start` is not approved, and what to do; None where it is, or needs no approval."""
    if not required(spec):
        return None
    if not snapshot.approvals_trusted:
        message = "approvals are not protected against forgery here, so none counts: install Upkeep with "
        return Problem(
            reason=POLICY_MISSING, message=f"{message}approval.policy.enabled=true (Kubernetes 1.30 or newer)"
        )
    found, advice = Endorsement.of(snapshot.resource), _advice(snapshot, spec, start)
    if found is None or found.occurrence != write_instant(start):
        other = f"; {found.by} approved the opening of {found.occurrence}" if found else ""
        return Problem(reason=AWAITING_APPROVAL, message=f"nobody has approved it yet{other}. {advice}")
    generation = generation_of(snapshot.resource)
    if found.generation != str(generation):
        changed = f"{found.by} approved generation {found.generation}, but the window was changed since"
        return Problem(reason="ChangedSinceApproval", message=f"{changed}: approve it again. {advice}")
    if spec.approval and spec.approval.approvers and found.by not in spec.approval.approvers:
        return Problem(reason="ApproverNotListed", message=f"{found.by} is not among its approvers. {advice}")
    return None


def approval_gate(snapshot: WindowSnapshot, spec: WindowSpec, opening: Opening) -> Held | Cause | None:
    """Hold an opening back until it is approved, which has to be before its start.

    An emergency, or what is started by hand, has no time before its start: it can be approved as long as it could be
    open.
    """
    problem = lacking(snapshot, spec, opening.start)
    if problem is None:
        return None
    at_once = spec.urgency is Urgency.EMERGENCY or _started_by_hand(snapshot)
    deadline = opening.end if at_once else opening.start
    if snapshot.now < deadline:
        return Held(reason=problem.reason, message=problem.message, wake_at=deadline)
    return skipped(Reason.NOT_APPROVED, f"it was not approved until {write_instant(deadline)}: {problem.reason}")


def _started_by_hand(snapshot: WindowSnapshot) -> bool:
    """Whether somebody asked for the opening under way; its status is written before its gates are asked."""
    occurrence = recall(WindowStatus, snapshot.resource.get("status")).status.occurrence
    return occurrence is not None and occurrence.closed_at is None and occurrence.trigger is Trigger.MANUAL


def approval_status(
    snapshot: WindowSnapshot, spec: WindowSpec, known: ApprovalStatus | None, start: datetime
) -> ApprovalStatus | None:
    """Where the approval of the opening at `start` stands; None where it needs none."""
    if not required(spec):
        return None
    found = Endorsement.of(snapshot.resource)
    if found is None or lacking(snapshot, spec, start):
        return ApprovalStatus(occurrence=write_instant(start))
    fresh = ApprovalStatus(
        occurrence=write_instant(start),
        approved_by=found.by,
        approved_at=write_instant(snapshot.now),
        generation=generation_of(snapshot.resource),
    )
    same = known is not None and known.model_copy(update={"approved_at": fresh.approved_at}) == fresh
    return known if same else fresh


def changed_since(
    snapshot: WindowSnapshot, spec: WindowSpec, occurrence: WindowOccurrence, start: datetime
) -> Problem | None:
    """Why an open window may not start anything more: it is not any more what was approved. None where it may."""
    if occurrence.approved_generation in {None, generation_of(snapshot.resource)}:
        return None
    return lacking(snapshot, spec, start)


def _advice(snapshot: WindowSnapshot, spec: WindowSpec, start: datetime) -> str:
    """Who may approve, what, and how exactly."""
    listed = ", ".join(spec.approval.approvers) if spec.approval else ""
    who = listed or "whoever has the verb approve on it"
    identity, change = snapshot.identity, spec.change
    endorsement = Endorsement(
        by=WHOAMI, occurrence=write_instant(start), generation=str(generation_of(snapshot.resource))
    )
    values = " ".join(f"{name}={value}" for name, value in endorsement.annotations.items())
    command = f"kubectl -n {identity.namespace} annotate mw {identity.name} --overwrite {values}"
    short = f"kubectl upkeep approve {identity.name} -n {identity.namespace} --occurrence {endorsement.occurrence}"
    told = ""
    if change:
        risk = f"{change.risk} risk" if change.risk else ""
        told = f" What for: {', '.join(part for part in (change.ticket, risk, change.reason) if part)[:200]}."
    return f"{who} can: {short}; or without the plugin: {command}.{told}"
