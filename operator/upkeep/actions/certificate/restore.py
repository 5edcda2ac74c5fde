"""Brings a certificate and its key from an export back into a Secret.

It must never write a pair that does not belong together, nor to a Secret that was not named twice.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import Field, model_validator

from upkeep.actions.certificate.bundle import Bundle, passphrase, same, unsealed
from upkeep.actions.certificate.exports import SUFFIX, DirectoryName, instant, read, stamps, within
from upkeep.actions.certificate.x509 import Certificate
from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import LabelName, ObjectName, Rule
from upkeep.actions.kubernetes.session import AbsentError, ChangedError, Cluster, cluster
from upkeep.actions.volume.tree import Tree, advice, work_in

_TYPE: Final = "kubernetes.io/tls"
_OWNED: Final = "cert-manager.io/certificate-name"
_ATTEMPTS: Final = 5
_NO_CONFIRMATION: Final = "confirm must be the name of the Secret that is written"
_NO_TIME: Final = "at must be a day such as 2026-03-01, or an instant such as 2026-03-01T02:00:00Z"
_DAY: Final = re.compile(r"[0-9-]{10}")

Object = Mapping[str, Any]


class CertificateRestore(Action):
    """Writes a certificate and its key from an export of certificateExport into a Secret of the task's namespace.

    The export's checksum, passphrase and pair are checked first. An existing Secret of type kubernetes.io/tls is
    changed, a missing one made. cert-manager may issue anew what it owns. Who serves it has to load it
    (kubernetesRestart). Locks: none. Privileges: the task names a ServiceAccount that may `get` and `patch` this
    Secret (resourceNames), and `create` secrets where it may be missing. Group 65532 may read the volume.
    """

    action_name: ClassVar[str] = "certificateRestore"
    finds: ClassVar[Mapping[str, str]] = {
        "certificate.restore.ended": "what was restored is not valid any more",
    }

    connection: LabelName
    """Name of a volume connection whose Secret has the passphrase."""
    directory: DirectoryName = "certificates"
    """Directory at the top of the volume with the exports."""
    secret: ObjectName
    """Name of the Secret that was exported."""
    at: Annotated[str | None, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$")] = None
    """The newest export up to then is taken: a day in UTC, or an instant. Left out: the newest of all."""
    to: ObjectName | None = None
    """Name of the Secret that is written. Left out: that of secret."""
    confirm: ObjectName
    """The name of the Secret that is written, once more."""

    @classmethod
    def rules(cls) -> Sequence[Rule]:
        """What is written is named twice."""
        return ({"rule": "self.confirm == (has(self.to) ? self.to : self.secret)", "message": _NO_CONFIRMATION},)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.confirm != self.target:
            raise ValueError(_NO_CONFIRMATION)
        if self.at is not None:
            self._until(self.at)
        return self

    @property
    def target(self) -> str:
        """Name of the Secret that is written."""
        return self.to or self.secret

    async def run(self, context: Context) -> Result:
        """Read, check, write.

        Raises:
            ActionError: no such export, it is damaged or of another passphrase, or the Secret cannot be written.
        """
        phrase = passphrase(context, self.connection)
        stamp, data = await work_in(context, self.connection, "", self._read)
        place = f"{self.directory}/{stamp}/{self.secret}{SUFFIX}"
        try:
            bundle = unsealed(data, phrase)
            first = Certificate.all_of_pem(bundle.certificate.decode())[0]
        except ValueError as error:
            msg = f"{place} cannot be opened: the passphrase is another than that of the export, or it is damaged"
            raise ActionError(msg) from error
        async with cluster() as api:
            changed, owned = await self._store(api, bundle)
        message = f"{first.subject!r}, valid to {first.ends:%Y-%m-%d %H:%M} UTC, of {place} "
        message += f"is in Secret {self.target!r}" + ("" if changed else " already")
        if owned:
            message += "; cert-manager owns it and may issue it anew"
        return Result(
            outcome=Outcome.CHANGED if changed else Outcome.OK,
            message=message,
            findings=[_ended(self.target, first)] if first.ends <= datetime.now(UTC) else [],
        )

    def _read(self, tree: Tree) -> tuple[str, bytes]:
        name = f"{self.secret}{SUFFIX}"
        try:
            with within(tree, self.directory) as parent:
                for stamp in reversed(stamps(parent)):
                    if self.at is None or instant(stamp) < self._until(self.at):
                        try:
                            return stamp, read(parent, stamp, name)
                        except FileNotFoundError:
                            continue
        except ValueError as error:
            msg = f"{error}: it is damaged: choose an earlier one by `at`"
            raise ActionError(msg) from error
        except OSError as error:
            msg = f"cannot read {self.directory}: {advice(error)}"
            raise ActionError(msg) from error
        upto = f" up to {self.at}" if self.at else ""
        msg = f"{self.directory} has no export of Secret {self.secret!r}{upto}: check directory, secret and at"
        raise ActionError(msg)

    @staticmethod
    def _until(at: str) -> datetime:
        """The first instant that is too late."""
        try:
            then = datetime.fromisoformat(at).replace(tzinfo=UTC)
            return then + (timedelta(days=1) if _DAY.fullmatch(at) else timedelta(seconds=1))
        except (ValueError, OverflowError) as error:
            raise ValueError(_NO_TIME) from error

    async def _store(self, api: Cluster, bundle: Bundle) -> tuple[bool, bool]:
        """Write it; whether anything changed, and whether cert-manager owns the Secret."""
        secrets = f"/api/v1/namespaces/{api.namespace}/secrets"
        for _ in range(_ATTEMPTS):
            try:
                found = await api.get(f"{secrets}/{self.target}")
            except AbsentError:
                body = {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": self.target},
                    "type": _TYPE,
                    "data": _data(bundle),
                }
                try:
                    await api.create(secrets, body)
                except ChangedError:
                    continue
                return True, False
            owned = _OWNED in (found["metadata"].get("annotations") or {})
            if problem := _obstacle(found):
                msg = f"Secret {self.target!r} {problem}"
                raise ActionError(msg)
            if same(_bundle(found), bundle):
                return False, owned
            try:
                await api.patch(f"{secrets}/{self.target}", _change(found, bundle))
            except ChangedError:
                continue
            return True, owned
        msg = f"Secret {self.target!r} was changed by somebody else at each of {_ATTEMPTS} attempts: run this again"
        raise ActionError(msg)


def _obstacle(secret: Object) -> str:
    """Why it cannot be written, and what to do; empty where nothing is in the way."""
    if secret["metadata"].get("deletionTimestamp"):
        return "is being deleted: wait until it is gone"
    if secret.get("immutable"):
        return "is immutable: delete it first, or write to another one by `to`"
    if secret.get("type") != _TYPE:
        return f"is of type {secret.get('type')!r}, not {_TYPE}: write to another one by `to`"
    return ""


def _data(bundle: Bundle) -> dict[str, str]:
    files = {"tls.crt": bundle.certificate, "tls.key": bundle.key, "ca.crt": bundle.authority}
    return {key: base64.b64encode(content).decode() for key, content in files.items() if content}


def _bundle(secret: Object) -> Bundle:
    data = secret.get("data") or {}
    certificate, key, authority = (base64.b64decode(data.get(name) or "") for name in ("tls.crt", "tls.key", "ca.crt"))
    return Bundle(certificate=certificate, key=key, authority=authority)


def _change(secret: Object, bundle: Bundle) -> list[Object]:
    """The patch, which holds only for the Secret as it was looked at; other keys stay, a ca.crt of another goes."""
    metadata = secret["metadata"]
    test: list[Object] = [
        {"op": "test", "path": f"/metadata/{key}", "value": metadata[key]} for key in ("uid", "resourceVersion")
    ]
    rest = {key: value for key, value in (secret.get("data") or {}).items() if key != "ca.crt"}
    return [*test, {"op": "add", "path": "/data", "value": {**rest, **_data(bundle)}}]


def _ended(secret: str, certificate: Certificate) -> Finding:
    return Finding(
        check_id="certificate.restore.ended",
        severity=Severity.CRITICAL,
        object=f"Secret {secret}: {certificate.subject}",
        observed=1,
        threshold=1,
        unit="",
        recommendation=f"it has ended at {certificate.ends:%Y-%m-%d %H:%M} UTC: issue a new one",
    )
