"""Where a rotation stands, kept on the Secret that it is about, so that any later run can go on.

Annotations hold names, times and fingerprints. Values stand in the Secret's data alone, in no message and in no log.
"""

import base64
import hashlib
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import AwareDatetime, ValidationError

from upkeep.actions.contract import ActionError
from upkeep.actions.fields import Model
from upkeep.actions.kubernetes.session import Cluster

RECORD: Final = "upkeep.dev/rotation"
ROTATED_AT: Final = "upkeep.dev/rotated-at"

_ALPHABET: Final = string.ascii_letters + string.digits
"""Nothing that a URL, a shell or a connection string would read as something else."""
_LENGTH: Final = 43
"""More than 256 bits, so that not even a verifier or a fingerprint gives the value away."""
_GITOPS: Final = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
    "meta.helm.sh/release-name": "Helm",
}

Object = Mapping[str, Any]


class Phase(StrEnum):
    """What has been done so far."""

    PREPARED = "Prepared"
    """The new value stands beside the one in use, which nothing has changed for."""
    SWITCHED = "Switched"
    """The Secret gives out the new one; the workloads are restarted."""
    GRACE = "Grace"
    """All use the new one; the old one is still good."""
    REVOKED = "Revoked"
    """The Secret has forgotten the old one; whoever still takes it is restarted."""
    RETURNING = "Returning"
    """The new one did not do: the Secret gives out the old one again; the workloads are restarted."""


class Record(Model):
    """What is written down of a rotation that is under way."""

    phase: Phase
    token: str
    """Tells this rotation from others; the workloads that were restarted for it carry it."""
    fingerprint: str
    """Of the new value, and when returning of the old one: of what the Secret has to give out."""
    old: str = ""
    """Name of the role that is replaced."""
    new: str = ""
    """Name of the role that takes its place."""
    revoke_after: AwareDatetime | None = None
    """End of the grace period."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A Secret as it was read.

    Attributes:
        name: of the Secret.
        data: key → value, in base64.
        rotated: when the value was last replaced, or else when the Secret was made.
        record: the rotation that is under way, if one is.
        manager: the GitOps tool that writes the Secret too; empty where none has left its mark.
    """

    name: str
    uid: str
    version: str
    data: Mapping[str, str]
    annotations: Mapping[str, str]
    rotated: datetime
    record: Record | None
    manager: str

    def value(self, key: str) -> str:
        """The value of a key.

        Raises:
            ActionError: there is none.
        """
        if not self.data.get(key):
            msg = f"Secret {self.name!r} has no key {key!r}: add it with the credential that is in use now"
            raise ActionError(msg)
        try:
            return base64.b64decode(self.data[key]).decode()
        except ValueError:
            msg = f"key {key!r} of Secret {self.name!r} is not UTF-8 text: store it as text"
            raise ActionError(msg) from None


def new_value() -> str:
    """A value that nobody knows."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def new_token() -> str:
    """Tells one rotation from others."""
    return secrets.token_hex(4)


def fingerprint(value: str) -> str:
    """Recognises a value without telling it."""
    return hashlib.sha256(value.encode()).hexdigest()[:16]


async def read(api: Cluster, name: str) -> Held:
    """The Secret, and where its rotation stands.

    Raises:
        ActionError: it is not there, may not be read, must not be changed, or what stands in it cannot be read.
    """
    found = await api.get(_path(api, name))
    _demand_changeable(name, found)
    metadata = found["metadata"]
    annotations = metadata.get("annotations") or {}
    marks = {**(metadata.get("labels") or {}), **annotations}
    return Held(
        name=name,
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        data=found.get("data") or {},
        annotations=annotations,
        rotated=_instant(annotations.get(ROTATED_AT)) or _instant(metadata.get("creationTimestamp")) or _epoch(),
        record=_record(name, annotations.get(RECORD)),
        manager=next((tool for mark, tool in _GITOPS.items() if mark in marks), ""),
    )


async def write(
    api: Cluster,
    held: Held,
    *,
    data: Mapping[str, str | None],
    record: Record | None,
    rotated: datetime | None = None,
) -> None:
    """Change the Secret as it was read, values and record in one.

    Args:
        api: the API server.
        held: what it is; a Secret that has changed since then is not touched.
        data: key → new value, or None to remove the key.
        record: where the rotation stands now; None where none is under way any more.
        rotated: when the value was replaced, where that has just been done.

    Raises:
        ActionError: it may not be changed.
        AwayError: no answer; whether it was changed is not known.
        ChangedError: somebody else has changed it.
    """
    encoded = {key: None if value is None else _encoded(value) for key, value in data.items()}
    notes = {RECORD: record.model_dump_json(by_alias=True, exclude_defaults=True) if record else None}
    if rotated is not None:
        notes[ROTATED_AT] = _written(rotated)
    operations: list[Object] = [
        {"op": "test", "path": "/metadata/uid", "value": held.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": held.version},
        *_operations("/data", held.data, encoded),
        *_operations("/metadata/annotations", held.annotations, notes),
    ]
    await api.patch(_path(api, held.name), operations)


def _operations(place: str, present: Mapping[str, str], changes: Mapping[str, str | None]) -> list[Object]:
    wanted = {key: value for key, value in changes.items() if value is not None}
    if not present:
        return [{"op": "add", "path": place, "value": wanted}] if wanted else []
    paths = {key: f"{place}/{key.replace('~', '~0').replace('/', '~1')}" for key in changes}
    added: list[Object] = [{"op": "add", "path": paths[key], "value": value} for key, value in wanted.items()]
    gone = [key for key, value in changes.items() if value is None and key in present]
    return [*added, *({"op": "remove", "path": paths[key]} for key in gone)]


def _demand_changeable(name: str, found: Object) -> None:
    owners = found["metadata"].get("ownerReferences") or []
    owner = next((each for each in owners if each.get("controller")), None)
    if owner is not None:
        msg = (
            f"Secret {name!r} is made by {owner.get('kind')} {owner.get('name')!r}, which would put back what is "
            "changed here: rotate the credential where that one takes it from, or use a Secret of its own"
        )
        raise ActionError(msg)
    if found.get("immutable"):
        msg = f"Secret {name!r} is immutable: make it anew without `immutable`"
        raise ActionError(msg)
    if found["metadata"].get("deletionTimestamp"):
        msg = f"Secret {name!r} is being deleted: make it anew, or remove this step"
        raise ActionError(msg)


def _record(name: str, text: str | None) -> Record | None:
    if text is None:
        return None
    try:
        return Record.model_validate_json(text)
    except ValidationError:
        msg = (
            f"annotation {RECORD} of Secret {name!r} cannot be read: nothing is done while it is not known how far the "
            "rotation was; remove the annotation when the credential in the Secret is good"
        )
        raise ActionError(msg) from None


def _encoded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _instant(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None


def _epoch() -> datetime:
    return datetime.fromtimestamp(0, tz=UTC)


def _written(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _path(api: Cluster, name: str) -> str:
    return f"/api/v1/namespaces/{api.namespace}/secrets/{name}"
