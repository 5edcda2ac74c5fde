"""What stands in a snapshot of Redis: counted by the server's own checker, and compared with what was counted then."""

import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, ValidationError

from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.process import Finished, run
from upkeep.actions.contract import ActionError
from upkeep.actions.fields import Model

DIRECTORY: Final = "redis"
"""Where the snapshot stands in the scratch directory; the same for every run, so that snapshots compare."""
FILE: Final = "dump.rdb"
RECORD: Final = "record.json"

_WHOLE: Final = "RDB looks OK!"
_NEWER: Final = "Can't handle RDB format version"
_COUNTS: Final = re.compile(r"^\[info\] (?P<number>\d+) (?P<what>keys read|expires|already expired)$", re.MULTILINE)
_VERSION: Final = re.compile(r"AUX FIELD (?:redis|valkey)-ver = '(?P<version>[^']*)'")

Count = Annotated[int, Field(ge=0)]


class Keys(Model):
    """What was in the server when it was asked."""

    total: Count
    """How many keys."""
    expiring: Count
    """How many of them have a time to live, so that they may be gone when they are loaded."""
    version: str = ""
    """The server's version."""


async def read_keys(file: Path, *, scratch: Path) -> Keys:
    """Check a snapshot and count its keys.

    Raises:
        DamagedError: it is cut off or damaged.
        ActionError: it cannot be checked by this image.
    """
    finished = await run(["redis-check-rdb", str(file)], environment={}, directory=scratch)
    if finished.code or _WHOLE not in finished.output:
        raise _refused(finished)
    counts = {match["what"]: int(match["number"]) for match in _COUNTS.finditer(finished.output)}
    version = _VERSION.search(finished.output)
    return Keys(
        total=counts.get("keys read", 0),
        expiring=counts.get("expires", 0),
        version=version["version"] if version else "",
    )


def write_keys(directory: Path, keys: Keys) -> None:
    """Put what was counted beside the snapshot."""
    (directory / RECORD).write_text(keys.model_dump_json(by_alias=True))


def recorded_keys(directory: Path) -> Keys:
    """What was counted when the snapshot was taken.

    Raises:
        ActionError: it is not there, or is something else.
    """
    try:
        return Keys.model_validate_json((directory / RECORD).read_bytes())
    except (OSError, ValidationError):
        msg = (
            f"the backup has no {RECORD} that can be read, so that nobody knows what should be in it: it was made by "
            "another program or version; make a new backup, then verify that"
        )
        raise ActionError(msg) from None


def _refused(finished: Finished) -> ActionError:
    lines = [line for line in finished.output.splitlines() if line.startswith("[offset")]
    why = re.sub(r"^\[offset \d+\] ", "", lines[-1]) if lines else finished.complaint
    if _NEWER in finished.output:
        return ActionError(f"the server is newer than the Redis of this image ({why}): use an image with a newer one")
    return DamagedError(f"the snapshot of Redis is not whole: {why}: make a new backup at once")
