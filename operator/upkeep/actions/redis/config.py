"""Compares the configuration of Redis with what it should be, and sets it where that is wanted.

It must not touch what holds secrets, names files or opens the server to others: those settings are refused.
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, ClassVar, Final, Self

from pydantic import AfterValidator, Field, model_validator

from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import LabelName, Model, Rule
from upkeep.actions.redis.session import Node, sessions
from upkeep.actions.text import readable

_REFUSED: Final = (
    "pass|auth|user|file|socket|dir$|dirname$|module|^bind|port$|protected-mode|^rename-|^enable-|(slave|replica)of$"
)
_WHY_REFUSED: Final = "settings that hold secrets, name files or open the server to others are not set here"
_PERSIST_ALONE: Final = "persist writes what was applied into the server's configuration file: set apply: true as well"
_SIZE: Final = re.compile(r"([0-9]{1,18})(b|k|kb|m|mb|g|gb)", re.ASCII)
_UNITS: Final = {"b": 1, "k": 1000, "kb": 1024, "m": 10**6, "mb": 1024**2, "g": 10**9, "gb": 1024**3}
_FLAGS: Final = frozenset({"notify-keyspace-events"})
"""Settings whose letters the server puts into an order of its own."""


class Setting(Model):
    """One setting of the server."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9-]*$")]
    """Its name, for example `maxmemory-policy`."""
    value: Annotated[str, Field(max_length=1024)]
    """What it should be, as the server's configuration file has it, for example `allkeys-lru` or `256mb`."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Nothing that could be misused."""
        return ({"rule": f"!self.name.matches('{_REFUSED}')", "message": _WHY_REFUSED},)

    @model_validator(mode="after")
    def _harmless(self) -> Self:
        if re.search(_REFUSED, self.name):
            raise ValueError(_WHY_REFUSED)
        return self


def _unique(settings: list[Setting]) -> list[Setting]:
    names = [setting.name for setting in settings]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        msg = f"the setting {twice!r} is there twice: remove one"
        raise ValueError(msg)
    return settings


class RedisConfig(Action):
    """Reports where the server's configuration differs from what it should be, and with `apply` sets it.

    Where the connection points to a node of a Redis Cluster, every node is compared and set. A maxmemory below what is
    in use is refused, because the server would evict at once. Locks: the server answers nobody while it applies a
    setting, usually for less than a millisecond. Privileges: `ACL SETUSER upkeep on >PASSWORD +info +select
    +config|get`, with `apply` also `+config|set`, with `persist` also `+config|rewrite`, for a cluster also
    `+cluster|nodes`. CONFIG GET lets its user read the server's passwords, CONFIG SET is as powerful as an
    administrator: give this task a user and a Secret of its own.
    """

    action_name: ClassVar[str] = "redisConfig"
    finds: ClassVar[Mapping[str, str]] = {
        "redis.config.drift": "a setting that is not as it should be",
        "redis.config.not-persisted": "a setting that a restart would lose",
    }

    connection: LabelName
    """Name of a Redis connection."""
    settings: Annotated[
        list[Setting],
        Field(
            min_length=1,
            max_length=32,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
        AfterValidator(_unique),
    ]
    """What is compared, and with `apply` set, in this order."""
    apply: bool = False
    """True: what differs is set. False: it is only reported."""
    persist: bool = False
    """True: what runs is written into the server's configuration file (CONFIG REWRITE), so that it outlives a restart.
    Where the server has no file that it can write, that is a finding."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Only what was applied can be persisted."""
        return (
            {
                "rule": "!has(self.persist) || !self.persist || (has(self.apply) && self.apply)",
                "message": _PERSIST_ALONE,
            },
        )

    @model_validator(mode="after")
    def _applied_before_persisted(self) -> Self:
        if self.persist and not self.apply:
            raise ValueError(_PERSIST_ALONE)
        return self

    async def run(self, context: Context) -> Result:
        """Compare every server, and set what differs.

        Raises:
            ActionError: a setting that the server does not know, or that it refused.
            UncheckableError: the user may not read or write the configuration.
        """
        findings: list[Finding] = []
        drifted = 0
        async with sessions(context, self.connection) as nodes:
            for node in nodes:
                differing = [(setting, is_now) async for setting, is_now in self._drift(node)]
                drifted += len(differing)
                if self.apply:
                    await _set(node, [setting for setting, _ in differing])
                    findings += await _persisted(node) if self.persist else []
                else:
                    findings += [_differs(node, setting, is_now) for setting, is_now in differing]
        count = len(self.settings) * len(nodes)
        metrics = {"settings": float(count), "drifted": float(drifted)}
        if self.apply and drifted:
            message = f"{drifted} of {count} settings set and confirmed"
            return Result(outcome=Outcome.CHANGED, message=message, findings=findings, metrics=metrics)
        message = f"{drifted} of {count} settings differ" if drifted else f"all {count} settings are as they should be"
        return Result(outcome=Outcome.OK, message=message, findings=findings, metrics=metrics)

    async def _drift(self, node: Node) -> AsyncIterator[tuple[Setting, str]]:
        for setting in self.settings:
            is_now = await _read(node, setting.name)
            if normal(setting.name, is_now) != normal(setting.name, setting.value):
                yield setting, is_now


def normal(name: str, value: str) -> str:
    """The value in the form in which the server keeps it, so far as its form is one of sizes, words or flags."""
    if name in _FLAGS:
        return "".join(sorted(value))
    words = []
    for word in value.split():
        size = _SIZE.fullmatch(word.lower())
        words.append(str(int(size[1]) * _UNITS[size[2]]) if size else word.lower())
    return " ".join(words)


async def _read(node: Node, name: str) -> str:
    answer = await node.ask("CONFIG", "GET", name)
    if len(answer) != len(("name", "value")):
        msg = f"{node.name} has no setting {name!r}: check its name and the server's version"
        raise ActionError(msg)
    return str(answer[1])


async def _set(node: Node, settings: Sequence[Setting]) -> None:
    done: list[str] = []
    for setting in settings:
        try:
            await _set_one(node, setting)
        except ActionError as error:
            before = f" ({', '.join(done)} was set before)" if done else ""
            msg = f"cannot set {setting.name} to {readable(setting.value)!r}: {error}{before}"
            raise type(error)(msg) from error
        done.append(setting.name)


async def _set_one(node: Node, setting: Setting) -> None:
    _see_that_it_evicts_nothing(node, setting)
    await node.ask("CONFIG", "SET", setting.name, setting.value)
    is_now = await _read(node, setting.name)
    if normal(setting.name, is_now) != normal(setting.name, setting.value):
        msg = f"{node.name} made {readable(is_now)!r} of it: write it so"
        raise ActionError(msg)


def _see_that_it_evicts_nothing(node: Node, setting: Setting) -> None:
    if setting.name != "maxmemory":
        return
    wanted, used = normal(setting.name, setting.value), int(node.info.get("used_memory", 0))
    if wanted.isdigit() and 0 < int(wanted) < used:
        msg = f"{node.name} uses {used} bytes and would evict keys or refuse writes at once: free memory first"
        raise ActionError(msg)


async def _persisted(node: Node) -> list[Finding]:
    if node.info.get("config_file"):
        try:
            await node.ask("CONFIG", "REWRITE")
        except UncheckableError:
            raise
        except ActionError as error:
            return [_lost_at_restart(node, str(error))]
        return []
    return [_lost_at_restart(node, "it runs without a configuration file")]


def _lost_at_restart(node: Node, reason: str) -> Finding:
    return Finding(
        check_id="redis.config.not-persisted",
        severity=Severity.WARNING,
        object=node.name,
        observed=1,
        threshold=1,
        unit="",
        recommendation=f"the next restart loses the settings: {reason}: set them where the server is deployed too",
    )


def _differs(node: Node, setting: Setting, is_now: str) -> Finding:
    return Finding(
        check_id="redis.config.drift",
        severity=Severity.WARNING,
        object=f"{node.name} {setting.name}",
        observed=1,
        threshold=1,
        unit="",
        recommendation=f"it is {readable(is_now)!r} and should be {readable(setting.value)!r}: "
        "set apply: true, or change it where the server is deployed",
    )
