"""Whether there is room for the next backup, said while there still is."""

from collections.abc import Mapping, Sequence

from upkeep.actions.backup.repository import FREE_BYTES
from upkeep.actions.contract import Finding, Severity
from upkeep.actions.text import readable_size


def room_findings(repository: str, room: Mapping[str, float], *, added: int) -> Sequence[Finding]:
    """What is told where one more backup like the last one might not fit.

    Args:
        repository: its name.
        room: metrics of it, after the backup.
        added: bytes that the backup added, before compression.
    """
    free = room.get(FREE_BYTES)
    if free is None or free >= added:
        return []
    return [
        Finding(
            check_id="backup.capacity",
            severity=Severity.WARNING,
            object=repository,
            observed=free,
            threshold=added,
            unit="bytes",
            recommendation=f"{readable_size(free)} are left, and this backup brought {readable_size(added)} of new "
            "data: enlarge the volume, or keep less (retention and prune)",
        )
    ]
