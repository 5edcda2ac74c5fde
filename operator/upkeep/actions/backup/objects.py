"""Backs Kubernetes objects up: clean YAML that `kubectl apply` takes, one file an object, stored when one has changed.

It must never store a Secret that was not asked for, and never take a list that could not be read for an empty one.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import yaml
from pydantic import Field

from upkeep.actions.backup.making import BackupMaking, creation
from upkeep.actions.backup.manifest import clean, remade
from upkeep.actions.backup.restic import Restic
from upkeep.actions.backup.scratch import directory_size, emptied
from upkeep.actions.contract import ActionError, Context, Outcome, Result
from upkeep.actions.fields import Model
from upkeep.actions.kubernetes.session import AbsentError, Cluster, Object, cluster
from upkeep.actions.text import several

DIRECTORY: Final = "objects"
"""Where the files stand in the scratch directory; the same for every run, so that snapshots compare."""

_DIGEST: Final = "content="
_CORE: Final = "v1"


class ObjectKind(Model):
    """A kind of Kubernetes objects."""

    api_version: Annotated[str, Field(max_length=253, pattern=r"^([a-z0-9][-a-z0-9.]*/)?v[a-z0-9]+$")]
    """Its apiVersion, for example `v1`, `apps/v1` or `upkeep.dev/v1alpha1`."""
    kind: Annotated[str, Field(max_length=63, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """Its kind, for example `ConfigMap`. Secrets are only backed up where this says `Secret`."""

    def __str__(self) -> str:
        """As messages call it."""
        return f"{self.kind} ({self.api_version})"

    @property
    def root(self) -> str:
        """Path of its API."""
        return f"/api/{_CORE}" if self.api_version == _CORE else f"/apis/{self.api_version}"


class BackupObjects(BackupMaking):
    """Stores Kubernetes objects of the policy's namespace in a restic repository, when one of them has changed.

    What a controller makes anew by itself (Pods of a Deployment, tokens of ServiceAccounts) is left out, and so is what
    only the API server sets (status, uid, resourceVersion, ...).
    Locks: none. Privileges: the policy names a ServiceAccount that may `list` the kinds in the namespace.
    """

    action_name: ClassVar[str] = "backupObjects"
    internal: ClassVar[bool] = True

    kinds: Annotated[list[ObjectKind], Field(min_length=1, max_length=32)]
    """What is backed up."""

    async def run(self, context: Context) -> Result:
        """List, clean, compare with the newest snapshot, store.

        Raises:
            ActionError: a kind could not be listed, there is no object at all, or it could not be stored.
        """
        with emptied(context.scratch / DIRECTORY) as directory:
            async with cluster() as api:
                count = await self._written(api, directory)
            if not count:
                kinds = ", ".join(map(str, self.kinds))
                msg = f"there is no object of these kinds: {kinds}: an empty backup is not made; correct source.objects"
                raise ActionError(msg)
            return await self._stored(context, directory, count)

    async def _written(self, api: Cluster, directory: Path) -> int:
        count = 0
        for kind in self.kinds:
            plural = await _plural(api, kind)
            async for found in api.listed(f"{kind.root}/namespaces/{api.namespace}/{plural}"):
                item = {"apiVersion": kind.api_version, "kind": kind.kind, **found}
                if remade(item):
                    continue
                _write(directory, plural, kind, clean(item))
                count += 1
        return count

    async def _stored(self, context: Context, directory: Path, count: int) -> Result:
        digest = _digest(directory)
        restic = Restic.of(self.repository, context)
        created = await restic.ensure()
        newest = await restic.latest(host=self.policy, tag=",".join(self.tags))
        if newest and f"{_DIGEST}{digest}" in newest.tags:
            message = f"{count} objects are as they were in snapshot {newest.name}: nothing new to store"
            return Result(outcome=Outcome.OK, message=message, metrics={"objects": count})
        if refusal := self.refusal(directory_size(directory), of="objects"):
            return refusal
        moment = datetime.now(UTC)
        snapshot = await restic.backup(DIRECTORY, host=self.policy, tags=[*self.tags, f"{_DIGEST}{digest}"])
        return await self.made(
            restic,
            snapshot,
            moment,
            parts=[several(count, "object")],
            remarks=creation(created=created),
            metrics={"objects": count},
        )


async def _plural(api: Cluster, kind: ObjectKind) -> str:
    """What its objects are called in paths, as the API server says.

    Raises:
        ActionError: there is no such kind, or its objects are in no namespace.
    """
    try:
        resources: list[Object] = (await api.get(kind.root)).get("resources") or []
    except AbsentError:
        resources = []
    found = [each for each in resources if each.get("kind") == kind.kind and "/" not in str(each.get("name"))]
    if not found:
        msg = f"the API server knows no {kind}: correct source.objects, or install what it belongs to"
        raise ActionError(msg)
    if not found[0].get("namespaced"):
        msg = f"{kind} is in no namespace: a policy backs up objects of its own namespace only"
        raise ActionError(msg)
    return str(found[0]["name"])


def _write(directory: Path, plural: str, kind: ObjectKind, item: dict[str, Any]) -> None:
    folder = directory / f"{plural}.{kind.api_version.partition('/')[0]}"
    folder.mkdir(exist_ok=True, mode=0o700)
    text = yaml.safe_dump(item, sort_keys=True, allow_unicode=True, width=120)
    (folder / f"{item['metadata']['name']}.yaml").write_text(text)


def _digest(directory: Path) -> str:
    """The same for the same objects."""
    total = hashlib.sha256()
    for path in sorted(directory.rglob("*.yaml")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(directory)}\0{content}\0".encode())
    return total.hexdigest()[:32]
