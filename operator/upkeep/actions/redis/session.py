"""One connection to Redis for one step, with errors that name the server and what to do about it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from upkeep.actions.connections import RedisTarget
from upkeep.actions.contract import ActionError, Context, UncheckableError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

CONNECT_SECONDS: Final = 3.0
"""How long the server may take to accept, so that a wrong host shows within five seconds."""

_ADVICE: Final = (
    ("WRONGPASS", "check the Secret {secret!r}"),
    ("invalid username-password pair", "check the Secret {secret!r}"),
    ("invalid password", "check the Secret {secret!r}"),
    ("without any password configured", "remove secretRef, or set a password at the server"),
    ("NOAUTH", "the server wants a password: add secretRef to connection {connection!r}"),
    ("Authentication required", "the server wants a password: add secretRef to connection {connection!r}"),
    ("Name or service not known", _NO_NAME := "no such name in DNS: check `host` of connection {connection!r}"),
    ("No address associated", _NO_NAME),
    ("Temporary failure in name resolution", "DNS does not answer: check the cluster's DNS"),
    ("Connection refused", "nothing listens there: check host and port, and that the server runs"),
    ("Connect call failed", "nothing listens there: check host and port, and that the server runs"),
    ("Timeout", "no answer: check host and port, that the server runs, and the NetworkPolicies"),
    ("CERTIFICATE_VERIFY_FAILED", "check `ca.crt` in the Secret {secret!r} and the server's certificate"),
    ("SSL", "check `tls` of connection {connection!r}: the server seems not to speak TLS"),
    ("Connection closed by server", "check `tls` of connection {connection!r} and the server's log"),
    ("Connection reset", "check `tls` of connection {connection!r} and the server's log"),
    ("loading the dataset", "wait until the server has loaded its data, then run this again"),
    ("DB index is out of range", "check `database` of connection {connection!r}"),
    ("max number of clients", "free or raise maxclients at the server"),
)
_OTHER_ADVICE: Final = "check host, port, and the server's log"


@asynccontextmanager
async def session(context: Context, name: str) -> AsyncIterator["Redis"]:
    """Connect, see that the server answers, and close afterwards.

    Raises:
        ActionError: no such connection or Secret, no connection, or a command of the caller failed.
        UncheckableError: the user may not run a command.
    """
    from redis.asyncio import Redis  # noqa: PLC0415 - a driver is loaded only when an action runs
    from redis.asyncio.retry import Retry  # noqa: PLC0415 - a driver is loaded only when an action runs
    from redis.backoff import NoBackoff  # noqa: PLC0415 - a driver is loaded only when an action runs
    from redis.exceptions import RedisError  # noqa: PLC0415 - a driver is loaded only when an action runs

    target = context.target(name, RedisTarget)
    client = Redis(
        host=target.host,
        port=target.port,
        db=target.database,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=max(1.0, context.remaining),
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        protocol=2,
        driver_info=None,  # introducing itself needs a privilege that a check has no other use for
        **_credentials(context, name, target),
        **_encryption(context, name, target),
    )
    try:
        yield client
    except (RedisError, OSError) as error:
        raise _explained(error, context, name, target) from error
    finally:
        await client.aclose()


def _credentials(context: Context, name: str, target: RedisTarget) -> dict[str, Any]:
    if target.secret_ref is None:
        return {}
    found = {"password": context.secret(name, "password")}
    if (context.credentials / name / "username").is_file():
        found["username"] = context.secret(name, "username")
    return found


def _encryption(context: Context, name: str, target: RedisTarget) -> dict[str, Any]:
    if not target.tls:
        return {}
    authority = context.credentials / name / "ca.crt"
    return {"ssl": True} | ({"ssl_ca_certs": str(authority)} if authority.is_file() else {})


def _explained(error: "RedisError | OSError", context: Context, name: str, target: RedisTarget) -> ActionError:
    from redis.exceptions import NoPermissionError  # noqa: PLC0415 - a driver is loaded only when an action runs

    server = f"{target.host}:{target.port}"
    what = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    what = re.sub(r"^Error -?[0-9]+ connecting to [^ ]+\. ", "", what)
    if isinstance(error, NoPermissionError):
        return UncheckableError(
            f"Redis {server}: {what}: allow the commands that this action's documentation names (ACL SETUSER)"
        )
    advice = next((advice for needle, advice in _ADVICE if needle in what), _OTHER_ADVICE)
    hint = advice.format(secret=context.secret_name(name), connection=name)
    return ActionError(f"cannot use Redis {server}: {what}: {hint}")
