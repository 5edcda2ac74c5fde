"""The verified backups that a window requires: made not too long ago, restored in a test, and found good.

What counts is the age of the backup, not of its test: a test that passed an hour ago on a backup of last week proves
that a week of data would be lost.
"""

from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError

from upkeep.actions.fields import format_duration
from upkeep.api.backup import BackupSpec, BackupStatus, LastVerified
from upkeep.api.window.gating import VerifiedBackup
from upkeep.domain.conditions import Problem
from upkeep.domain.instants import read_instant
from upkeep.domain.proof import VERIFIED
from upkeep.domain.recollection import recall
from upkeep.domain.window.held import Held
from upkeep.domain.window.snapshot import Manifest, WindowSnapshot

NOT_VERIFIED: Final = "BackupNotVerified"


def unverified(snapshot: WindowSnapshot, wanted: Sequence[VerifiedBackup]) -> Held | None:
    """What holds an opening back for want of a verified backup; None where all are there.

    It is asked again when a policy has been proven, and not before: time only makes backups older.
    """
    for each in wanted:
        policy = snapshot.policies.get(each.name)
        lack = _lack(snapshot, each, policy) if policy else _absent(each.name)
        if lack:
            return Held(reason=NOT_VERIFIED, message=lack)
    return None


def backups_problem(snapshot: WindowSnapshot, wanted: Sequence[VerifiedBackup]) -> Problem | None:
    """What can be said long before an opening: a policy is not there, or never tests a restore."""
    for each in wanted:
        policy = snapshot.policies.get(each.name)
        if policy is None:
            return Problem(reason="BackupPolicyNotFound", message=_absent(each.name))
        if not _tests(policy):
            message = (
                f"BackupPolicy {each.name!r} has no verify.restoreTest, so that it never has a verified backup: "
                "add one, or do not require it"
            )
            return Problem(reason="BackupNeverVerified", message=message)
    return None


def _lack(snapshot: WindowSnapshot, wanted: VerifiedBackup, policy: Manifest) -> str | None:
    status = recall(BackupStatus, policy.get("status")).status
    ask = (
        f"`kubectl annotate bp {wanted.name} upkeep.dev/run-now=restore-test/$(date +%s)` tests the newest one at once"
    )
    verdict = next((condition for condition in status.conditions if condition.type == VERIFIED), None)
    if verdict and verdict.status == "False":
        why = verdict.message[:300]
        return f"the last restore test of BackupPolicy {wanted.name!r} failed: {why}; mend it, then {ask}"
    if status.last_verified is None:
        return f"no backup of BackupPolicy {wanted.name!r} has passed a restore test yet: {ask}"
    age = snapshot.now - read_instant(status.last_verified.snapshot_time)
    if age <= wanted.max_age:
        return None
    return (
        f"the newest verified backup of BackupPolicy {wanted.name!r}, {_named(status.last_verified)}, is older than "
        f"{format_duration(wanted.max_age)}; make a newer one, then {ask}"
    )


def _named(verified: LastVerified) -> str:
    return f"snapshot {verified.snapshot} of {verified.snapshot_time}"


def _absent(name: str) -> str:
    return f"BackupPolicy {name!r} does not exist in this namespace: create it"


def _tests(policy: Manifest) -> bool:
    try:
        return BackupSpec.model_validate(policy.get("spec")).verify.tested
    except ValidationError:
        return True  # what is wrong with it, the policy itself says
