"""What is too small to be a backup, although nothing has failed: a database that was emptied dumps without an error."""

from typing import Annotated, Final

from pydantic import Field

from upkeep.actions.contract import Finding, Severity
from upkeep.actions.fields import Model, Size, bytes_of
from upkeep.actions.text import readable_size

CHECK_ID: Final = "backup.sanity"
_WHOLE: Final = 100


class Sanity(Model):
    """What a backup has to be like. One that is not is not stored, and its run has failed."""

    min_size: Size | None = None
    """It has at least so many bytes before it is compressed, for example `10Mi`."""
    max_shrink: Annotated[str, Field(max_length=8, pattern=r"^(100|[1-9]?[0-9])%$")] = "90%"
    """It is at most so much smaller than the last good one; `100%` allows everything."""


class Previous(Model):
    """The last good backup."""

    snapshot: str
    """By restic's short id."""
    bytes: Annotated[int, Field(ge=0)]
    """Size of what was backed up."""


def implausible(sanity: Sanity, size: int, previous: Previous | None, *, of: str) -> Finding | None:
    """Why a dump is no backup; None where it may be one.

    Args:
        sanity: what it has to be like.
        size: bytes of the dump.
        previous: the last good backup; None where there is none, or nobody knows.
        of: what was dumped.
    """
    least = bytes_of(sanity.min_size) if sanity.min_size else 0
    if size < least:
        what = f"the dump has {readable_size(size)}, and sanity.minSize is {sanity.min_size}"
        return _finding(size, least, of, f"{what}: look whether the source is the right one, and whole")
    allowed = int(sanity.max_shrink.rstrip("%"))
    if previous is None or not previous.bytes:
        return None
    smallest = previous.bytes * (_WHOLE - allowed) // _WHOLE
    if size >= smallest:
        return None
    what = (
        f"the dump has {readable_size(size)}, the last good backup ({previous.snapshot}) had "
        f"{readable_size(previous.bytes)}, and sanity.maxShrink is {sanity.max_shrink}"
    )
    advice = "look what is gone; if that is right, raise it until one backup has succeeded"
    return _finding(size, smallest, of, f"{what}: {advice}")


def _finding(observed: int, threshold: int, of: str, what: str) -> Finding:
    return Finding(
        check_id=CHECK_ID,
        severity=Severity.CRITICAL,
        object=of,
        observed=observed,
        threshold=threshold,
        unit="bytes",
        recommendation=what,
    )
