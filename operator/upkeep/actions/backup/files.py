"""Backs files of a volume up: everything below some directories, as it is, into the repository.

It must never write to the volume, and never report success for a backup that is empty or lacks a file.
"""

import asyncio
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field

from upkeep.actions.backup.making import BackupMaking, creation
from upkeep.actions.backup.restic import Restic
from upkeep.actions.contract import ActionError, Context, Result
from upkeep.actions.text import several

PATH_PATTERN: Final = r"^[^/\x00-\x1f][^\x00-\x1f]*$"
"""Relative, so that it cannot leave its volume; what it may not contain besides is said by the model."""


class BackupFiles(BackupMaking):
    """Stores the files of a volume in a restic repository.

    Symbolic links are stored as links. A file that changes while it is read is stored as it was read.
    Locks: none. Privileges: the user of the Pod may read every file; the volume is mounted read-only.
    """

    action_name: ClassVar[str] = "backupFiles"
    internal: ClassVar[bool] = True

    root: Annotated[str, Field(max_length=4096, pattern=r"^/")]
    """Where the volume is mounted."""
    origin: str
    """What messages call it, for example `volume uploads`."""
    paths: Annotated[list[Annotated[str, Field(max_length=512, pattern=PATH_PATTERN)]], Field(max_length=16)] = Field(
        default_factory=list
    )
    """Directories and files below it; all of it where empty."""
    exclude: Annotated[list[Annotated[str, Field(max_length=256)]], Field(max_length=64)] = Field(default_factory=list)
    """Patterns of what is left out."""

    async def run(self, context: Context) -> Result:
        """Look, and store.

        Raises:
            ActionError: there is nothing to back up, or a part could not be read or stored.
        """
        root = Path(self.root)
        self._demand(root)
        if not await asyncio.to_thread(self._has_files, root):
            msg = (
                f"there are no files in {self._places()} of {self.origin}: check the source; an empty "
                "backup is not made"
            )
            raise ActionError(msg)
        restic = Restic.of(self.repository, context, working=root)
        created = await restic.ensure()
        begun, moment = time.monotonic(), datetime.now(UTC)
        snapshot = await restic.backup(*(self.paths or ["."]), host=self.policy, tags=self.tags, exclude=self.exclude)
        stored = time.monotonic()
        if not snapshot.files:
            await restic.forget([snapshot.identifier])
            msg = (
                f"there are no files in {self._places()} of {self.origin} but those that exclude leaves out: correct it"
            )
            raise ActionError(msg)
        if refusal := self.refusal(snapshot.bytes, of=self.origin):
            # How much is left after `exclude` is only known now.
            await restic.forget([snapshot.identifier])
            return refusal
        return await self.made(
            restic,
            snapshot,
            moment,
            parts=[several(snapshot.files, "file")],
            remarks=creation(created=created),
            metrics={"store_seconds": round(stored - begun, 3)},
        )

    def _demand(self, root: Path) -> None:
        missing = next((path for path in self.paths if not os.path.lexists(root / path)), None)
        if missing is not None:
            msg = f"{self.origin} has no {missing!r}: correct source.files.paths"
            raise ActionError(msg)

    def _has_files(self, root: Path) -> bool:
        return any(self._occupied(root / path) for path in self.paths or [""])

    def _occupied(self, top: Path) -> bool:
        """Whether there is a file at or below it.

        Raises:
            ActionError: a directory may not be looked at.
        """
        hidden: list[OSError] = []
        found = top.is_symlink() or top.is_file() or any(files for _, _, files in os.walk(top, onerror=hidden.append))
        if hidden:
            why = f"user {os.getuid()} may not look at {hidden[0].filename}: {hidden[0].strerror}"
            msg = f"{self.origin}: {why}: name a user that may read everything there (runAsUser)"
            raise ActionError(msg)
        return found

    def _places(self) -> str:
        return ", ".join(repr(path) for path in self.paths) or "all"
