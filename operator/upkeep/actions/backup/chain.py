"""Which snapshot builds on which: a backup of what has changed is worth nothing without those before it.

It must never call a chain whole of which a link is missing.
"""

from collections.abc import Collection, Sequence
from typing import Final

from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.snapshot import Stored

PHYSICAL: Final = "method=physical"
"""Tag of snapshots of the files of a server."""
_BASE: Final = "base="


def built_on(base: Stored) -> str:
    """The tag of a snapshot that builds on another."""
    return f"{_BASE}{base.identifier}"


def base_of(snapshot: Stored) -> str:
    """The id of the snapshot that this one builds on; empty where it stands by itself."""
    return next((tag.removeprefix(_BASE) for tag in sorted(snapshot.tags) if tag.startswith(_BASE)), "")


def chain(stored: Collection[Stored], last: Stored) -> Sequence[Stored]:
    """What a snapshot needs to be restored: the full one first, itself last.

    Raises:
        DamagedError: one of them is not in the repository any more.
    """
    links = [last]
    while base := base_of(links[-1]):
        found = next((each for each in stored if each.goes_by(base) and each not in links), None)
        if found is None:
            msg = (
                f"snapshot {links[-1].name} builds on snapshot {base[:8]}, which is not in the repository any more: "
                "make a full backup at once"
            )
            raise DamagedError(msg)
        links.append(found)
    return links[::-1]


def needed(stored: Collection[Stored], kept: Collection[Stored]) -> Sequence[Stored]:
    """Those that are not kept, but that one of the kept builds on, whether or not the rest of its chain is there."""
    found: list[Stored] = []
    pending = list(kept)
    while pending:
        base = base_of(pending.pop())
        new = [each for each in stored if base and each.goes_by(base) and each not in kept and each not in found]
        found += new
        pending += new
    return found
