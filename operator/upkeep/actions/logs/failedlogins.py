"""Counts refused log-ins in log files, by where they came from and whom they tried to be."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.contract import Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Rule, format_duration
from upkeep.actions.logs.lines import Expression, LogReader, Reading, compiled
from upkeep.actions.logs.mask import without_secrets
from upkeep.actions.logs.sketch import Counts
from upkeep.actions.text import readable
from upkeep.actions.thresholds import Graded
from upkeep.actions.volume.tree import Tree, work_in

_TOP: Final = 20
_LONGEST: Final = 100
_GROUP: Final = "needs a group of the name source or user, for example login failed for (?P<user>\\S+)"
_NOTHING: Final = "set formats, patterns, or both"
_REPEATED: Final = re.compile(r"message repeated (\d{1,4}) times: \[", re.ASCII)
_NOBODY: Final = ("", "-")


class LoginFormat(StrEnum):
    """Which kind of log is read."""

    SSH = "SSH"
    WEB = "Web"


# NB: a user name is chosen by whoever attacks and may look like the rest of the line: what the server itself has
# written stands last, so the longest name counts.
_KNOWN: Final = {
    LoginFormat.SSH: r"Failed (?!none )\S+ for (?:invalid user )?(?P<user>.*) from (?P<source>\S+) port \d+",
    LoginFormat.WEB: (
        r"^(?P<source>\S+) \S+ (?P<user>.*) \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
        r' "(?:[^"\\]|\\.)*" (?:401|403) '
    ),
}


@dataclass(slots=True, kw_only=True)
class _Tally:
    total: int = 0
    by: dict[str, Counts] = field(default_factory=lambda: {"source": Counts(), "user": Counts()})


class LogsFailedLogins(LogReader, Graded):
    """Reports sources and users with many refused log-ins in log files of the last day.

    Read are sshd (`Failed password for root from 192.0.2.7 port 22`), access logs of nginx and Apache (common and
    combined format) with status 401 or 403, and what own expressions match. With more than 4096 sources or users the
    rarest are left out, and counts are then lower bounds. Locks: none. Privileges: group 65532 may read the files.
    Source of the defaults: sshd ends a connection after 6 tries (MaxAuthTries), so 10 are no slip of the fingers; 100
    a day are a program.
    """

    action_name: ClassVar[str] = "logsFailedLogins"
    check: ClassVar[bool] = True
    graded_by: ClassVar[tuple[str, str]] = ("warning_count", "critical_count")
    finds: ClassVar[Mapping[str, str]] = {
        "logs.failed-logins.source": "an address that was refused often",
        "logs.failed-logins.user": "a name whose log-in was refused often",
    }

    formats: Annotated[list[LoginFormat], Field(max_length=2)] = Field(default_factory=lambda: list(LoginFormat))
    """SSH: of sshd. Web: access logs. Left out: both."""
    patterns: Annotated[list[Expression], Field(max_length=16)] = Field(default_factory=list)
    """Own regular expressions (Python) with a group `source`, a group `user`, or both."""
    warning_count: Annotated[int, Field(ge=1)] = 10
    """Refused log-ins of one source or user from which on it is a warning."""
    critical_count: Annotated[int, Field(ge=1)] = 100
    """Refused log-ins of one source or user from which on it is critical."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """Critical is at least as much as warning, and there is something to look for."""
        return (
            *super().rules(),
            {
                "rule": "!has(self.formats) || size(self.formats) > 0 || "
                "(has(self.patterns) && size(self.patterns) > 0)",
                "message": _NOTHING,
            },
        )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if not self.formats and not self.patterns:
            raise ValueError(_NOTHING)
        for pattern in self.patterns:
            if not {"source", "user"} & set(compiled(pattern).groupindex):
                msg = f"{pattern!r} {_GROUP}"
                raise ValueError(msg)
        return self

    async def run(self, context: Context) -> Result:
        """Read every file once.

        Raises:
            ActionError: the directory cannot be opened.
        """
        tally, reading = _Tally(), Reading()
        await work_in(context, self.connection, self.path, lambda tree: self._count(tree, tally, reading))
        missed = max(counts.missed for counts in tally.by.values())
        bound = f" (counts are too small by up to {missed})" if missed else ""
        message = (
            f"{tally.total} refused log-ins from {len(tally.by['source'])} sources as {len(tally.by['user'])} users in "
            f"{reading.words()}, last {format_duration(self.since)}{bound}"
        )
        return Result(
            outcome=reading.outcome if reading.files or reading.problems else Outcome.UNKNOWN,
            message=message if reading.files or reading.problems else reading.none_found(self.since),
            findings=[finding for kind, counts in tally.by.items() for finding in self._findings(kind, counts)],
            metrics={
                "refused": tally.total,
                "sources": len(tally.by["source"]),
                "users": len(tally.by["user"]),
                "lines": reading.lines,
            },
        )

    def _count(self, tree: Tree, tally: _Tally, reading: Reading) -> None:
        patterns = [compiled(text) for text in (*(_KNOWN[known] for known in self.formats), *self.patterns)]
        for line in self.lines(tree, reading):
            for pattern in patterns:
                found = pattern.search(line)
                if found is None:
                    continue
                repeated = _REPEATED.search(line, 0, found.start())
                times = int(repeated[1]) if repeated else 1
                tally.total += times
                for kind, text in found.groupdict().items():
                    if kind in tally.by and text not in {None, *_NOBODY}:
                        tally.by[kind].add(text[:_LONGEST], times)
                break

    def _findings(self, kind: str, counts: Counts) -> Iterator[Finding]:
        for text, count in counts.most(_TOP):
            if count < self.warning_count:
                return
            critical = count >= self.critical_count
            yield Finding(
                check_id=f"logs.failed-logins.{kind}",
                severity=Severity.CRITICAL if critical else Severity.WARNING,
                object=f"{self.connection} {kind} {readable(without_secrets(text))}",
                observed=count,
                threshold=self.critical_count if critical else self.warning_count,
                unit="log-ins",
                recommendation="block the source, or find out which program has an old password"
                if kind == "source"
                else "see that the password is strong and nobody got in; lock the user if it should not log in",
            )
