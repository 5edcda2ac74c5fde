"""Turns what PostgreSQL and its driver say into sentences that name the server and what to do about it.

Nothing here may quote a connection string: its parts are named one by one, and the password never.
"""

import re
from typing import TYPE_CHECKING, Final

from upkeep.actions.contract import ActionError, UncheckableError

if TYPE_CHECKING:
    import psycopg

_CONNECT_ADVICE: Final = (
    ("password authentication failed", "check the Secret {secret!r}"),
    ("no password supplied", "the password in the Secret {secret!r} is empty: set it"),
    ("certificate authentication failed", "check the Secret {secret!r}"),
    ("no pg_hba.conf entry", "allow this user and database in the server's pg_hba.conf, or check sslMode"),
    ("permission denied for database", "GRANT CONNECT ON DATABASE to the user in the Secret {secret!r}"),
    ("does not support SSL", "set sslMode to prefer or disable, or turn TLS on at the server"),
    ("does not match host name", "set `host` to a name in the server's certificate, or use sslMode verify-ca"),
    ("certificate", "check `ca.crt` in the Secret {secret!r} and the server's certificate"),
    ("SSL", "check sslMode of connection {connection!r} and the server's TLS settings"),
    ("resolve host", "no such name in DNS: check `host` of connection {connection!r} and that the Service exists"),
    ("Connection refused", "nothing listens there: check host and port, and that the server runs"),
    ("timeout expired", "no answer: check host and port, that the server runs, and the NetworkPolicies"),
    ("No route to host", "check host and port, and that the server runs"),
    ("unreachable", "check host and port, and the NetworkPolicies"),
    ("system is starting up", "wait until the server has started, then run this again"),
    ("system is shutting down", "start the server, then run this again"),
    ("too many clients", "free or raise max_connections at the server"),
    ("connection slots", "free or raise max_connections at the server"),
    ("too many connections", "free or raise the connection limit of the role or database"),
    ('database "', "check `database` of connection {connection!r}"),
    ('role "', "check `username` in the Secret {secret!r}"),
)
_OTHER_ADVICE: Final = "check host, port and the Secret {secret!r}"


def connect_error(*, reason: str, server: str, connection: str, secret: str) -> ActionError:
    """The error for a connection that could not be made.

    Args:
        reason: text of the driver's exception.
        server: `host:port`.
        connection: name of the connection.
        secret: name of its Secret.
    """
    why = _plain(reason)
    advice = next((advice for needle, advice in _CONNECT_ADVICE if needle in why), _OTHER_ADVICE)
    hint = advice.format(secret=secret, connection=connection)
    return ActionError(f"cannot connect to PostgreSQL {server}: {why}: {hint}")


def query_error(error: "psycopg.Error", *, server: str) -> ActionError:
    """The error for a query that failed, with advice for what a user can mend."""
    what = error.diag.message_primary or _plain(str(error))
    match error.sqlstate:
        case "42501":
            return UncheckableError(
                f"PostgreSQL {server}: {what}: grant the privileges that this action's documentation names"
            )
        case "55P03":
            return ActionError(
                f"PostgreSQL {server}: {what}: another session holds the lock; run this at a quieter time "
                "or raise lockTimeout"
            )
        case "57014":
            return ActionError(f"PostgreSQL {server}: {what}: give the step a longer timeout")
        case None | "57P01" | "57P02" | "57P03":
            return ActionError(
                f"lost the connection to PostgreSQL {server}: {what}: look into the server's log, then run this again"
            )
        case _:
            return ActionError(f"PostgreSQL {server}: {what}")


def _plain(reason: str) -> str:
    """The last cause in libpq's text, without the address that the message names already."""
    lines = [line.strip(" -") for line in reason.splitlines() if line.strip()]
    causes = [line for line in lines if "failed: " in line or "FATAL" in line] or lines or [reason]
    cause = re.sub(r"^.*?(?:FATAL|ERROR):\s+", "", causes[-1])
    return re.sub(r"^.*\bfailed: |\[Errno [-0-9]+\] ", "", cause).rstrip(".") or "no reason given"
