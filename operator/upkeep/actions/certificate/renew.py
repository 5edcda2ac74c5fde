"""Has cert-manager issue a certificate anew, as `cmctl renew` does, and waits until it has.

It must never say that a certificate was renewed before cert-manager has stored a new one and calls it ready; and it
never touches a Secret.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from pydantic import Field

from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity
from upkeep.actions.fields import Duration, ObjectName, format_duration
from upkeep.actions.kubernetes.session import AbsentError, AwayError, ChangedError, Cluster, cluster
from upkeep.actions.text import readable

_GROUP: Final = "cert-manager.io"
_ISSUING: Final = "Issuing"
_ATTEMPTS: Final = 5
"""How often the Certificate is read anew because somebody changes it at the same time."""
_PAUSE: Final = 1.0
"""Seconds between two looks."""
_RESERVE: Final = 2.0
"""Seconds before the step's own deadline at which waiting ends, so that it can be said why."""
_LONGEST: Final = 300
_DAY_SECONDS: Final = 86400

Object = Mapping[str, Any]


class CertificateRenew(Action):
    """Has cert-manager issue a Certificate of the task's namespace anew, whenever it would end, and waits for it.

    It does what `cmctl renew` does: it sets the condition Issuing of the Certificate. It is refused where an issuance
    is under way already. A run that is stopped in the middle leaves cert-manager to go on by itself; where no new one
    can be issued the old one stays in use. Let the server load the new one afterwards (kubernetesRestart).
    Locks: none. Privileges: the task names a ServiceAccount that may `get` certificates and `patch` certificates/status
    of cert-manager.io, and, to be told why nothing is issued, `list` certificaterequests; the ClusterRole
    upkeep-action-renew of the chart, bound in the namespace, or a Role with resourceNames for one Certificate alone.
    """

    action_name: ClassVar[str] = "certificateRenew"
    finds: ClassVar[Mapping[str, str]] = {
        "certificate.renew": "a certificate that was not issued anew",
    }

    name: ObjectName
    """Name of a Certificate of cert-manager, in the namespace of the task."""
    timeout: Duration = Field(default="5m", validate_default=True)
    """How long cert-manager and the issuer may take."""

    @property
    def shown(self) -> str:
        """What it is called in messages."""
        return f"Certificate {self.name!r}"

    async def run(self, context: Context) -> Result:
        """Begin and wait. A certificate that is not issued is a failed result, not an exception.

        Raises:
            ActionError: no cert-manager, no such Certificate, no right to it, or it is being issued already.
        """
        clock = asyncio.get_running_loop().time
        begun = clock()
        limit = begun + max(0.0, min(self.timeout.total_seconds(), context.remaining - _RESERVE))
        async with cluster() as api:
            before = await self._begun(api)
            after = await self._awaited(api, before, limit)
            if _issued(before, after):
                return self._renewed(after, clock() - begun)
            return self._not_renewed(await self._why(api, before, after), begun=_condition(after, _ISSUING))

    async def _begun(self, api: Cluster) -> Object:
        """Begin; returns the Certificate as it was before."""
        for _ in range(_ATTEMPTS):
            found = await self._read(api)
            if found["metadata"].get("deletionTimestamp"):
                msg = f"{self.shown} is being deleted: wait until it is gone, or name another one"
                raise ActionError(msg)
            issuing = _condition(found, _ISSUING)
            if issuing.get("status") == "True":
                msg = (
                    f"{self.shown} is being issued already, since {issuing.get('lastTransitionTime')} "
                    f"({_said(issuing)}): wait until that is done, or see why it is not: `cmctl status certificate "
                    f"{self.name}`"
                )
                raise ActionError(msg)
            try:
                await api.patch(f"{self._path(api)}/status", _change(found))
            except ChangedError:
                continue
            return found
        msg = f"{self.shown} was changed by somebody else at each of {_ATTEMPTS} attempts: run this again later"
        raise ActionError(msg)

    async def _awaited(self, api: Cluster, before: Object, limit: float) -> Object:
        """The Certificate when it is issued, when that has failed, or when the time is over."""
        clock = asyncio.get_running_loop().time
        known: Object | None = None
        away: AwayError | None = None
        while known is None or clock() < limit:
            try:
                known, away = await api.get(self._path(api)), None
            except AbsentError as error:
                raise self._gone() from error
            except AwayError as error:
                # cert-manager goes on without being asked how far it is.
                away = error
            if known is not None and known["metadata"].get("uid") != before["metadata"].get("uid"):
                raise self._gone()
            failed = known is not None and _condition(known, _ISSUING).get("status") == "False"
            if known is not None and away is None and (failed or _issued(before, known)):
                return known
            if clock() >= limit:
                break
            await asyncio.sleep(_PAUSE)
        if away is not None or known is None:
            msg = f"{self.shown} is being issued anew, but how that went is not known: {away}"
            raise ActionError(msg)
        return known

    async def _why(self, api: Cluster, before: Object, after: Object) -> str:
        """Why it was not issued, as far as cert-manager tells, and what to do."""
        issuing = _condition(after, _ISSUING)
        if issuing.get("status") == "False":
            return f"{_said(issuing)}: mend that; cert-manager tries again by itself"
        late = f"not within {format_duration(self.timeout)}"
        requests = f"/apis/{_GROUP}/v1/namespaces/{api.namespace}/certificaterequests"
        try:
            listed = (await api.get(requests)).get("items") or []
        except ActionError as error:
            return f"{late}, and why is not known: {error}"
        uid = before["metadata"].get("uid")
        own = [
            request
            for request in listed
            if any(owner.get("uid") == uid for owner in request["metadata"].get("ownerReferences") or ())
            and _condition(request, "Ready").get("status") != "True"
        ]
        if not own:
            return f"{late}: cert-manager has not asked the issuer yet: check that its controller runs, and its log"
        newest = max(own, key=lambda request: str(request["metadata"].get("creationTimestamp")))
        said = _said(_condition(newest, "Ready")) or "its issuer has not answered"
        name = newest["metadata"].get("name")
        return f"{late}: CertificateRequest {name!r} waits: {said}: look at the issuer; cert-manager goes on by itself"

    async def _read(self, api: Cluster) -> Object:
        try:
            return await api.get(self._path(api))
        except AbsentError as error:
            raise absence(self.shown, error) from error

    def _path(self, api: Cluster) -> str:
        return f"/apis/{_GROUP}/v1/namespaces/{api.namespace}/certificates/{self.name}"

    def _gone(self) -> ActionError:
        return ActionError(f"{self.shown} was deleted while it was issued: create it again, or remove this step")

    def _renewed(self, after: Object, seconds: float) -> Result:
        status = after["status"]
        ends = datetime.fromisoformat(str(status["notAfter"]))
        left = (ends - datetime.now(UTC)).total_seconds() / _DAY_SECONDS
        return Result(
            outcome=Outcome.CHANGED,
            message=f"{self.shown} was issued anew after {seconds:.0f} s: revision {_revision(after)}, valid to "
            f"{ends:%Y-%m-%d %H:%M} UTC, {left:.0f} days left; let its server load it",
            metrics={
                "days_left": round(left, 2),
                "revision": float(_revision(after)),
                "issue_seconds": round(seconds, 1),
            },
        )

    def _not_renewed(self, why: str, *, begun: Object) -> Result:
        finding = Finding(
            check_id="certificate.renew",
            severity=Severity.CRITICAL,
            object=f"Certificate/{self.name}",
            observed=0,
            threshold=1,
            unit="certificates",
            recommendation=f"`cmctl status certificate {self.name}` shows all that is known; the old one stays in use",
        )
        what = "could not be issued anew" if begun.get("status") == "False" else "was not issued anew"
        return Result(outcome=Outcome.FAILED, message=f"{self.shown} {what}: {why}", findings=[finding])


def absence(shown: str, error: AbsentError) -> ActionError:
    """What it means that a Certificate was not found: the API server names the kind only where it knows it."""
    if _GROUP in str(error):
        return ActionError(f"{shown} is not there: create it, or correct `name`")
    return ActionError("cert-manager is not installed in this cluster: install it, or renew by a task with a `job`")


def _issued(before: Object, after: Object) -> bool:
    """Whether a new one is stored, and ready."""
    newer = _revision(after) > _revision(before)
    ready = _condition(after, "Ready")
    observed = int(ready.get("observedGeneration") or 0) >= int(after["metadata"].get("generation") or 0)
    under_way = _condition(after, _ISSUING).get("status") == "True"
    return newer and not under_way and observed and ready.get("status") == "True"


def _revision(certificate: Object) -> int:
    return int((certificate.get("status") or {}).get("revision") or 0)


def _condition(found: Object, kind: str) -> Object:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), {})


def _said(condition: Object) -> str:
    """Reason and message of a condition, safe to show."""
    parts = (str(condition.get(key) or "") for key in ("reason", "message"))
    return readable(": ".join(part for part in parts if part))[:_LONGEST].rstrip(".")


def _change(certificate: Object) -> list[Object]:
    """The patch of the status, which holds only for the Certificate as it was looked at."""
    metadata, status = certificate["metadata"], certificate.get("status") or {}
    issuing = {
        "type": _ISSUING,
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Certificate re-issuance manually triggered",
        "lastTransitionTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "observedGeneration": metadata["generation"],
    }
    others = [each for each in status.get("conditions") or () if each.get("type") != _ISSUING]
    test: list[Object] = [
        {"op": "test", "path": f"/metadata/{key}", "value": metadata[key]} for key in ("uid", "resourceVersion")
    ]
    if not status:
        return [*test, {"op": "add", "path": "/status", "value": {"conditions": [issuing]}}]
    return [*test, {"op": "add", "path": "/status/conditions", "value": [*others, issuing]}]
