"""The verification of an opening: a run of its checks, repeated where the window says so."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from upkeep.api.window import Verification, VerifyFailure, WindowOccurrence, WindowPhase, WindowSpec
from upkeep.domain.decision import EventType
from upkeep.domain.history import LOST_MESSAGE, settled
from upkeep.domain.instants import read_optional, write_instant
from upkeep.domain.window.ownrun import own_run
from upkeep.domain.window.rollback import wanted
from upkeep.domain.window.stage import Stage
from upkeep.domain.work import steps_work

VERIFICATION: Final = "verify"
RETRY: Final = timedelta(seconds=60)
"""Between two verifications while users are kept on the page."""


def due(spec: WindowSpec, occurrence: WindowOccurrence) -> Verification | None:
    """The verification that is still to be made; None where there is none, or its verdict stands."""
    verify = spec.verify
    if verify is None or occurrence.verified:
        return None
    if occurrence.verified is None or verify.on_failure is VerifyFailure.KEEP_PAGE:
        return verify
    undone = verify.on_failure is VerifyFailure.ROLLBACK and wanted(spec, occurrence)
    return verify if undone and occurrence.verifications == 1 else None


def verified(stage: Stage, spec: WindowSpec, verify: Verification) -> Stage:
    """Run the verification, and note how it went."""
    stage = replace(stage, phase=WindowPhase.VERIFYING)
    last = read_optional(stage.current.verified_at)
    if last and verify.on_failure is VerifyFailure.KEEP_PAGE and stage.now < last + RETRY:
        return stage.waking(last + RETRY)
    number = stage.current.verifications + 1
    part = VERIFICATION if number == 1 else f"{VERIFICATION}-{number}"
    check = own_run(stage.snapshot, stage.start, part)
    run = check.found(stage.snapshot)
    if run is None and stage.current.verification_job == check.name:
        return _judged(stage, passed=False, message=LOST_MESSAGE)
    if run is None:
        work = steps_work(check.owner, verify.steps, spec.connections, verify.timeout)
        return stage.doing(check.start(work)).becoming(verification_job=check.name)
    if not settled(run, stage.now):
        return stage.becoming(verification_job=check.name)
    passed = run.outcome is not None and run.outcome.good
    return _judged(stage, passed=passed, message=f"{run.name}: {run.message}")


def _judged(stage: Stage, *, passed: bool, message: str) -> Stage:
    if not passed:
        stage = stage.saying("VerificationFailed", message, EventType.WARNING)
    return stage.becoming(
        verified=passed,
        verifications=stage.current.verifications + 1,
        verified_at=write_instant(stage.now),
        verification_job=None,
    ).waking(stage.now)
