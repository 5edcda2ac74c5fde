"""Claims: what the demo says is true, checked, and printed with what was seen."""

import time
from collections.abc import Callable
from typing import TypeVar

from lab.report import Report

Seen = TypeVar("Seen")


class ClaimError(Exception):
    """Something that the demo claims does not hold; the message says what was seen instead."""


class Claims:
    """Checks claims one by one, and says each that holds."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.held = 0

    def claim(self, text: str, *, holds: bool, seen: object) -> None:
        """Say a claim that holds.

        Raises:
            ClaimError: it does not.
        """
        if not holds:
            msg = f"Not true: {text}. Seen: {seen}"
            raise ClaimError(msg)
        self.held += 1
        self._report.say(f"  ✓ {text} ({seen})")

    def wait(
        self, what: str, look: Callable[[], Seen], until: Callable[[Seen], bool], *, seconds: float, every: float = 0.5
    ) -> Seen:
        """Look again and again until it is as it should be; returns what was seen then.

        Raises:
            ClaimError: it did not become so in time.
        """
        deadline = time.monotonic() + seconds
        with self._report.step(what) as step:
            while not until(seen := look()):
                if time.monotonic() > deadline:
                    msg = f"Waited {seconds:.0f} s in vain: {what}. Seen last: {seen}"
                    raise ClaimError(msg)
                step.advance(by=0, detail=str(seen))
                time.sleep(every)
        return seen
