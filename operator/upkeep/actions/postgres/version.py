"""What differs between the versions of PostgreSQL: the one place that knows it.

An action says what it wants; here stands what a server of some version understands, names and allows. Whatever is the
same from 14 to 18 does not belong here.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, LiteralString

if TYPE_CHECKING:
    from psycopg.sql import Composed, Identifier

_PER_MAJOR: Final = 10000
_WITH_LOCALE_PROVIDERS: Final = 15
_WITH_DATABASE_STATISTICS_APART: Final = 16
_WITH_MAINTAIN: Final = 17
_WITH_CHECKPOINTER: Final = 17
_WITH_CHILDREN_TREATED: Final = 18
_WITH_UNENFORCED_KEYS: Final = 18
_CORRUPTING: Final = range(140000, 140004)

_OWNED: Final = """
pg_has_role(c.relowner, 'USAGE')
  OR (NOT c.relisshared AND pg_has_role((SELECT d.datdba FROM pg_database d WHERE d.datname = current_database()),
                                        'USAGE'))
"""
_CHECKPOINTS: Final = """
SELECT checkpoints_timed AS timed, checkpoints_req AS requested, checkpoint_write_time / 1000 AS write_seconds,
       checkpoint_sync_time / 1000 AS sync_seconds, buffers_checkpoint AS buffers, stats_reset AS since
FROM pg_stat_bgwriter
"""
_CHECKPOINTS_OF_THEIR_OWN: Final = """
SELECT num_timed AS timed, num_requested AS requested, write_time / 1000 AS write_seconds,
       sync_time / 1000 AS sync_seconds, buffers_written AS buffers, stats_reset AS since
FROM pg_stat_checkpointer
"""
_SHARED_TIMES_SINCE: Final = (1, 11)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """The version of a server.

    Attributes:
        number: as `server_version_num`, for example 150018.
    """

    number: int

    @property
    def major(self) -> int:
        """For example 15."""
        return self.number // _PER_MAJOR

    @property
    def corrupts_concurrently(self) -> bool:
        """Whether REINDEX and CREATE INDEX CONCURRENTLY can lose rows of the index (14.0 to 14.3, mended in 14.4)."""
        return self.number in _CORRUPTING

    @property
    def database_statistics_apart(self) -> bool:
        """Whether VACUUM can leave the oldest transaction number of the database to a VACUUM of its own at the end.

        Without, every VACUUM of one table reads the whole catalogue for it.
        """
        return self.major >= _WITH_DATABASE_STATISTICS_APART

    @property
    def locale_providers(self) -> bool:
        """Whether a database says who provides its locale."""
        return self.major >= _WITH_LOCALE_PROVIDERS

    @property
    def may_maintain(self) -> LiteralString:
        """SQL: whether the user may VACUUM, ANALYZE and REINDEX the relation `c` of pg_class."""
        if self.major >= _WITH_MAINTAIN:
            return f"({_OWNED} OR has_table_privilege(c.oid, 'MAINTAIN'))"
        return f"({_OWNED})"

    @property
    def enforced(self) -> LiteralString:
        """SQL: whether the constraint `k` of pg_constraint is one that the server sees to."""
        return "k.conenforced" if self.major >= _WITH_UNENFORCED_KEYS else "true"

    @property
    def checkpoints(self) -> LiteralString:
        """SQL: timed and requested checkpoints, seconds of writing and of sync, buffers written, and since when."""
        return _CHECKPOINTS_OF_THEIR_OWN if self.major >= _WITH_CHECKPOINTER else _CHECKPOINTS

    def maintenance_grant(self, relation: "Identifier", *, owner: str, user: str) -> str:
        """The statement that lets a user maintain a relation, for people to execute."""
        from psycopg.sql import SQL, Identifier  # noqa: PLC0415 - a driver is loaded only when an action runs

        if self.major >= _WITH_MAINTAIN:
            grant = SQL("GRANT MAINTAIN ON {} TO {}").format(relation, Identifier(user))
        else:
            grant = SQL("GRANT {} TO {}").format(Identifier(owner), Identifier(user))
        return grant.as_string()

    def treated(self, table: "Identifier", *, partitioned: bool) -> "Composed":
        """A table as VACUUM and ANALYZE take it: with its partitions, never with others that inherit from it."""
        from psycopg.sql import SQL  # noqa: PLC0415 - a driver is loaded only when an action runs

        alone = self.major >= _WITH_CHILDREN_TREATED and not partitioned
        return SQL("ONLY {}" if alone else "{}").format(table)


def block_times(extension: str) -> tuple[LiteralString, LiteralString]:
    """SQL of pg_stat_statements: milliseconds of reading and of writing blocks of tables and indexes.

    Args:
        extension: version of the extension in this database, which an upgrade of the server leaves as it was.
    """
    parts = tuple(int(part) for part in extension.split(".") if part.isdigit())
    if parts >= _SHARED_TIMES_SINCE:
        return "s.shared_blk_read_time", "s.shared_blk_write_time"
    return "s.blk_read_time", "s.blk_write_time"
