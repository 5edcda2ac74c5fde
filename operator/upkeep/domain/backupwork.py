"""What the Job of a policy's run has to contain: a backup, a check of the repository, a test, a removal, or a copy.

A Job gets only what it needs. The restore test runs what was in a database, so that it has no credentials of the
source, and a repository that it can only read. The cold copy has not even the repository's password.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypedDict

from upkeep.actions.backup.coldcopy import COLD_NAME, BackupColdCopy
from upkeep.actions.backup.files import BackupFiles
from upkeep.actions.backup.filestest import BackupFilesTest
from upkeep.actions.backup.integrity import BackupIntegrity
from upkeep.actions.backup.objects import BackupObjects
from upkeep.actions.backup.objectstest import BackupObjectsTest
from upkeep.actions.backup.physical import BackupPhysical
from upkeep.actions.backup.physicaltest import BackupPhysicalTest
from upkeep.actions.backup.postgres import BackupPostgres
from upkeep.actions.backup.prune import BackupPrune
from upkeep.actions.backup.redis import BackupRedis
from upkeep.actions.backup.redistest import BackupRedisTest
from upkeep.actions.backup.repository import CREDENTIALS_NAME, Repository
from upkeep.actions.backup.restoretest import BackupRestoreTest
from upkeep.actions.backup.retention import ScheduleRetention
from upkeep.actions.backup.sanity import Previous, Sanity
from upkeep.actions.connections import Connection
from upkeep.actions.contract import Action
from upkeep.api.backup import (
    FULL_RESTORE,
    INTEGRITY,
    PRUNE,
    RESTORE_TEST,
    BackupSpec,
    FullRestore,
    LastVerified,
    RestoreTest,
    StoredBackup,
)
from upkeep.api.backupsource import BackupSource
from upkeep.api.coldcopy import COLD_COPY, ColdCopy
from upkeep.domain.identity import Identity
from upkeep.domain.order import OUTPUT_DIRECTORY, OUTPUT_VARIABLE, OrderedStep, RunOrder
from upkeep.domain.origins import access
from upkeep.domain.work import MEMORY, Access, Work

SOURCE: Final = "source"
"""Name under which the Secret of the source is mounted."""
VOLUME: Final = "/var/run/upkeep/source"
"""Where the volume of the source is mounted."""


def backup_work(
    owner: Identity,
    spec: BackupSpec,
    schedule: str,
    *,
    verified: LastVerified | None,
    departed: Sequence[str] = (),
    known: Sequence[StoredBackup] = (),
) -> Work:
    """The work of one schedule of a policy, of its integrity check, of its restore test, of the removal, or of a copy.

    Args:
        owner: the policy.
        spec: what it says.
        schedule: name of the schedule, or the name under which one of the others stands beside them.
        verified: the last restore test that was passed, of which the removal keeps the snapshot.
        departed: names of Jobs of the policy that have ended.
        known: the good backups, newest first; the next one must not be much smaller than the first of them.
    """
    reached, test = access(spec, departed=departed), _test(spec, schedule)
    if schedule == COLD_COPY and spec.cold_copy:
        return _copying(owner, spec, spec.cold_copy, reached, known)
    last = next(iter(known), None)
    action = _action(owner, spec, schedule, verified, reached.repository, last)
    step = OrderedStep(name=schedule, action_name=type(action).action_name, action=action)
    work = Work(
        content=RunOrder(owner=str(owner), timeout=spec.timeout, steps=[step]),
        timeout=spec.timeout,
        secrets=reached.secrets,
        claims=reached.claims,
        only_reads=schedule in {RESTORE_TEST, FULL_RESTORE},
        scratch=test.scratch_size if test else spec.scratch_size,
        user=spec.source.user,
        memory=test.memory if test else MEMORY,
    )
    return work if schedule in {INTEGRITY, RESTORE_TEST, FULL_RESTORE, PRUNE} else _with_source(work, spec.source)


def _copying(owner: Identity, spec: BackupSpec, copy: ColdCopy, reached: Access, known: Sequence[StoredBackup]) -> Work:
    """The work of a copy to cold storage: it reads the repository as it is, and understands nothing of it."""
    action = BackupColdCopy(
        repository=reached.repository.model_copy(update={"password_secret_ref": None}),
        target=copy.s3,
        storage_class=copy.storage_class,
        keep_for=copy.keep_for,
        limit_upload=copy.limit_upload,
        known=[each.snapshot for each in known],
    )
    step = OrderedStep(name=COLD_COPY, action_name=action.action_name, action=action)
    secrets = {name: secret for name, secret in reached.secrets.items() if name != CREDENTIALS_NAME}
    return Work(
        content=RunOrder(owner=str(owner), timeout=spec.timeout, steps=[step]),
        timeout=spec.timeout,
        secrets={**secrets, COLD_NAME: copy.s3.secret_ref.name},
        claims=reached.claims,
        only_reads=True,
        user=spec.source.user,
    )


def _with_source(work: Work, source: BackupSource) -> Work:
    """The work of a backup, with what it needs to read its source."""
    server = source.postgres or source.redis
    if server:
        order = work.content.model_copy(update={"connections": [_connection(source)]})
        own = {SOURCE: server.secret_name} if server.secret_name else {}
        return replace(work, content=order, secrets={**work.secrets, **own})
    if source.files:
        return replace(work, sources={VOLUME: source.files.claim_name})
    if source.command:
        return replace(work, preparation=source.command)
    account = source.objects.service_account_name if source.objects else None
    return replace(work, service_account=account)


def _connection(source: BackupSource) -> Connection:
    if source.redis:
        return Connection(name=SOURCE, redis=source.redis)
    return Connection(name=SOURCE, postgres=source.postgres.target if source.postgres else None)


def _test(spec: BackupSpec, schedule: str) -> RestoreTest | FullRestore | None:
    """The restore test of this name; None where it is another run."""
    if schedule == FULL_RESTORE:
        return spec.verify.full_restore
    return spec.verify.restore_test if schedule == RESTORE_TEST else None


def _action(
    owner: Identity,
    spec: BackupSpec,
    schedule: str,
    verified: LastVerified | None,
    repository: Repository,
    last: StoredBackup | None,
) -> Action:
    policy = f"{owner.namespace}/{owner.name}"
    check, test = spec.verify.integrity, _test(spec, schedule)
    if schedule == INTEGRITY:
        return BackupIntegrity(repository=repository, read_data_subset=check.read_data_subset if check else "5%")
    if test:
        return _trial(spec.source, test, repository, policy)
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
            tested=spec.verify.tested,
            dry_run=spec.prune.dry_run,
        )
    previous = Previous(snapshot=last.snapshot, bytes=last.bytes) if last else None
    making = _Making(repository=repository, policy=policy, schedule=schedule, sanity=spec.sanity, previous=previous)
    incremental = any(each.incremental for each in spec.schedules if each.name == schedule)
    return _backup(spec.source, making, incremental=incremental)


class _Making(TypedDict):
    """What all backups are told."""

    repository: Repository
    policy: str
    schedule: str
    sanity: Sanity
    previous: Previous | None


def _backup(source: BackupSource, making: _Making, *, incremental: bool) -> Action:
    if source.files:
        origin, paths, exclude = f"volume {source.files.claim_name}", source.files.paths, source.files.exclude
        return BackupFiles(root=VOLUME, origin=origin, paths=paths, exclude=exclude, **making)
    if source.command:
        return BackupFiles(root=OUTPUT_DIRECTORY, origin=f"what the command left in ${OUTPUT_VARIABLE}", **making)
    if source.objects:
        return BackupObjects(kinds=source.objects.kinds, **making)
    if source.postgres is None:
        return BackupRedis(connection=SOURCE, **making)
    if source.physical:
        return BackupPhysical(connection=SOURCE, incremental=incremental, **making)
    return BackupPostgres(
        connection=SOURCE,
        databases=source.postgres.databases or [],
        exclude_databases=source.postgres.exclude_databases or [],
        jobs=source.postgres.jobs,
        **making,
    )


def _trial(source: BackupSource, test: RestoreTest | FullRestore, repository: Repository, policy: str) -> Action:
    if source.redis and isinstance(test, RestoreTest):
        return BackupRedisTest(repository=repository, policy=policy, keys=test.keys)
    if source.objects:
        return BackupObjectsTest(repository=repository, policy=policy, kinds=source.objects.kinds)
    if isinstance(test, RestoreTest) and (source.files or source.command):
        return BackupFilesTest(repository=repository, policy=policy, files=test.files)
    if source.physical:
        queries, timeout = test.queries, test.query_timeout
        return BackupPhysicalTest(repository=repository, policy=policy, queries=queries, query_timeout=timeout)
    return BackupRestoreTest(
        repository=repository,
        policy=policy,
        queries=test.queries,
        query_timeout=test.query_timeout,
        database=source.postgres.database if source.postgres else None,
        jobs=source.postgres.jobs if source.postgres else 1,
        full=isinstance(test, FullRestore),
    )
