"""Whether there is room for a table that is rewritten beside itself: a full disk stops the whole server.

PostgreSQL does not tell how much of its disk is free. So somebody else must: Prometheus, or a person. Without an answer
nothing is rewritten.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from upkeep.actions.contract import ActionError, Context, UncheckableError
from upkeep.actions.fields import LabelName, Model
from upkeep.actions.postgres.catalogue import Table
from upkeep.actions.postgres.session import Session
from upkeep.actions.prometheus.session import instant

_MEBIBYTE: Final = 1024 * 1024
_ASKING_SECONDS: Final = 10.0

_NEED: Final = """
SELECT pg_total_relation_size(c.oid)
         + coalesce((SELECT max(pg_relation_size(i.indexrelid)) FROM pg_index i WHERE i.indrelid = c.oid), 0) AS bytes,
       CASE WHEN current_setting('wal_level') = 'minimal' THEN 0
            ELSE least(pg_total_relation_size(c.oid), pg_size_bytes(current_setting('max_wal_size'))) END AS log_bytes
FROM pg_class c
WHERE c.oid = ANY(%(oids)s)
ORDER BY 1 DESC
LIMIT 1
"""
_TABLESPACES: Final = """
SELECT DISTINCT coalesce(t.spcname, 'that of the database') AS name
FROM pg_class c
LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace
WHERE c.oid = ANY(%(oids)s) OR c.oid IN (SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = ANY(%(oids)s))
ORDER BY 1
"""


class FreeSpace(Model):
    """A question to Prometheus: how much of a volume is free."""

    connection: LabelName
    """Name of a prometheus connection."""
    query: Annotated[str, Field(min_length=1, max_length=2048)]
    """PromQL of one number of bytes, for example
    `kubelet_volume_stats_available_bytes{namespace="shop", persistentvolumeclaim="data-shop-db-0"}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Need:
    bytes: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class _Tablespace:
    name: str


@dataclass(frozen=True, slots=True)
class Room:
    """The space that was free before anything was rewritten; tables are rewritten one after the other.

    Attributes:
        free: bytes.
    """

    free: int

    async def lacks(self, opened: Session, leaves: Iterable[Table]) -> str:
        """Why these tables cannot be rewritten one after the other; empty where they can.

        Needed is the size of the largest with its indexes and TOAST again, its largest index once more (it is sorted on
        disk), and its write-ahead log, of which the server keeps max_wal_size. That is the most that it can be: the new
        table is smaller by what was dead.
        """
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        try:
            found = await opened.fetch(_Need, _NEED, {"oids": [leaf.oid for leaf in leaves]})
        except psycopg.errors.LockNotAvailable:
            return ""  # whoever rewrites it waits for the same lock, and tells of it
        need = sum(one.bytes + one.log_bytes for one in found)
        if need <= self.free:
            return ""
        return (
            f"it may need {in_mebibytes(need)} of disk space (its size again, room for sorting and write-ahead log) "
            f"and {in_mebibytes(self.free)} are free: make room first"
        )


async def find_room(context: Context, opened: Session, leaves: Iterable[Table], *, free: int | FreeSpace) -> Room:
    """Find out how much is free on the volume of these tables.

    Args:
        context: the runner's context.
        opened: the session.
        leaves: tables that hold rows.
        free: MiB as a person says, or the question to Prometheus.

    Raises:
        ActionError: the tables lie on several volumes, or the question cannot be understood.
        UncheckableError: Prometheus does not say.
    """
    found = await opened.fetch(_Tablespace, _TABLESPACES, {"oids": [leaf.oid for leaf in leaves]})
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        msg = (
            f"the tables and their indexes lie in several tablespaces ({names}), and the free space of one is known: "
            "name tables of one tablespace, each tablespace in a step of its own"
        )
        raise ActionError(msg)
    if isinstance(free, int):
        return Room(free * _MEBIBYTE)
    return Room(await _measured(context, free))


async def _measured(context: Context, space: FreeSpace) -> int:
    series, warnings = await instant(context, space.connection, space.query, seconds=_ASKING_SECONDS)
    if len(series) > 1:
        msg = f"the query for the free space gives {len(series)} series, not one: name the volume in it"
        raise ActionError(msg)
    if warnings or not series or not math.isfinite(series[0].value):
        why = f"an incomplete answer ({warnings[0]})" if warnings else "no number"
        msg = f"how much disk space is free is not known: Prometheus gives {why}: check the query of freeSpace"
        raise UncheckableError(msg)
    return int(series[0].value)


def in_mebibytes(size: int) -> str:
    """`12.3 MiB`."""
    return f"{size / _MEBIBYTE:.1f} MiB"
