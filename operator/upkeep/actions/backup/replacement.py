"""A database that is made beside the one in service, and takes its name in one transaction when it is whole.

The database in service must not be touched before that, whatever happens: a restore that fails, or is killed, leaves it
as it is. What such a restore leaves has a name that only Upkeep gives, so that the next one can remove it.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from upkeep.actions.contract import ActionError
from upkeep.actions.postgres.session import Session

if TYPE_CHECKING:
    from psycopg.sql import Composed

_LONGEST_NAME: Final = 63
_MARK: Final = 12
_ATTEMPTS: Final = 3
"""How often the names are tried to be changed; the server waits five seconds for others each time."""
_EVICTION_SECONDS: Final = 0.1
_KEPT: Final = "_before_{time:%Y%m%d_%H%M%S}"

_EXISTING: Final = """
SELECT pg_catalog.pg_get_userbyid(d.datdba) AS owner, pg_catalog.pg_encoding_to_char(d.encoding) AS encoding,
       d.datcollate AS collation, d.datctype AS ctype, d.datconnlimit AS "limit",
       coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') AS provider,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
       pg_catalog.shobj_description(d.oid, 'pg_database') AS comment,
       d.datistemplate AS template, d.datacl IS NOT NULL AS guarded
FROM pg_catalog.pg_database d WHERE d.datname = %(name)s
"""
_PRIVILEGES: Final = """
SELECT pg_catalog.format('GRANT %%s ON DATABASE %%I TO %%s%%s', a.privilege_type, %(beside)s::text,
                         CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END,
                         CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS statement
FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a WHERE d.datname = %(name)s
"""
_SETTINGS: Final = """
SELECT pg_catalog.split_part(s.setting, '=', 1) AS name,
       pg_catalog.substr(s.setting, pg_catalog.strpos(s.setting, '=') + 1) AS value,
       CASE r.setrole WHEN 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(r.setrole) END AS role
FROM pg_catalog.pg_db_role_setting r JOIN pg_catalog.pg_database d ON d.oid = r.setdatabase,
     pg_catalog.unnest(r.setconfig) AS s (setting)
WHERE d.datname = %(name)s
"""
_OTHERS: Final = """
SELECT pid, usename::text AS "user" FROM pg_catalog.pg_stat_activity
WHERE datname IN (%(name)s, %(beside)s) AND pid <> pg_catalog.pg_backend_pid()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """The database in service, as its server describes it.

    Attributes:
        owner: name of the role that owns it.
        encoding, collation, ctype, provider, locale: how it stores and orders texts.
        limit: how many connections it takes; -1 for any number.
        comment: what is written at it.
        template: whether it is there to be copied.
        guarded: whether somebody has granted or revoked something.
    """

    owner: str
    encoding: str
    collation: str
    ctype: str
    provider: str
    locale: str | None
    limit: int
    comment: str | None
    template: bool
    guarded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Privilege:
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    name: str
    value: str
    role: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Backend:
    pid: int
    user: str | None


@dataclass(slots=True, kw_only=True)
class Replacement:
    """What is to take the name of a database.

    Attributes:
        opened: a session at another database of the server.
        name: the name.
        existing: what has it now; None where there is none.
        uncarried: what of its properties could not be given to the new one, and why.
    """

    opened: Session
    name: str
    existing: Existing | None = None
    uncarried: list[str] = field(default_factory=list)

    @property
    def beside(self) -> str:
        """Name of the new one until it is whole."""
        return f"upkeep_restore_{self._mark}"

    @property
    def doomed(self) -> str:
        """Name of the old one, where it is not to be kept, for the moment until it is gone."""
        return f"upkeep_replaced_{self._mark}"

    @property
    def _mark(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()[:_MARK]

    async def make(self, encoding: str) -> None:
        """Make the new one, empty, with the encoding, locale and properties of the old one.

        Args:
            encoding: where there is no old one.

        Raises:
            ActionError: it could not be made.
        """
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        try:
            await self.opened.connection.execute(self._creation(encoding))
        except psycopg.errors.InsufficientPrivilege as error:
            msg = (
                f"cannot create a database on PostgreSQL {self.opened.server}: {error.diag.message_primary}: "
                "ALTER ROLE … CREATEDB for the user of the connection"
            )
            raise ActionError(msg) from error
        if self.existing:
            await self._carry_over(self.existing)

    async def take_over(self, *, keep_old: bool, doorman: Session) -> str:
        """Give the new one the name, and end the sessions of all others for that; returns the name of the old one.

        Both names change in one transaction, so that there is always a database in service.

        Args:
            keep_old: whether the old one stays, under a dated name; else it is dropped by `clear`.
            doorman: a second session, which ends those of others meanwhile.

        Raises:
            ActionError: others cannot be kept out; nothing has changed.
        """
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        aside = self._aside() if keep_old else self.doomed
        renames = [(self.beside, self.name)]
        renames = [(self.name, aside), *renames] if self.existing else renames
        stubborn: set[str] = set()
        for _ in range(_ATTEMPTS):
            async with self._kept_out(doorman, stubborn):
                try:
                    async with self.opened.connection.transaction():
                        for before, after in renames:
                            await self.opened.connection.execute(_sql("ALTER DATABASE {} RENAME TO {}", before, after))
                except psycopg.errors.ObjectInUse:
                    continue
                return aside if self.existing else ""
        who = f" of {', '.join(sorted(stubborn))}, whose sessions this user may not end" if stubborn else ""
        msg = (
            f"database {self.name!r} on PostgreSQL {self.opened.server} is still used by sessions{who}, so it was left "
            "as it is: stop what uses it (kubernetesScale), or GRANT pg_signal_backend to the user of the connection"
        )
        raise ActionError(msg)

    async def clear(self) -> None:
        """Remove what a restore that did not come to its end has left, and an old one that is not to be kept."""
        for name in (self.beside, self.doomed):
            await self.opened.connection.execute(_sql("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))

    def _aside(self) -> str:
        suffix = _KEPT.format(time=datetime.now(UTC))
        room = _LONGEST_NAME - len(suffix)
        return self.name.encode()[:room].decode(errors="ignore") + suffix

    def _creation(self, encoding: str) -> "Composed":
        from psycopg import sql  # noqa: PLC0415 - a driver is loaded only when an action runs

        old = self.existing
        parts: list[tuple[Any, str]] = [(sql.SQL("ENCODING {}"), old.encoding if old else encoding)]
        if old:
            parts += [(sql.SQL("LC_COLLATE {}"), old.collation), (sql.SQL("LC_CTYPE {}"), old.ctype)]
        command = [_sql("CREATE DATABASE {} TEMPLATE template0", self.beside)]
        command += [part.format(sql.Literal(value)) for part, value in parts]
        if old and self.opened.version.locale_providers:
            match old.provider:
                case "i":
                    provider = sql.SQL("LOCALE_PROVIDER icu ICU_LOCALE {}").format(sql.Literal(old.locale))
                case "b":
                    provider = sql.SQL("LOCALE_PROVIDER builtin BUILTIN_LOCALE {}").format(sql.Literal(old.locale))
                case _:
                    provider = sql.SQL("LOCALE_PROVIDER libc").format()
            command.append(provider)
        return sql.SQL(" ").join(command)

    async def _carry_over(self, old: Existing) -> None:
        """Give the new one what the old one has, the owner last: with it may go the right to do the rest."""
        from psycopg import sql  # noqa: PLC0415 - a driver is loaded only when an action runs

        names = {"name": self.name, "beside": self.beside}
        for setting in await self.opened.fetch(_Setting, _SETTINGS, names):
            where = _sql("ALTER DATABASE {}", self.beside)
            if setting.role:
                where = _sql("ALTER ROLE {} IN DATABASE {}", setting.role, self.beside)
            change = sql.SQL("{} SET {} FROM CURRENT").format(where, sql.Identifier(setting.name))
            await self._try(f"setting {setting.name}", change, setting)
        if old.guarded:
            await self._try("privileges", _sql("REVOKE ALL ON DATABASE {} FROM PUBLIC", self.beside))
            for privilege in await self.opened.fetch(_Privilege, _PRIVILEGES, names):
                await self._try("privileges", privilege.statement.encode())
        limit = _sql("ALTER DATABASE {} CONNECTION LIMIT", self.beside)
        await self._try("connection limit", sql.SQL("{} {}").format(limit, sql.Literal(old.limit)))
        if old.comment:
            comment = sql.SQL("{} IS {}").format(_sql("COMMENT ON DATABASE {}", self.beside), sql.Literal(old.comment))
            await self._try("comment", comment)
        await self._try(f"owner {old.owner}", _sql("ALTER DATABASE {} OWNER TO {}", self.beside, old.owner))

    async def _try(self, what: str, statement: "Composed | bytes", setting: _Setting | None = None) -> None:
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        local = "SELECT pg_catalog.set_config(%s, %s, true)"
        try:
            async with self.opened.connection.transaction():
                if setting:
                    # Taken FROM CURRENT, a value that is a list stays one.
                    await self.opened.connection.execute(local, (setting.name, setting.value))
                await self.opened.connection.execute(statement)
        except psycopg.Error as error:
            if self.opened.connection.closed:
                raise
            self.uncarried.append(f"{what}: {error.diag.message_primary or error}")

    @asynccontextmanager
    async def _kept_out(self, doorman: Session, stubborn: set[str]) -> AsyncIterator[None]:
        """While the block lasts, sessions at both databases are ended as often as they come."""
        eviction = asyncio.create_task(self._evict(doorman, stubborn))
        try:
            yield
        finally:
            eviction.cancel()
            with suppress(asyncio.CancelledError):
                await eviction

    async def _evict(self, doorman: Session, stubborn: set[str]) -> None:
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        while True:
            for backend in await _others(doorman, self.name, self.beside):
                try:
                    await doorman.connection.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (backend.pid,))
                except psycopg.errors.InsufficientPrivilege:
                    stubborn.add(backend.user or "the server")
            await asyncio.sleep(_EVICTION_SECONDS)


async def replacement(opened: Session, name: str) -> Replacement:
    """Look at what there is, let no other restore of the same name come in between, and remove what one has left.

    Raises:
        ActionError: another restore of it is under way, or this name cannot be one of a database that is replaced.
    """
    if not name.isprintable() or len(name.encode()) > _LONGEST_NAME:
        msg = f"{name!r} cannot be the name of a database: use at most {_LONGEST_NAME} bytes that can be printed"
        raise ActionError(msg)
    lock = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended(%s, 0))"
    row = await (await opened.connection.execute(lock, (f"upkeep.dev/restore {name}",))).fetchone()
    if not row or not row[0]:
        msg = f"another restore into {name!r} on PostgreSQL {opened.server} is under way: run this again after it"
        raise ActionError(msg)
    found = await opened.fetch(Existing, _EXISTING, {"name": name})
    if found and found[0].template:
        msg = f"{name!r} on PostgreSQL {opened.server} is a template: name the database that is to be restored"
        raise ActionError(msg)
    planned = Replacement(opened=opened, name=name, existing=found[0] if found else None)
    await planned.clear()
    return planned


async def _others(doorman: Session, name: str, beside: str) -> Sequence[_Backend]:
    return await doorman.fetch(_Backend, _OTHERS, {"name": name, "beside": beside})


def _sql(template: Any, *names: str) -> "Composed":  # noqa: ANN401 - psycopg wants literals, which these all are
    from psycopg import sql  # noqa: PLC0415 - a driver is loaded only when an action runs

    return sql.SQL(template).format(*map(sql.Identifier, names))
