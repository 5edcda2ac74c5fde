"""BackupPolicy: what to keep safe, and the proof."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.backup.expectation import RestoredQuery
from upkeep.actions.backup.filestest import ExpectedFiles
from upkeep.actions.backup.rate import Rate
from upkeep.actions.backup.redistest import ExpectedKeys
from upkeep.actions.backup.rest import RestLocation
from upkeep.actions.backup.retention import Retention
from upkeep.actions.backup.s3 import S3Location
from upkeep.actions.backup.sanity import Sanity
from upkeep.actions.connections import SecretReference
from upkeep.actions.fields import Duration, LabelName, Model, ObjectName, OneOf, Rule, Size
from upkeep.api.backupsource import BackupSource
from upkeep.api.coldcopy import COLD_COPY, ColdCopy, LastColdCopy
from upkeep.api.scheduling import CronExpression, Exclusions, Timestamp, TimeZone, WindowReferences
from upkeep.api.status import ResourceStatus, ScheduleAnchor
from upkeep.api.steps import BY_NAME, UNIQUE

INTEGRITY: Final = "integrity"
"""Name under which the integrity check stands beside the schedules."""
RESTORE_TEST: Final = "restore-test"
"""Name under which the restore test stands beside them."""
FULL_RESTORE: Final = "full-restore"
"""Name under which the full restore stands beside them."""
PRUNE: Final = "prune"
"""Name under which the removal of old backups stands beside them."""

MAX_MEASUREMENTS: Final = 14

_INSIDE: Final[Rule] = {"rule": "!self.path.contains('..')", "message": "path must not contain '..'"}
_FREE_NAMES: Final[Mapping[str, Rule]] = {
    name: {"rule": f"self.name != '{name}'", "message": f"the name '{name}' is taken by {field}"}
    for name, field in (
        (INTEGRITY, "verify.integrity"),
        (RESTORE_TEST, "verify.restoreTest"),
        (FULL_RESTORE, "verify.fullRestore"),
        (PRUNE, "spec.prune"),
        (COLD_COPY, "spec.coldCopy"),
    )
}
_ENFORCED: Final[Rule] = {
    "rule": "has(self.prune) || !self.schedules.exists(each, has(each.retention))",
    "message": "a retention does nothing by itself: say in prune.schedule when old backups are removed",
}
_ELSEWHERE: Final[Rule] = {
    "rule": "!has(self.coldCopy) || !has(self.repository.s3) || self.coldCopy.s3.bucket != self.repository.s3.bucket"
    " || self.coldCopy.s3.endpoint != self.repository.s3.endpoint",
    "message": "coldCopy.s3 is in the bucket of the repository: name another bucket, which does not go with that one",
}
_FITTING: Final[Mapping[str, Sequence[str]]] = {
    "queries": ("postgres",),
    "keys": ("redis",),
    "files": ("files", "command"),
}
"""What a restore test may expect, by the kinds of source that have it."""


class RepositoryVolume(Model):
    """A repository on a volume."""

    claim_name: ObjectName
    """PersistentVolumeClaim in the same namespace."""
    path: Annotated[str, Field(max_length=256, pattern=r"^[A-Za-z0-9._][A-Za-z0-9._/-]*$")] = "repository"
    """Directory of the repository on the volume."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """A path cannot leave its volume."""
        return (_INSIDE,)

    @model_validator(mode="after")
    def _stays_inside(self) -> Self:
        if ".." in self.path:
            raise ValueError(_INSIDE["message"])
        return self


class Repository(OneOf):
    """The restic repository that keeps the backups, encrypted and de-duplicated. It is made on first use."""

    password_secret_ref: SecretReference
    """Secret with the key `password`. Without this password no backup can ever be read again: keep it elsewhere
    too."""
    volume: RepositoryVolume | None = None
    """A repository on a PersistentVolumeClaim."""
    s3: S3Location | None = None
    """A repository in a bucket of Amazon S3, or of a server that speaks its protocol."""
    rest: RestLocation | None = None
    """A repository on a REST server of restic."""
    limit_upload: Rate | None = None
    """The most that is sent to it, in bytes a second. Left out: no limit."""
    limit_download: Rate | None = None
    """The most that is read from it, in bytes a second. Left out: no limit."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """Where the repository is."""
        return ("volume", "s3", "rest")

    @property
    def storage_secret(self) -> str | None:
        """Name of the Secret with the credentials of its server; None where there is none."""
        server = self.s3 or self.rest
        return server.secret_ref.name if server and server.secret_ref else None


class BackupSchedule(Model):
    """When a backup is made."""

    name: LabelName
    """Name of the schedule; it becomes a tag of its backups."""
    schedule: CronExpression
    """When, as a cron expression of five fields in the policy's timeZone."""
    retention: Retention | None = None
    """Which backups of this schedule are kept; `prune` removes the others. Left out: all of them, for ever."""
    incremental: bool = False
    """True: only what has changed since the policy's newest backup, which is kept for as long as this one. For
    postgres with method Physical, version 17 or newer, and summarize_wal on; where it cannot be had, a full one."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What proves the backups stands beside the schedules under names of its own."""
        return tuple(_FREE_NAMES.values())

    @model_validator(mode="after")
    def _has_a_free_name(self) -> Self:
        if self.name in _FREE_NAMES:
            raise ValueError(_FREE_NAMES[self.name]["message"])
        return self


_WHOLE: Final[Rule] = {
    "rule": "!(has(self.verify) && has(self.verify.fullRestore)) || has(self.source.postgres)",
    "message": "verify.fullRestore is for a source of postgres: use verify.restoreTest",
}
_IS_PHYSICAL: Final = "has(self.source.postgres) && self.source.postgres.method == 'Physical'"
_COMPARABLE: Final[Rule] = {
    "rule": f"!(has(self.verify) && has(self.verify.fullRestore)) || !({_IS_PHYSICAL})",
    "message": "verify.fullRestore compares dumps: with method Physical use verify.restoreTest, which reads every row",
}
_BY_BLOCKS: Final[Rule] = {
    "rule": f"!self.schedules.exists(each, has(each.incremental) && each.incremental) || ({_IS_PHYSICAL})",
    "message": "incremental is for a source of postgres with method Physical: remove it, or change the method",
}


class IntegrityCheck(Model):
    """`restic check`: the structure of the repository, and a part of its data read back."""

    schedule: CronExpression
    """When, as a cron expression of five fields in the policy's timeZone."""
    read_data_subset: Annotated[str, Field(max_length=8, pattern=r"^(100|[1-9]?[0-9])%$")] = "5%"
    """How much of the stored data is read back and checked each time, `0%` to `100%`."""


class RestoreTest(Model):
    """The newest backup, restored, compared with what was stored, and asked questions.

    PostgreSQL and Redis are restored into a throw-away server in the Pod of the test, which has no credentials but the
    repository's and cannot write to it.
    """

    schedule: CronExpression
    """When, as a cron expression of five fields in the policy's timeZone."""
    queries: Annotated[list[RestoredQuery], Field(max_length=32, json_schema_extra=BY_NAME), UNIQUE] = Field(
        default_factory=list
    )
    """What is asked of the restored database, beside the number of rows of every table, which is always compared."""
    query_timeout: Duration = Field(default="1m", validate_default=True)
    """How long each query may take."""
    keys: Annotated[list[ExpectedKeys], Field(max_length=32, json_schema_extra=BY_NAME), UNIQUE] = Field(
        default_factory=list
    )
    """Of a Redis: which keys must be there, beside the number of all keys, which is always compared."""
    files: Annotated[list[ExpectedFiles], Field(max_length=32, json_schema_extra=BY_NAME), UNIQUE] = Field(
        default_factory=list
    )
    """Of files, and of what a command leaves: which must be there. Their content is always compared."""
    scratch_size: Size = "30Gi"
    """Room for what is restored; for a database about three times its size."""
    memory: Size = "1Gi"
    """Memory of the Pod; a Redis has to fit into it."""


class FullRestore(Model):
    """A restore test of PostgreSQL that leaves nothing out.

    All rights of all roles come back, and every row of every table is compared with what was dumped, by checksums that
    were written down then.
    """

    schedule: CronExpression
    """When, as a cron expression of five fields in the policy's timeZone."""
    queries: Annotated[list[RestoredQuery], Field(max_length=32, json_schema_extra=BY_NAME), UNIQUE] = Field(
        default_factory=list
    )
    """What is asked of the restored database besides."""
    query_timeout: Duration = Field(default="1m", validate_default=True)
    """How long each query may take."""
    memory: Size = "1Gi"
    """Memory of the Pod."""
    scratch_size: Size = "40Gi"
    """Room for the dump, the database that is restored from it, and a dump of that: about four times the database."""


class BackupVerification(Model):
    """The proof that backups are good."""

    integrity: IntegrityCheck | None = None
    """The repository is checked on a schedule."""
    restore_test: RestoreTest | None = None
    """The newest backup is restored on a schedule."""
    full_restore: FullRestore | None = None
    """It is restored and compared to the last row on a schedule of its own, for example once a month."""

    @property
    def tested(self) -> bool:
        """Whether restores are tested at all."""
        return self.restore_test is not None or self.full_restore is not None


class Pruning(Model):
    """`restic forget` and `restic prune`: what no retention keeps is removed, and the room that it took is freed.

    Only backups of this policy's schedules with a retention are ever removed; the newest backup of a schedule and the
    one that was verified last never are. With `verify.restoreTest` nothing is removed before a test was passed.
    """

    schedule: CronExpression
    """When, as a cron expression of five fields in the policy's timeZone."""
    dry_run: bool = False
    """True: only says what would be removed."""


class BackupSpec(Model):
    """What is backed up, where to, when, and how it is proven."""

    source: BackupSource
    """What is backed up."""
    repository: Repository
    """Where backups are kept. Deleting the policy never deletes them."""
    schedules: Annotated[list[BackupSchedule], Field(min_length=1, max_length=8, json_schema_extra=BY_NAME), UNIQUE]
    """When backups are made."""
    prune: Pruning | None = None
    """When old backups are removed. Left out: never."""
    cold_copy: ColdCopy | None = None
    """A second copy of the repository, in cold storage. Left out: none."""
    time_zone: TimeZone = "Etc/UTC"
    """IANA time zone of all schedules, for example Europe/Berlin."""
    exclusions: Exclusions = Field(default_factory=list)
    """Times in which no backup starts."""
    windows: WindowReferences = Field(default_factory=list)
    """MaintenanceWindows, as `name`, or as `namespace/name` of one that is shared with this namespace. What is
    scheduled starts only while one of them is open, and never while one of kind Freeze among them lasts."""
    starting_deadline_seconds: Annotated[int | None, Field(ge=1, le=2592000)] = None
    """How late a backup may start, in seconds. Left out: the last missed one is always caught up."""
    verify: BackupVerification = BackupVerification()
    """The proof that backups are good."""
    sanity: Sanity = Sanity()
    """What a backup has to be like. One that is not is not stored, and its run has failed."""
    suspend: bool = False
    """True: nothing is started by schedule. Occurrences of that time are recorded as Missed(Suspended)."""
    timeout: Duration = Field(default="4h", validate_default=True)
    """How long a backup or check may take."""
    overdue_after: Duration | None = None
    """So long after its time, what has not ended well is Overdue. Left out: as long as it may take."""
    scratch_size: Size = "10Gi"
    """Room for the uncompressed dump while a backup is made."""
    successful_runs_history_limit: Annotated[int, Field(ge=0, le=100)] = 3
    """How many Jobs of good runs are kept."""
    failed_runs_history_limit: Annotated[int, Field(ge=0, le=100)] = 3
    """How many Jobs of failed runs are kept."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What nobody enforces is no retention; what cannot be asked of a source is not asked."""
        return (
            _ENFORCED,
            _WHOLE,
            _COMPARABLE,
            _BY_BLOCKS,
            _ELSEWHERE,
            *(_fitting(name, kinds) for name, kinds in _FITTING.items()),
        )

    @model_validator(mode="after")
    def _enforces_its_retention(self) -> Self:
        if self.prune is None and any(schedule.retention for schedule in self.schedules):
            raise ValueError(_ENFORCED["message"])
        return self

    @model_validator(mode="after")
    def _copies_to_somewhere_else(self) -> Self:
        here = self.repository.s3
        there = self.cold_copy.s3 if self.cold_copy else None
        if here and there and (here.endpoint, here.bucket) == (there.endpoint, there.bucket):
            raise ValueError(_ELSEWHERE["message"])
        return self

    @model_validator(mode="after")
    def _asks_what_its_source_has(self) -> Self:
        test = self.verify.restore_test
        if self.verify.full_restore and self.source.postgres is None:
            raise ValueError(_WHOLE["message"])
        if self.verify.full_restore and self.source.physical:
            raise ValueError(_COMPARABLE["message"])
        if any(schedule.incremental for schedule in self.schedules) and not self.source.physical:
            raise ValueError(_BY_BLOCKS["message"])
        for name, kinds in _FITTING.items():
            if test and getattr(test, name) and self.source.chosen() not in kinds:
                raise ValueError(_fitting(name, kinds)["message"])
        return self


def _fitting(name: str, kinds: Sequence[str]) -> Rule:
    asked = f"has(self.verify) && has(self.verify.restoreTest) && has(self.verify.restoreTest.{name})"
    there = " || ".join(f"has(self.source.{kind})" for kind in kinds)
    message = f"verify.restoreTest.{name} is for a source of {' or '.join(kinds)}: remove it"
    return {"rule": f"!({asked}) || {there}", "message": message}


class StoredBackup(Model):
    """A backup that ended well."""

    snapshot: str
    """restic's short id."""
    schedule: str
    """Name of its schedule."""
    time: Timestamp
    """When it was made."""
    bytes: Annotated[int, Field(ge=0)]
    """Size of what was backed up, before it was compressed."""
    verified_time: Timestamp | None = None
    """When it last passed a restore test."""


class BackupScheduleStatus(Model):
    """Where one schedule of a policy stands."""

    name: str
    """Name of the schedule, `integrity`, `restore-test`, `full-restore`, `prune` or `cold-copy`."""
    next_schedule_time: Timestamp | None = None
    """When it runs next."""
    last_schedule_time: Timestamp | None = None
    """The last occurrence that was accounted for."""
    last_successful_time: Timestamp | None = None
    """When it last ended well."""
    schedule_anchor: ScheduleAnchor | None = None
    """From when on the schedule counts."""


class LastVerified(Model):
    """The last restore test that was passed."""

    time: Timestamp
    """When it ended."""
    snapshot: str
    """The snapshot that was restored, by restic's short id."""
    snapshot_time: Timestamp
    """When that backup was made."""
    restore_seconds: Annotated[int, Field(ge=0)]
    """How long it took until the data was there again (the recovery time)."""
    age_seconds: Annotated[int, Field(ge=0)]
    """How old the backup was then: what would have been lost (the recovery point)."""


class LastPrune(Model):
    """What the last good removal of old backups did."""

    time: Timestamp
    """When it ended."""
    removed: Annotated[int, Field(ge=0)]
    """How many snapshots it removed."""
    kept: Annotated[int, Field(ge=0)]
    """How many snapshots of this policy were left."""
    freed_bytes: Annotated[int, Field(ge=0)]
    """By how much the repository got smaller."""


class SizeMeasurement(Model):
    """How large the repository was once."""

    time: Timestamp
    """When."""
    bytes: Annotated[int, Field(ge=0)]
    """Its size then."""


class Capacity(Model):
    """The room of the repository, as it was after the last run that wrote to it."""

    free_bytes: Annotated[int | None, Field(ge=0)] = None
    """What is left on its volume; unknown in a bucket or on a server."""
    growth_bytes_per_day: int | None = None
    """By how much it grows a day, by the measurements; negative where it shrinks. Left out before three days."""
    full_time: Timestamp | None = None
    """When no room will be left if it grows on like that."""
    measurements: Annotated[Sequence[SizeMeasurement], Field(max_length=MAX_MEASUREMENTS)] = ()
    """Its sizes, about one a day."""


class BackupStatus(ResourceStatus):
    """Where the policy stands."""

    schedules: Annotated[Sequence[BackupScheduleStatus], Field(max_length=13)] = ()
    """Each schedule, the integrity check, the restore tests, the removal of old backups and the cold copy."""
    last_backup: str | None = None
    """What the last good backup said: its snapshot and size."""
    last_backup_time: Timestamp | None = None
    """When the last good backup ended."""
    snapshots: Annotated[Sequence[StoredBackup], Field(max_length=20)] = ()
    """The newest backups that this policy made and did not remove, newest first."""
    last_integrity_check_time: Timestamp | None = None
    """When the repository was last found intact."""
    last_verified: LastVerified | None = None
    """The last restore test that was passed. One that fails leaves it as it is; the condition Verified tells of it."""
    last_full_restore: LastVerified | None = None
    """The last full restore that was passed."""
    last_prune: LastPrune | None = None
    """The last removal of old backups that ended well."""
    cold_copy: LastColdCopy | None = None
    """The copy in cold storage, which nobody has verified."""
    repository_bytes: Annotated[int | None, Field(ge=0)] = None
    """Size of the repository after the last backup or removal, with what other policies keep in it."""
    capacity: Capacity | None = None
    """How much room is left, and for how long."""
    active: Annotated[Sequence[str], Field(max_length=10)] = ()
    """Names of the Jobs that run now."""
