"""What the tests measured, shown as a table at the end of the session."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

HEADING: Final = "measured"


@dataclass(slots=True)
class Stopwatch:
    """Counts from when it was made.

    Attributes:
        started: on the monotonic clock.
        seconds: what it showed when it was stopped.
    """

    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def stop(self) -> float:
        """The seconds since it was made."""
        self.seconds = time.monotonic() - self.started
        return self.seconds


@dataclass(slots=True)
class Timings:
    """Seconds by topic and what took them."""

    rows: list[tuple[str, str, float]] = field(default_factory=list)

    def note(self, topic: str, what: str, seconds: float) -> None:
        """Keep one measurement."""
        self.rows.append((topic, what, seconds))

    @contextmanager
    def taking(self, topic: str, what: str) -> Iterator[None]:
        """Keep how long the block takes, where it comes to its end."""
        watch = Stopwatch()
        yield
        self.note(topic, what, watch.stop())

    def table(self) -> list[str]:
        """One line a measurement, by topic."""
        topics = dict.fromkeys(sorted(topic for topic, _, _ in self.rows))
        lines = []
        for topic in topics:
            lines.append(topic)
            rows = sorted(row for row in self.rows if row[0] == topic)
            lines += [f"  {seconds:6.2f} s  {what}" for _, what, seconds in rows]
        return lines
