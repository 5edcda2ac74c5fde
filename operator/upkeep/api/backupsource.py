"""What a BackupPolicy can back up."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.backup.databases import EXCLUDED_FROM_SOME, DatabasePattern, Jobs
from upkeep.actions.backup.files import PATH_PATTERN
from upkeep.actions.backup.objects import ObjectKind
from upkeep.actions.connections import PostgresTarget, RedisTarget
from upkeep.actions.fields import Model, ObjectName, OneOf, Rule
from upkeep.api.container import CustomJob

RelativePath = Annotated[str, Field(min_length=1, max_length=512, pattern=PATH_PATTERN)]


_OF_DUMPS: Final[Rule] = {
    "rule": "self.method != 'Physical' || (!has(self.databases) && !has(self.excludeDatabases) && self.jobs == 1)",
    "message": "method Physical copies all of the server at once: remove databases, excludeDatabases and jobs",
}


class PostgresMethod(StrEnum):
    """How a PostgreSQL server is backed up."""

    LOGICAL = "Logical"
    PHYSICAL = "Physical"


class PostgresSource(PostgresTarget):
    """Databases of a PostgreSQL server, dumped by pg_dump, roles and tablespaces besides; or the server's files."""

    method: PostgresMethod = PostgresMethod.LOGICAL
    """Logical: databases are dumped by pg_dump. Physical: the files of the whole server, all its databases, are copied
    by pg_basebackup; with incremental schedules for databases whose rows change everywhere. The user then needs the
    attribute REPLICATION."""
    databases: Annotated[list[DatabasePattern], Field(min_length=1, max_length=64)] | None = None
    """The databases, by name or by pattern (`*`, `?`), for example `tenant_*`; `*` alone is every database that is no
    template. What is named has to be there. Left out: `database`."""
    exclude_databases: Annotated[list[DatabasePattern], Field(max_length=64)] | None = None
    """Names and patterns of those among them that are left out."""
    jobs: Jobs = 1
    """How many tables are dumped, and loaded by restore tests, at a time. More than one: as many connections to the
    server, and one more."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Only of what was chosen something can be left out, and of files nothing is chosen."""
        return (EXCLUDED_FROM_SOME, _OF_DUMPS)

    @model_validator(mode="after")
    def _excludes_from_some(self) -> Self:
        if self.exclude_databases is not None and self.databases is None:
            raise ValueError(EXCLUDED_FROM_SOME["message"])
        return self

    @model_validator(mode="after")
    def _chooses_nothing_of_files(self) -> Self:
        chosen = self.databases is not None or self.exclude_databases is not None or self.jobs > 1
        if self.method is PostgresMethod.PHYSICAL and chosen:
            raise ValueError(_OF_DUMPS["message"])
        return self

    @property
    def target(self) -> PostgresTarget:
        """The server, and the database to connect to."""
        return PostgresTarget.model_validate({name: getattr(self, name) for name in PostgresTarget.model_fields})


class FilesSource(Model):
    """Files on a volume, which is mounted read-only."""

    claim_name: ObjectName
    """PersistentVolumeClaim in the same namespace. One that only a single node can mount is mounted beside its user,
    on that node."""
    paths: Annotated[list[RelativePath], Field(max_length=16)] = Field(default_factory=list)
    """Directories and files on the volume, for example `uploads`. Left out: all of it."""
    exclude: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=64)] = Field(
        default_factory=list
    )
    """What is left out, as patterns of restic, for example `*.tmp` or `cache`."""
    run_as_user: Annotated[int | None, Field(ge=1, le=2147483647)] = None
    """Number of a user that may read every file, where 65532 (and its group) may not. All Jobs of the policy run as
    this user: policies that share a repository on a volume have to name the same one."""


class ObjectsSource(Model):
    """Kubernetes objects of the policy's namespace, as clean YAML; stored whenever one has changed."""

    kinds: Annotated[list[ObjectKind], Field(min_length=1, max_length=32)]
    """Which ones. Secrets only where a kind is Secret; in the repository they are encrypted, as everything is."""
    service_account_name: ObjectName
    """ServiceAccount that may `list` them in the namespace."""


class CommandSource(CustomJob):
    """Whatever a container of your own leaves in the directory `$UPKEEP_OUTPUT`.

    It runs first, as the user 65532 unless runAsUser says otherwise, as then all Jobs of the policy do. Only when it
    has ended with 0, what it left is stored. What a program writes to its standard output has to be written into a file
    there.
    """


class BackupSource(OneOf):
    """What is backed up; exactly one source."""

    postgres: PostgresSource | None = None
    """A PostgreSQL database, several of one server, or the whole server."""
    redis: RedisTarget | None = None
    """A Redis or Valkey server, all its databases, as an RDB; of a replica, where one keeps up."""
    files: FilesSource | None = None
    """Files on a volume."""
    objects: ObjectsSource | None = None
    """Kubernetes objects of this namespace."""
    command: CommandSource | None = None
    """What a container of your own leaves."""

    @classmethod
    def alternatives(cls) -> Sequence[str]:
        """The kinds of source."""
        return ("postgres", "redis", "files", "objects", "command")

    @property
    def physical(self) -> bool:
        """Whether it is the files of a PostgreSQL server."""
        return self.postgres is not None and self.postgres.method is PostgresMethod.PHYSICAL

    @property
    def user(self) -> int | None:
        """Number of the user that the Jobs of the policy run as; None for Upkeep's own."""
        return next((each.run_as_user for each in (self.files, self.command) if each), None)
