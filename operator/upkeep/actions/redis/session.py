"""Connections to Redis for one step, with errors that name the server and what to do about it."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from upkeep.actions.connections import RedisTarget
from upkeep.actions.contract import ActionError, Context, UncheckableError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

CONNECT_SECONDS: Final = 3.0
"""How long the server may take to accept, so that a wrong host shows within five seconds."""

_CLUSTER_FIELDS: Final = 8

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
    ("read only replica", "connection {connection!r} points to a replica: let it point to the primary"),
    ("unknown command", "the server is too old for it, or its provider has disabled it"),
    ("max number of clients", "free or raise maxclients at the server"),
)
_OTHER_ADVICE: Final = "check host, port, and the server's log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One server that a step talks to.

    Attributes:
        name: what findings call it: the connection's name, for a node of a cluster its `host:port`.
        client: its connection; answers are text, and bytes that are no UTF-8 survive as surrogates.
        info: its answer to INFO when the step began.
        explain: makes the error that a user reads of what its driver raised.
    """

    name: str
    client: "Redis"
    info: Mapping[str, Any]
    explain: Callable[["RedisError | OSError"], ActionError]

    @property
    def primary(self) -> bool:
        """Whether it takes writes."""
        return str(self.info.get("role", "master")) == "master"

    @property
    def cluster(self) -> bool:
        """Whether it is a node of a Redis Cluster."""
        return str(self.info.get("cluster_enabled", "0")) == "1"

    async def ask(self, *words: str | int) -> Any:  # noqa: ANN401 - every command answers something else
        """Run one command.

        Raises:
            ActionError: it failed; names this server.
            UncheckableError: the user may not run it.
        """
        from redis.exceptions import RedisError  # noqa: PLC0415 - a driver is loaded only when an action runs

        try:
            return await self.client.execute_command(*words)  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            raise self.explain(error) from error

    async def ask_all(self, commands: Iterable[Sequence[str | int]]) -> list[Any]:
        """Run commands in one round trip, not as a transaction.

        Raises:
            ActionError: one of them failed; names this server.
            UncheckableError: the user may not run one of them.
        """
        from redis.exceptions import RedisError  # noqa: PLC0415 - a driver is loaded only when an action runs

        pipeline = self.client.pipeline(transaction=False)
        for words in commands:
            pipeline.execute_command(*words)
        try:
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise self.explain(error) from error
        failure = next((answer for answer in answers if isinstance(answer, RedisError)), None)
        if failure is not None:
            raise self.explain(failure) from failure
        return answers


@asynccontextmanager
async def sessions(context: Context, name: str) -> AsyncIterator[Sequence[Node]]:
    """Connect to the server or, where it is a node of a Redis Cluster, to all nodes of the cluster, by their address.

    Raises:
        ActionError: no such connection or Secret, no connection to one of the nodes, or a command of the caller failed.
        UncheckableError: the user may not run a command.
    """
    target = context.target(name, RedisTarget)
    async with AsyncExitStack() as stack:
        first = await _joined(stack, context, name, target, name)
        if not first.cluster:
            yield [first]
            return
        members = cluster_addresses(str(await first.ask("CLUSTER", "NODES")))
        targets = [target.model_copy(update={"host": host or target.host, "port": port}) for host, port in members]
        yield [await _joined(stack, context, name, member, _label(member)) for member in targets]


async def _joined(stack: AsyncExitStack, context: Context, name: str, target: RedisTarget, called: str) -> Node:
    client = await stack.enter_async_context(_opened(context, name, target))

    def explain(error: "RedisError | OSError") -> ActionError:
        return _explained(error, context, name, target)

    return Node(name=called, client=client, info=await client.info(), explain=explain)


def cluster_addresses(answer: str) -> list[tuple[str, int]]:
    """Host and port of every node that CLUSTER NODES lists and that is not known to have failed or left.

    A line is `id ip:port@bus[,hostname[,...]] flags ...`. The host name wins where one is announced, because
    certificates have names; the host is empty where the server does not know its own address yet.
    """
    found = []
    for line in answer.splitlines():
        fields = line.split(" ")
        if len(fields) < _CLUSTER_FIELDS or {"fail", "noaddr", "handshake"} & set(fields[2].split(",")):
            continue
        address, _, extra = fields[1].partition("@")
        host, _, port = address.rpartition(":")
        names = extra.split(",")[1:2]
        found.append((next((name for name in names if name and "=" not in name), host), int(port)))
    return sorted(found)


@asynccontextmanager
async def _opened(context: Context, name: str, target: RedisTarget) -> AsyncIterator["Redis"]:
    from redis.asyncio import Redis  # noqa: PLC0415 - a driver is loaded only when an action runs
    from redis.asyncio.retry import Retry  # noqa: PLC0415 - a driver is loaded only when an action runs
    from redis.backoff import NoBackoff  # noqa: PLC0415 - a driver is loaded only when an action runs
    from redis.exceptions import RedisError  # noqa: PLC0415 - a driver is loaded only when an action runs

    client = Redis(
        host=target.host,
        port=target.port,
        db=target.database,
        socket_connect_timeout=CONNECT_SECONDS,
        # NB: with a timeout the driver sends by asyncio.wait_for, which up to Python 3.11 loses a cancellation that
        # comes just when the command was sent. The runner ends a step in time, too.
        socket_timeout=None,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        encoding_errors="surrogateescape",
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


def _label(target: RedisTarget) -> str:
    return f"{target.host}:{target.port}"


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
    from redis.exceptions import NoPermissionError, ResponseError  # noqa: PLC0415 - a driver is loaded only when an action runs

    server = _label(target)
    what = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    what = re.sub(r"^Error -?[0-9]+ connecting to [^ ]+\. ", "", what)
    if isinstance(error, NoPermissionError):
        return UncheckableError(
            f"Redis {server}: {what}: allow the commands that this action's documentation names (ACL SETUSER)"
        )
    advice = next((advice for needle, advice in _ADVICE if needle in what), None)
    if advice is None and isinstance(error, ResponseError):
        return ActionError(f"Redis {server}: {what}")
    hint = (advice or _OTHER_ADVICE).format(secret=context.secret_name(name), connection=name)
    return ActionError(f"cannot use Redis {server}: {what}: {hint}")
