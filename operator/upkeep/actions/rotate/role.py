"""Two roles of PostgreSQL that take turns, so that both credentials are good while applications change over.

A password goes to the server as a SCRAM verifier that was computed here: no log of the server, no list of statements
and no process list ever has it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.connections import PostgresTarget
from upkeep.actions.contract import ActionError, Context
from upkeep.actions.fields import LabelName, Model
from upkeep.actions.postgres.errors import connect_error
from upkeep.actions.postgres.session import CONNECT_SECONDS, Session, connection_parameters, demand_primary, session
from upkeep.actions.rotate.kind import Changes, Credential
from upkeep.actions.rotate.record import Held, Phase, Record, fingerprint, new_token, new_value
from upkeep.actions.text import readable

USERNAME: Final = "username"
PASSWORD: Final = "password"  # noqa: S105 - a key
NEXT: Final = "next-password"
OLD_USERNAME: Final = "previous-username"
OLD_PASSWORD: Final = "previous-password"  # noqa: S105 - a key

_NAMED: Final = 3
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
"""Seconds; in all it is asked for about three."""
_SPARE_SECONDS: Final = 1.5

_ROLES: Final = """
SELECT r.rolname AS name, r.rolcanlogin AS login, r.rolsuper AS super,
       ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
             WHERE m.member = r.oid ORDER BY 1) AS memberships,
       ARRAY(SELECT s.setdatabase || ' ' || s.setconfig::text FROM pg_db_role_setting s
             WHERE s.setrole = r.oid ORDER BY 1) AS settings,
       ARRAY(SELECT d.dbid || ' ' || d.classid || ' ' || d.objid FROM pg_shdepend d
             WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'a'
             ORDER BY 1) AS grants,
       (SELECT count(*) FROM pg_shdepend d
        WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o') AS owned
FROM pg_roles r WHERE r.rolname = ANY(%(roles)s)
"""
_LOCK: Final = """
SELECT pg_try_advisory_lock(hashtextextended(%(roles)s, 0)) AS taken,
       set_config('tcp_keepalives_idle', '30', false),
       set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '3', false)
"""
"""The lock goes with the session, and a session whose node has died goes after a minute."""
_SESSIONS: Final = """
SELECT coalesce(nullif(a.application_name, ''), 'without a name') AS application, count(*) AS sessions
FROM pg_stat_activity a WHERE a.usename = %(role)s GROUP BY 1 ORDER BY 2 DESC, 1
"""

RoleName = Annotated[str, Field(min_length=1, max_length=63)]


@dataclass(frozen=True, slots=True)
class _Role:
    name: str
    login: bool
    super: bool
    memberships: Sequence[str]
    settings: Sequence[str]
    grants: Sequence[str]
    owned: int


@dataclass(frozen=True, slots=True)
class _User:
    application: str
    sessions: int


class RotatedRoles(Model):
    """Two roles of PostgreSQL that take turns."""

    connection: LabelName
    """Name of a PostgreSQL connection whose user may change the passwords of both roles, and is neither of them."""
    roles: Annotated[list[RoleName], Field(min_length=2, max_length=2)]
    """The two roles, which have the same memberships, privileges and settings and own nothing. The Secret's `username`
    is one of them."""


@dataclass(slots=True, kw_only=True)
class Roles(Credential):
    """What a rotation does with the two roles, all in one session that holds the lock."""

    context: Context
    given: RotatedRoles
    _opened: Session | None = None

    key: ClassVar[str] = PASSWORD
    redeploys: ClassVar[bool] = False

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold a lock: a run that was held up must not take a password away that another one has just given.

        Raises:
            ActionError: no connection, the server is a standby, or another run holds the lock.
        """
        async with session(self.context, self.given.connection) as opened:
            demand_primary(opened, "ALTER ROLE")
            async with opened.connection.cursor() as cursor:
                await cursor.execute(_LOCK, {"roles": " ".join(sorted(self.given.roles))})
                found = await cursor.fetchone()
            if not (found and found[0]):
                msg = "another run rotates these roles: wait until it has ended"
                raise ActionError(msg)
            self._opened = opened
            yield

    @property
    def _session(self) -> Session:
        if self._opened is None:
            msg = "a rotation of roles begins by `alone`"
            raise RuntimeError(msg)
        return self._opened

    async def begin(self, held: Held) -> tuple[Record, Changes]:
        """The first record and the staged value, where all that has to hold does.

        Raises:
            ActionError: it does not.
        """
        old = held.value(USERNAME)
        if old not in self.given.roles:
            first, second = map(readable, self.given.roles)
            msg = (
                f"username in Secret {held.name!r} is neither {first!r} nor {second!r}: name the roles that take turns"
            )
            raise ActionError(msg)
        new = next(role for role in self.given.roles if role != old)
        await self._demand_twins(old, new)
        if users := await self.users(new):
            msg = f"role {readable(new)!r} is in use by {users}, whom a new password would lock out: give them {old!r}"
            raise ActionError(msg)
        if fault := await self._login(old, held.value(PASSWORD)):
            msg = f"the credential in Secret {held.name!r} does not work now, so nothing was begun: {fault}"
            raise ActionError(msg)
        value = new_value()
        record = Record(phase=Phase.PREPARED, token=new_token(), fingerprint=fingerprint(value), old=old, new=new)
        return record, {NEXT: value}

    async def prepared(self, held: Held, record: Record) -> tuple[str, Changes]:
        """Make the new one good; returns why it does not work, and what the Secret is to give out."""
        value = held.value(NEXT)
        await self._set(record.new, value)
        if fault := await self._login(record.new, value):
            await self._set(record.new, None)
            return fault, {NEXT: None}
        return "", {
            USERNAME: record.new,
            PASSWORD: value,
            OLD_USERNAME: record.old,
            OLD_PASSWORD: held.value(PASSWORD),
            NEXT: None,
        }

    async def fault(self, held: Held) -> str:
        """Why what the Secret gives out does not work; empty where it does."""
        return await self._login(held.value(USERNAME), held.value(PASSWORD))

    async def way_back(self, held: Held) -> tuple[str, Changes]:
        """Why there is none, and what the Secret has to give out to go back."""
        username, password = held.value(OLD_USERNAME), held.value(OLD_PASSWORD)
        back = {USERNAME: username, PASSWORD: password, OLD_USERNAME: None, OLD_PASSWORD: None}
        return await self._login(username, password), back

    async def in_use(self, record: Record) -> str:
        """Who still uses the old one; asked several times, for Pods that were replaced take a moment to go."""
        pause = _FIRST_PAUSE
        while (users := await self.users(record.old)) and pause <= _LONGEST_PAUSE:
            await asyncio.sleep(pause)
            pause *= 2
        return users

    async def revoke(self, held: Held, record: Record) -> str:
        """Take the old one its password; returns why it is good all the same."""
        await self._set(record.old, None)
        if OLD_PASSWORD in held.data and not await self._login(record.old, held.value(OLD_PASSWORD)):
            return f"role {readable(record.old)!r} has no password any more and is let in all the same: see pg_hba.conf"
        return ""

    async def still_good(self, value: str) -> str:  # noqa: ARG002 - as of keys
        """That was seen when it was revoked."""
        return ""

    async def give_up(self, record: Record) -> str:
        """Take the new one its password, after the way back; returns who still uses it."""
        if users := await self.users(record.new):
            return users
        await self._set(record.new, None)
        return ""

    def forgotten(self, held: Held) -> Changes:
        """What the Secret is to forget with the old one."""
        return {key: None for key in (OLD_USERNAME, OLD_PASSWORD, NEXT) if key in held.data}

    async def users(self, role: str) -> str:
        """Who has sessions of a role, in words; empty where nobody has."""
        found = await self._session.fetch(_User, _SESSIONS, {"role": role})
        named = ", ".join(f"{readable(each.application)} ({each.sessions} sessions)" for each in found[:_NAMED])
        return named + (", …" if found[_NAMED:] else "")

    async def _demand_twins(self, old: str, new: str) -> None:
        admin = self.context.secret(self.given.connection, "username")
        if admin in self.given.roles:
            msg = (
                f"the user of connection {self.given.connection!r} is one of the two roles: let another one change them"
            )
            raise ActionError(msg)
        roles = {role.name: role for role in await self._session.fetch(_Role, _ROLES, {"roles": [old, new]})}
        for name in (old, new):
            if name not in roles:
                msg = f"there is no role {readable(name)!r}: CREATE ROLE it with the memberships of the other one"
                raise ActionError(msg)
            if roles[name].owned:
                msg = (
                    f"role {readable(name)!r} owns {roles[name].owned} objects, which the other one could not change: "
                    "REASSIGN OWNED to a role that both are members of"
                )
                raise ActionError(msg)
        first, second = roles[old], roles[new]
        for what, same in (
            ("right to log in", first.login == second.login),
            ("superuser attribute", first.super == second.super),
            ("memberships", first.memberships == second.memberships),
            ("settings (ALTER ROLE … SET)", first.settings == second.settings),
            ("privileges of their own", first.grants == second.grants),
        ):
            if not same:
                msg = (
                    f"roles {readable(old)!r} and {readable(new)!r} differ in their {what}, so that applications could "
                    "miss something: give both the same, best by membership in one role"
                )
                raise ActionError(msg)

    async def _set(self, role: str, password: str | None) -> None:
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs
        from psycopg import sql  # noqa: PLC0415

        opened = self._session
        verifier = None if password is None else _verifier(opened, role, password)
        change = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier))
        try:
            await opened.connection.execute(change)
        except psycopg.errors.InsufficientPrivilege:
            msg = (
                f"PostgreSQL {opened.server}: the user of connection {self.given.connection!r} may not change the "
                f"password of {readable(role)!r}: ALTER ROLE it CREATEROLE, and GRANT it the role WITH ADMIN OPTION"
            )
            raise ActionError(msg) from None

    async def _login(self, role: str, password: str) -> str:
        """Why nobody can log in so; empty where one can."""
        import psycopg  # noqa: PLC0415 - a driver is loaded only when an action runs

        name = self.given.connection
        target = self.context.target(name, PostgresTarget)
        server = f"{target.host}:{target.port}"
        parameters = connection_parameters(self.context, name, target) | {"user": role}
        reason = "timeout expired"
        try:
            async with asyncio.timeout(CONNECT_SECONDS + _SPARE_SECONDS):
                made = await psycopg.AsyncConnection.connect(**parameters, password=password, autocommit=True)
        except TimeoutError:
            pass
        except psycopg.OperationalError as error:
            reason = str(error)
        else:
            asked = made.pgconn.used_password
            await made.close()
            if asked:
                return ""
            return f"PostgreSQL {server} does not ask {readable(role)!r} for its password: see pg_hba.conf"
        # The advice of this error is for the connection's own Secret.
        return str(connect_error(reason=reason, server=server, connection=name, secret="")).rpartition(": ")[0]


def _verifier(opened: Session, role: str, password: str) -> str:
    encrypted: bytes = opened.connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    return encrypted.decode("ascii")
