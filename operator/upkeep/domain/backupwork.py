"""What the Job of a policy's run has to contain: a backup, a check of the repository, a restore test, or a removal.

A Job gets only what it needs. The restore test runs what was in a database, so that it has no credentials of the
source, and a repository that it can only read.
"""

from collections.abc import Sequence
from typing import Final

from upkeep.actions.backup.integrity import BackupIntegrity
from upkeep.actions.backup.postgres import BackupPostgres
from upkeep.actions.backup.prune import BackupPrune
from upkeep.actions.backup.repository import Repository
from upkeep.actions.backup.restoretest import BackupRestoreTest
from upkeep.actions.backup.retention import ScheduleRetention
from upkeep.actions.backup.sanity import Previous
from upkeep.actions.connections import Connection
from upkeep.actions.contract import Action
from upkeep.api.backup import INTEGRITY, PRUNE, RESTORE_TEST, BackupSpec, LastVerified, StoredBackup
from upkeep.domain.identity import Identity
from upkeep.domain.order import OrderedStep, RunOrder
from upkeep.domain.origins import access
from upkeep.domain.work import MEMORY, Work

SOURCE: Final = "source"
"""Name under which the Secret of the source is mounted."""


def backup_work(
    owner: Identity,
    spec: BackupSpec,
    schedule: str,
    *,
    verified: LastVerified | None,
    departed: Sequence[str] = (),
    last: StoredBackup | None = None,
) -> Work:
    """The work of one schedule of a policy, of its integrity check, of its restore test, or of the removal.

    Args:
        owner: the policy.
        spec: what it says.
        schedule: name of the schedule, or the name under which one of the others stands beside them.
        verified: the last restore test that was passed, of which the removal keeps the snapshot.
        departed: names of Jobs of the policy that have ended.
        last: the last good backup, than which the next one must not be much smaller.
    """
    reached, test = access(spec, departed=departed), spec.verify.restore_test
    connections: list[Connection] = []
    secrets = dict(reached.secrets)
    if schedule not in {INTEGRITY, RESTORE_TEST, PRUNE} and spec.source.postgres:
        connections = [Connection(name=SOURCE, postgres=spec.source.postgres)]
        secrets |= {SOURCE: spec.source.postgres.secret_ref.name}
    action = _action(owner, spec, schedule, verified, reached.repository, last)
    step = OrderedStep(name=schedule, action_name=type(action).action_name, action=action)
    return Work(
        content=RunOrder(owner=str(owner), timeout=spec.timeout, steps=[step], connections=connections),
        timeout=spec.timeout,
        secrets=secrets,
        claims=reached.claims,
        only_reads=schedule == RESTORE_TEST,
        scratch=test.scratch_size if test and schedule == RESTORE_TEST else spec.scratch_size,
        memory=MEMORY,
    )


def _action(
    owner: Identity,
    spec: BackupSpec,
    schedule: str,
    verified: LastVerified | None,
    repository: Repository,
    last: StoredBackup | None,
) -> Action:
    policy = f"{owner.namespace}/{owner.name}"
    check, test = spec.verify.integrity, spec.verify.restore_test
    if schedule == INTEGRITY:
        return BackupIntegrity(repository=repository, read_data_subset=check.read_data_subset if check else "5%")
    if schedule == RESTORE_TEST and test:
        queries, timeout = test.queries, test.query_timeout
        return BackupRestoreTest(repository=repository, policy=policy, queries=queries, query_timeout=timeout)
    if schedule == PRUNE and spec.prune:
        return BackupPrune(
            repository=repository,
            policy=policy,
            retentions=[
                ScheduleRetention(schedule=each.name, retention=each.retention)
                for each in spec.schedules
                if each.retention
            ],
            verified=verified.snapshot if verified else None,
            tested=test is not None,
            dry_run=spec.prune.dry_run,
        )
    return BackupPostgres(
        connection=SOURCE,
        repository=repository,
        policy=policy,
        schedule=schedule,
        sanity=spec.sanity,
        previous=Previous(snapshot=last.snapshot, bytes=last.bytes) if last else None,
    )
