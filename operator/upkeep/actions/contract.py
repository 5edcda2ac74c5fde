"""The shape of an action: parameters, a run, and a result that never claims more than was seen.

Everything above this layer (custom resources, decisions, the runner) speaks in these terms. Nothing here
may import a driver: what an action needs to connect to, it imports inside its own `run`.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from upkeep.actions.connections import Connection, ConnectionTarget
from upkeep.actions.fields import Model

if TYPE_CHECKING:
    from upkeep.actions.backup.origin import Origin

MEMORY_BYTES: Final = 1536
"""How much all steps of a run together may remember; a termination message has 4096, for all that a run says."""

_KUBELET_PREFIX: Final = ".."  # the kubelet's own links; an optional Secret that does not exist has only these


class Outcome(StrEnum):
    """How a step or a run ended. What could not be checked is `unknown`, never `ok`."""

    OK = "ok"
    CHANGED = "changed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    FAILED = "failed"

    @property
    def good(self) -> bool:
        """Whether a run with this outcome counts as successful."""
        return self in {Outcome.OK, Outcome.CHANGED, Outcome.SKIPPED}


class OnFailure(StrEnum):
    """What a failed step means for the steps after it."""

    STOP = "Stop"
    CONTINUE = "Continue"


class Severity(StrEnum):
    """How much a finding matters; declared from the least to the most severe."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the least severe, growing."""
        return list(Severity).index(self)


class Grade(StrEnum):
    """How bad a weakness in security is; a task says by `patchDeadlines` how soon each grade has to be patched."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class ActionError(Exception):
    """A step could not do its work. The message says what was being done to what, and what to do about it."""


class UncheckableError(ActionError):
    """A check could not be made (no privilege, extension missing): its outcome is `unknown`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a check saw and a person may want to act on.

    The operator keeps since when each finding is seen, by its step and fingerprint: `object` must name the same thing
    in every run, without numbers that change. A finding with a `grade` has a deadline.

    Attributes:
        check_id: stable identifier of the check, for example `postgres.dead-tuples`.
        severity: how much it matters.
        object: what it was seen on, for example `public.orders`.
        observed: the measured value, in `unit`.
        threshold: the value from which on it is a finding, in `unit`.
        unit: `rows`, `ratio`, `bytes`, `seconds`, ...; empty for counts without one.
        recommendation: what to do, one sentence.
        grade: of a weakness that a patch removes; None for what has no deadline.
        since: from when the time for the patch counts, for example its publication, in a time zone; None: from when it
            was first seen.
    """

    check_id: str
    severity: Severity
    object: str
    observed: float
    threshold: float
    unit: str
    recommendation: str
    grade: Grade | None = None
    since: datetime | None = None

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that stay the same while the same check finds the same object."""
        return hashlib.sha256(f"{self.check_id}\0{self.object}".encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an action reports.

    Attributes:
        outcome: see `Outcome`.
        message: one sentence for people.
        findings: in any order; the runner sorts the worst first.
        metrics: name → number, for status and logs; names are snake_case with their unit.
        facts: name → short text that a status keeps; names are snake_case.
        memory: name → short text that `Context.previous` holds in the next run of this step; at most
            `MEMORY_BYTES` as JSON. Kept only where the outcome is ok or changed; what is left out is forgotten.
        details: what is too much for a status, one line of the run's log each: name → number or text.
    """

    outcome: Outcome
    message: str
    findings: Sequence[Finding] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    memory: Mapping[str, str] = field(default_factory=dict)
    details: Sequence[Mapping[str, str | float]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """What the last run of a step that came to a result has left for this one.

    It comes from a status, which people may edit, and from a step whose parameters may have been others: an action
    reads it as it would read any input, and starts anew from what it cannot use.

    Attributes:
        time: when that run ended.
        values: its `Result.memory`.
    """

    time: datetime
    values: Mapping[str, str]


Target = TypeVar("Target", bound=ConnectionTarget)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the runner hands to an action.

    Attributes:
        connections: the task's connections by name.
        credentials: directory with one sub-directory a connection, one file a Secret key.
        scratch: writable directory that vanishes with the Pod.
        volumes: directory with one sub-directory a connection of kind volume.
        remaining: seconds until the step's deadline when it starts.
        previous: what the step remembers; None in its first run, and in the checks of a window.
        origins: the BackupPolicies that the task's steps name, by name.
    """

    connections: Mapping[str, Connection]
    credentials: Path
    scratch: Path
    volumes: Path
    remaining: float
    previous: Previous | None = None
    origins: Mapping[str, "Origin"] = field(default_factory=dict)

    def target(self, name: str, kind: type[Target]) -> Target:
        """The connection's target, checked to be of the kind that the action needs.

        Raises:
            ActionError: no such connection, or one of another kind.
        """
        connection = self.connections.get(name)
        if connection is None:
            known = ", ".join(sorted(self.connections)) or "none"
            msg = f"connection {name!r} is not defined: add it to spec.connections (defined: {known})"
            raise ActionError(msg)
        if not isinstance(connection.target, kind):
            msg = f"connection {name!r} is {connection.kind}, but this step needs {kind.kind}"
            raise ActionError(msg)
        return connection.target

    def origin(self, policy: str) -> "Origin":
        """Where the backups of a policy are.

        Raises:
            ActionError: nobody has looked the policy up.
        """
        if policy not in self.origins:
            msg = (
                f"BackupPolicy {policy!r} does not exist in this namespace: create it, or correct `policy` of the step"
            )
            raise ActionError(msg)
        return self.origins[policy]

    def secret(self, name: str, key: str) -> str:
        """One value of the connection's Secret, read from its mounted file.

        Raises:
            ActionError: the Secret or the key is not there; names the Secret, never its content.
        """
        path = self.secret_file(name, key, holder=f"connection {name!r}", secret=self.secret_name(name))
        try:
            return path.read_text().rstrip("\n")
        except UnicodeDecodeError:
            msg = f"key {key!r} of Secret {self.secret_name(name)!r} is not UTF-8 text: store it as text"
            raise ActionError(msg) from None

    def secret_name(self, name: str) -> str:
        """Name of the connection's Secret, for messages; empty where it has none."""
        return self.connections[name].target.secret_name or ""

    def secret_file(self, directory: str, key: str, *, holder: str, secret: str) -> Path:
        """The mounted file of one key of a Secret, for programs that read credentials themselves.

        Args:
            directory: sub-directory of `credentials`.
            key: key in the Secret.
            holder: what the Secret belongs to, for the message.
            secret: name of the Secret, for the message.

        Raises:
            ActionError: the Secret or the key is not there.
        """
        path = self.credentials / directory / key
        if path.is_file():
            return path
        if path.parent.is_dir() and any(not entry.name.startswith(_KUBELET_PREFIX) for entry in path.parent.iterdir()):
            msg = f"Secret {secret!r} of {holder} has no key {key!r}: add the key"
        else:
            msg = f"Secret {secret!r} of {holder} does not exist in this namespace: create it"
        raise ActionError(msg)


class Action(Model):
    """Base of every action: its fields are its parameters, its docstring is what `kubectl explain` shows.

    A subclass sets `action_name` and is found by the registry. It never imports a driver at module level.
    """

    action_name: ClassVar[str] = ""
    """The key in a step, for example `postgresVacuum`."""

    check: ClassVar[bool] = False
    """True for what only looks and changes nothing; a window may use it to find out whether all is well."""

    finds: ClassVar[Mapping[str, str]] = {}
    """By `check_id` of its findings (with `*` for what is only known when it runs): what such a finding means."""

    internal: ClassVar[bool] = False
    """True for what only Upkeep itself composes (backups); users cannot write it in a step."""

    def connection_names(self) -> Sequence[str]:
        """Names of the connections that the parameters refer to, for validation before anything runs."""
        name = getattr(self, "connection", None)
        return [name] if isinstance(name, str) else []

    def policy_names(self) -> Sequence[str]:
        """Names of the BackupPolicies whose backups it needs; the operator looks them up when a run is started."""
        return ()

    @abstractmethod
    async def run(self, context: Context) -> Result:
        """Do the work.

        Raises:
            ActionError: it could not be done; the step is `failed`.
            UncheckableError: it could not be checked; the step is `unknown`.
        """
