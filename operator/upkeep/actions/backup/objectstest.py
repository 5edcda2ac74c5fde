"""Proves that a backup of Kubernetes objects can be restored: brings the newest one back and reads every file.

Whether a cluster takes them is for `kubectl apply` to say: the Pod of a restore test has no access to one.
"""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, ClassVar

import yaml
from pydantic import Field

from upkeep.actions.backup.damage import DamagedError
from upkeep.actions.backup.objects import DIRECTORY, ObjectKind
from upkeep.actions.backup.snapshot import Stored
from upkeep.actions.backup.trial import Examination, RestoreTrial
from upkeep.actions.contract import Context, Finding, Severity


class BackupObjectsTest(RestoreTrial):
    """Restores the newest snapshot of a policy and reads every object in it.

    Locks: none; it reads the repository without a lock and without a cache. Privileges: read access to the repository's
    volume, and its password; nothing of the source.
    """

    action_name: ClassVar[str] = "backupObjectsTest"
    internal: ClassVar[bool] = True

    kinds: Annotated[list[ObjectKind], Field(min_length=1, max_length=32)]
    """What is backed up; a kind of which nothing came back is worth knowing."""

    async def examine(self, context: Context, directory: Path, snapshot: Stored) -> Examination:  # noqa: ARG002 - nothing of the step is needed to read files
        """Read them, and count them by kind."""
        counts = await asyncio.to_thread(_counted, directory / DIRECTORY)
        findings = [] if counts.total() else [_nothing()]
        told = ", ".join(f"{counts[str(kind)]} {kind.kind}" for kind in self.kinds)
        return Examination(
            usable=time.monotonic(),
            findings=findings,
            praise=[f"{counts.total()} objects that can be applied ({told})"],
            metrics={"objects": counts.total()},
        )


def _counted(directory: Path) -> Counter[str]:
    """How many objects there are, by kind."""
    return Counter(str(_kind(path)) for path in directory.rglob("*.yaml"))


def _kind(path: Path) -> ObjectKind:
    try:
        item: Any = yaml.safe_load(path.read_text())
        named = str(item["metadata"]["name"]) == path.stem
        kind = ObjectKind(api_version=item["apiVersion"], kind=item["kind"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        named = False
    if not named:
        msg = f"{path.parent.name}/{path.name} is not the Kubernetes object of that name: make a new backup at once"
        raise DamagedError(msg)
    return kind


def _nothing() -> Finding:
    return Finding(
        check_id="backup.restore.objects",
        severity=Severity.CRITICAL,
        object="all",
        observed=0,
        threshold=1,
        unit="objects",
        recommendation="the backup has no objects: look at the source",
    )
