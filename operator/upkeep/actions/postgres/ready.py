"""Tells whether a server takes connections and is what it should be: primary or standby, recent enough."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, ActionError, Context, Outcome, Result
from upkeep.actions.fields import Duration, LabelName
from upkeep.actions.postgres.session import session
from upkeep.actions.postgres.thresholds import seconds_in_words

_POLL_SECONDS: Final = 1.0
_STATE: Final = """
SELECT current_setting('server_version') AS version,
       current_setting('default_transaction_read_only')::bool AS read_only,
       extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS uptime
"""


class ServerRole(StrEnum):
    """What a server is in its cluster."""

    ANY = "Any"
    PRIMARY = "Primary"
    STANDBY = "Standby"


@dataclass(frozen=True, slots=True)
class _State:
    version: str
    read_only: bool
    uptime: float


class PostgresReady(Action):
    """Connects, logs in and asks, as an application would; with `within` it waits until that works.

    Locks: none. Privileges: only CONNECT on the database, for example `GRANT CONNECT ON DATABASE shop TO upkeep`.
    """

    action_name: ClassVar[str] = "postgresReady"
    check: ClassVar[bool] = True

    connection: LabelName
    """Name of a PostgreSQL connection."""
    role: ServerRole = ServerRole.ANY
    """What the server must be: Primary, Standby or Any."""
    min_version: Annotated[int | None, Field(ge=10, le=99)] = None
    """The oldest major version that will do, for example 15."""
    within: Duration = Field(default="0s", validate_default=True)
    """For how long to try again, for example after a restart; 0s tries once."""

    async def run(self, context: Context) -> Result:
        """Try until it works or the time is over.

        Raises:
            ActionError: it does not take connections, or is not what it should be.
        """
        clock = asyncio.get_running_loop().time
        begun = clock()
        while True:
            try:
                return await self._look(context)
            except ActionError:
                if clock() + _POLL_SECONDS - begun > self.within.total_seconds():
                    raise
            await asyncio.sleep(_POLL_SECONDS)

    async def _look(self, context: Context) -> Result:
        clock = asyncio.get_running_loop().time
        begun = clock()
        async with session(context, self.connection) as opened:
            state = (await opened.fetch(_State, _STATE))[0]
        seconds = clock() - begun
        role = ServerRole.STANDBY if opened.standby else ServerRole.PRIMARY
        if self.role not in {ServerRole.ANY, role}:
            wanted = self.role.value.lower()
            msg = f"PostgreSQL {opened.server} is a {role.value.lower()}, not a {wanted}: check `host`"
            raise ActionError(msg)
        if self.role is ServerRole.PRIMARY and state.read_only:
            msg = f"PostgreSQL {opened.server} is read only: set default_transaction_read_only = off"
            raise ActionError(msg)
        if self.min_version is not None and opened.version.major < self.min_version:
            msg = f"PostgreSQL {opened.server} is version {state.version}: upgrade it to {self.min_version} or later"
            raise ActionError(msg)
        up = seconds_in_words(state.uptime)
        answers = f"answers in {seconds * 1000:.0f} ms"
        return Result(
            outcome=Outcome.OK,
            message=f"PostgreSQL {state.version}, {role.value.lower()}, up for {up}, {answers}",
            metrics={
                "answer_seconds": round(seconds, 3),
                "uptime_seconds": round(state.uptime),
                "standby": opened.standby,
                "version": opened.version.major,
            },
        )
