"""How the programs of PostgreSQL reach a server: by variables of libpq, and a file with the password.

The password must never be an argument or a variable: it travels in a file that only this user can read, and that is
gone afterwards.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from upkeep.actions.connections import PostgresTarget
from upkeep.actions.contract import Context
from upkeep.actions.postgres.session import connection_parameters

_PASSWORD_FILE: Final = "pgpass"  # noqa: S105 - the name of the file, not a password
_VARIABLES: Final = {
    "host": "PGHOST",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "gssencmode": "PGGSSENCMODE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "application_name": "PGAPPNAME",
}


@contextmanager
def libpq(context: Context, name: str) -> Iterator[Mapping[str, str]]:
    """The variables for a connection; the password file that they name is removed afterwards.

    Raises:
        ActionError: no such connection or Secret.
    """
    parameters = connection_parameters(context, name, context.target(name, PostgresTarget))
    file = context.scratch / _PASSWORD_FILE
    try:
        _write_password(file, context.secret(name, "password"))
        variables = {_VARIABLES[key]: value for key, value in parameters.items() if key in _VARIABLES}
        yield {**variables, "PGPASSFILE": str(file)}
    finally:
        file.unlink(missing_ok=True)


def _write_password(path: Path, password: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    path.write_text(f"*:*:*:*:{escaped}\n")
