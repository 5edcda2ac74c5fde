"""The Kubernetes API as a step sees it: with the token of the ServiceAccount that its task names, and with no more.

It reads what the kubelet has mounted into the Pod, the token before each request, since it is renewed. It never falls
back to other credentials.
"""

import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upkeep.actions.contract import ActionError

if TYPE_CHECKING:
    from httpx import AsyncClient

Object = Mapping[str, Any]

MOUNTED: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 3.0
_FIELD_MANAGER: Final = "upkeep"
_PAGE: Final = "500"
"""Objects a page, as kubectl asks for them."""
_JSON_PATCH: Final = "application/json-patch+json"
_NO_ACCESS: Final = (
    "this Pod has no access to the Kubernetes API: name a ServiceAccount in spec.serviceAccountName that may do this"
)


class AbsentError(ActionError):
    """The object, or its kind, is not there."""


class ChangedError(ActionError):
    """The object has changed since it was read."""


class AwayError(ActionError):
    """The API server does not answer, or not now; the same call may succeed later."""


class DeniedError(ActionError):
    """The ServiceAccount may not do this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The API server, as a ServiceAccount.

    Attributes:
        namespace: of the Pod.
    """

    namespace: str
    token: Path
    client: "AsyncClient"

    async def get(self, path: str) -> Object:
        """One object.

        Raises:
            AbsentError: it is not there.
            AwayError: no answer.
            DeniedError: the ServiceAccount may not read it.
        """
        return await self._call("GET", path)

    async def listed(self, path: str) -> AsyncIterator[Object]:
        """All objects of a list, asked for in pages, so that a large one never is in memory as a whole.

        Raises:
            AbsentError: the kind is not there.
            AwayError: no answer, or the list has changed too much while it was read.
            DeniedError: the ServiceAccount may not list it.
        """
        following = ""
        while True:
            page = await self._call(
                "GET", path, query={"limit": _PAGE, **({"continue": following} if following else {})}
            )
            for found in page.get("items") or ():
                yield found
            following = str((page.get("metadata") or {}).get("continue") or "")
            if not following:
                return

    async def patch(self, path: str, operations: Sequence[Object]) -> Object:
        """Change an object by a JSON Patch; returns what it is then.

        Raises:
            AbsentError: it is not there.
            ActionError: the change makes no sense.
            AwayError: no answer; whether it was done is not known.
            ChangedError: a test of the patch does not hold.
            DeniedError: the ServiceAccount may not change it.
        """
        return await self._call("PATCH", path, operations, query={"fieldManager": _FIELD_MANAGER})

    async def create(self, path: str, body: Object) -> Object:
        """Make an object, given where its like are listed.

        Raises:
            ActionError: the ServiceAccount may not make it, or it makes no sense.
            AwayError: no answer; whether it was made is not known.
            ChangedError: it is there already.
        """
        return await self._call("POST", path, body, query={"fieldManager": _FIELD_MANAGER})

    async def _call(
        self,
        method: str,
        path: str,
        body: Sequence[Object] | Object | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Object:
        import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

        headers = {"Authorization": f"Bearer {self._token()}", "Accept": "application/json"}
        try:
            if body is None:
                answer = await self.client.request(method, path, headers=headers, params=query)
            else:
                headers["Content-Type"] = _JSON_PATCH if method == "PATCH" else "application/json"
                answer = await self.client.request(method, path, headers=headers, params=query, json=body)
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            msg = f"the API server does not answer: {what}: check the NetworkPolicies, and that it runs"
            raise AwayError(msg) from None
        found = _object(answer.content)
        if answer.is_success:
            return found
        raise _refusal(answer.status_code, found)

    def _token(self) -> str:
        try:
            return self.token.read_text().strip()
        except OSError:
            raise ActionError(_NO_ACCESS) from None


@asynccontextmanager
async def cluster(directory: Path = MOUNTED, environment: Mapping[str, str] = os.environ) -> AsyncIterator[Cluster]:
    """The API server of the cluster that this Pod runs in.

    Raises:
        ActionError: the Pod has no ServiceAccount whose token is mounted.
    """
    import httpx  # noqa: PLC0415 - a driver is loaded only when an action runs

    try:
        namespace = (directory / "namespace").read_text().strip()
        trust = ssl.create_default_context(cafile=str(directory / "ca.crt"))
        host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
    except (OSError, KeyError):
        raise ActionError(_NO_ACCESS) from None
    url = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    timeout = httpx.Timeout(_SECONDS, connect=_CONNECT_SECONDS)
    async with httpx.AsyncClient(base_url=url, verify=trust, timeout=timeout, trust_env=False) as client:
        yield Cluster(namespace=namespace, token=directory / "token", client=client)


def _object(content: bytes) -> Object:
    import json  # noqa: PLC0415 - only after a request

    try:
        found = json.loads(content)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"message": content[:200].decode(errors="replace")}


def _refusal(status: int, body: Object) -> ActionError:
    """The error for an answer that is none of the good ones."""
    message = str(body.get("message", "")) or f"status {status}"
    match status:
        case 401:
            return ActionError(f"the API server does not take the ServiceAccount's token: {message}: run this again")
        case 403:
            return DeniedError(f"{message}: bind the ServiceAccount to a Role that allows it")
        case 404:
            return AbsentError(message)
        case 410:
            return AwayError(f"the list has changed while it was read: {message}: run this again")
        case 409:
            return ChangedError(message)
        case 422 if not (body.get("details") or {}).get("causes"):
            # So the API server answers to a `test` that fails; an invalid object comes with the fields at fault.
            return ChangedError(message)
        case _ if status in {408, 429} or status >= 500:  # noqa: PLR2004 - HTTP's own classes
            return AwayError(f"the API server is in trouble: {message}: run this again")
        case _:
            return ActionError(message)
