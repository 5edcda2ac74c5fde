"""The last line of defence: what stands in a credential file never stands in a report or a log line.

Actions do not put secrets into messages. A library that quotes its input in an error might; this takes it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from upkeep.actions.contract import Finding, Result
from upkeep.actions.text import readable

REDACTED: Final = "[redacted]"

_SHORTEST: Final = 6
"""Shorter values are also words and numbers of ordinary messages; to blank them would tell that they are secret."""

_PUBLIC_KEYS: Final = frozenset({"username", "ca.crt", "tls.crt"})


@dataclass(frozen=True, slots=True)
class Redaction:
    """The secret values of a run, longest first."""

    values: Sequence[str] = ()

    @classmethod
    def of(cls, credentials: Path) -> "Redaction":
        """Read them from the mounted Secrets: a sub-directory a connection, a file a key; of policies one deeper."""
        found: set[str] = set()
        for path in (*credentials.glob("*/*"), *credentials.glob("*/*/*")):
            if path.name in _PUBLIC_KEYS or not path.is_file():
                continue
            value = path.read_text(errors="replace").strip()
            if len(value) >= _SHORTEST:
                found |= {value, quote(value), quote(value, safe=""), repr(value)[1:-1]}
        return cls(sorted(found, key=len, reverse=True))

    def text(self, text: str) -> str:
        """The text without the values."""
        for value in self.values:
            text = text.replace(value, REDACTED)
        return text

    def result(self, result: Result) -> Result:
        """The result without the values."""
        return Result(
            outcome=result.outcome,
            message=self._shown(result.message),
            findings=[self._finding(finding) for finding in result.findings],
            metrics=result.metrics,
            facts={name: self.text(value) for name, value in result.facts.items()},
            memory={name: self.text(value) for name, value in result.memory.items()},
            details=[
                {name: self.text(value) if isinstance(value, str) else value for name, value in line.items()}
                for line in result.details
            ],
        )

    def fields(self, fields: Mapping[str, object]) -> dict[str, object]:
        """The fields of a log line without the values."""
        return {name: self.text(value) if isinstance(value, str) else value for name, value in fields.items()}

    def _finding(self, finding: Finding) -> Finding:
        return replace(finding, object=self._shown(finding.object), recommendation=self._shown(finding.recommendation))

    def _shown(self, text: str) -> str:
        """The text for people: a name with control characters in it must not write into their terminal either."""
        return readable(self.text(text))
