"""The files of a PostgreSQL server out of its snapshots: of one, or put together of those that build on each other.

Nothing may come out of it that was not compared with what the server sent, in every snapshot that is part of it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from upkeep.actions.backup.archive import last_words
from upkeep.actions.backup.basebackup import DIRECTORY, link_tablespaces, mapped, read_server, write_server
from upkeep.actions.backup.chain import chain
from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.inventory import DATA, TABLESPACES, Inventory
from upkeep.actions.backup.process import run
from upkeep.actions.backup.programs import MissingProgramsError, Programs, same_as
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.scratch import emptied, vacated
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.contract import ActionError, UncheckableError

_EARLIER: Final = "earlier"
_COMBINED: Final = "combined"
_FULL: Final = "No space left on device"


@asynccontextmanager
async def combined(
    restic: Restic, stored: Sequence[Stored], snapshot: Stored, fetched: Path, *, scratch: Path
) -> AsyncIterator[Path]:
    """A directory with all files of the server as they were, for as long as the block: data, tablespaces, record.

    Args:
        restic: of the repository.
        stored: the snapshots of the policy.
        snapshot: the one that is wanted.
        fetched: directory that it was restored into.
        scratch: writable directory, with room for the snapshots that it builds on, and for the whole server.

    Raises:
        DamagedError: a snapshot that is needed is gone, or not as the server sent it.
        UncheckableError: this image does not have the programs of the server's version.
    """
    *earlier, _ = chain(stored, snapshot)
    with ExitStack() as stack:
        parts = []
        for number, link in enumerate(earlier):
            place = stack.enter_context(vacated(scratch / f"{_EARLIER}-{number}"))
            await restic.restore(link, place)
            parts.append(place / DIRECTORY)
        parts.append(fetched / DIRECTORY)
        programs = fitting(read_server(parts[-1]).major)
        for part in parts:
            inventory = await asyncio.to_thread(Inventory.read, part / DATA)
            await asyncio.to_thread(inventory.compare, part / DATA)
            await inventory.compare_log(programs, part / DATA, scratch=scratch)
        if earlier:
            whole = stack.enter_context(emptied(scratch / _COMBINED))
            await _combine(programs, parts, whole, scratch=scratch)
            yield whole
        else:
            yield parts[0]


def fitting(major: int) -> Programs:
    """The programs that can read the files of a server of this version.

    Raises:
        UncheckableError: this image does not have them.
    """
    try:
        return same_as(major)
    except MissingProgramsError as error:
        msg = f"the files are those of a PostgreSQL {major}, which no other version can read: {error}"
        raise UncheckableError(msg) from error


async def _combine(programs: Programs, parts: Sequence[Path], whole: Path, *, scratch: Path) -> None:
    places = {place: whole / TABLESPACES / place.name for place in link_tablespaces(parts[-1], relative=False)}
    arguments = [f"--output={whole / DATA}", "--no-sync", "--manifest-checksums=SHA256"]
    arguments += [f"--tablespace-mapping={mapped(here, there)}" for here, there in places.items()]
    command = [programs.path("pg_combinebackup"), *arguments, *(str(part / DATA) for part in parts)]
    finished = await run(command, environment={}, directory=scratch)
    if finished.code and _FULL in finished.errors:
        msg = "the snapshots cannot be put together: the scratch volume is full: raise verify.restoreTest.scratchSize"
        raise ActionError(msg)
    if finished.code:
        msg = f"the snapshots cannot be put together: {last_words(finished)}: make a full backup at once"
        raise DamagedError(msg)
    link_tablespaces(whole, relative=True)
    write_server(whole, read_server(parts[-1]))
