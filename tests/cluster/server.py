"""The API server over HTTP: for tests that look often and must notice at once. What people see comes from kubectl."""

import ssl
from typing import Final

import httpx

from cluster.kubectl import Object
from upkeep.cluster.resources import BY_KIND, ENDPOINT_SLICES, EVENTS, LEASES, Resource

NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace")
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
CLAIMS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
VOLUMES: Final = Resource("", "v1", "persistentvolumes", "PersistentVolume")
QUOTAS: Final = Resource("", "v1", "resourcequotas", "ResourceQuota")
REPLICA_SETS: Final = Resource("apps", "v1", "replicasets", "ReplicaSet")
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")
CLUSTER_ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole")
ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLE_BINDINGS: Final = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding")

_KINDS: Final = BY_KIND | {
    kind.kind: kind
    for kind in (
        *(NAMESPACES, SECRETS, CLAIMS, VOLUMES, QUOTAS, REPLICA_SETS, ENDPOINT_SLICES, EVENTS, LEASES),
        *(SERVICE_ACCOUNTS, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS),
    )
}
_MERGE: Final = {"Content-Type": "application/merge-patch+json"}


class Server:
    """An API server, with the rights of its administrator."""

    def __init__(self, url: str, credentials: ssl.SSLContext) -> None:
        self._http = httpx.Client(base_url=url, verify=credentials, timeout=20.0, headers={"User-Agent": "tests/1"})

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def find(self, kind: Resource, namespace: str | None, name: str) -> Object | None:
        """An object; None where it is not there."""
        answer = self._http.get(kind.path(namespace, name))
        return None if answer.status_code == httpx.codes.NOT_FOUND else _body(answer)

    def get(self, kind: Resource, namespace: str | None, name: str) -> Object:
        """An object that must be there."""
        return _body(self._http.get(kind.path(namespace, name)))

    def list(self, kind: Resource, namespace: str | None = None, *, selector: str = "") -> list[Object]:
        """The objects of a kind."""
        query = {"labelSelector": selector} if selector else {}
        items: list[Object] = _body(self._http.get(kind.path(namespace), params=query))["items"]
        return items

    def create(self, body: Object) -> Object:
        """Create an object of any kind that the tests know."""
        kind = _KINDS[body["kind"]]
        return _body(self._http.post(kind.path(body["metadata"].get("namespace")), json=body))

    def patch(
        self, kind: Resource, namespace: str | None, name: str, change: Object, *, subresource: str | None = None
    ) -> Object:
        """Change an object by a merge patch."""
        return _body(self._http.patch(kind.path(namespace, name, subresource), json=change, headers=_MERGE))

    def delete(self, kind: Resource, namespace: str | None, name: str, **options: object) -> None:
        """Delete an object, if it is there.

        Args:
            kind: of what kind.
            namespace: where.
            name: which.
            options: fields of DeleteOptions, such as gracePeriodSeconds.
        """
        answer = self._http.request("DELETE", kind.path(namespace, name), json=options or None)
        if answer.status_code != httpx.codes.NOT_FOUND:
            _body(answer)

    def token(self, namespace: str, account: str) -> str:
        """A token of a ServiceAccount, as the kubelet would ask for one."""
        path = SERVICE_ACCOUNTS.path(namespace, account, "token")
        token: str = _body(self._http.post(path, json={"spec": {"expirationSeconds": 600}}))["status"]["token"]
        return token

    def text(self, path: str, **query: str) -> str:
        """What a path answers, as it is: a log, for example."""
        answer = self._http.get(path, params=query)
        assert answer.is_success, f"GET {answer.url}: {answer.status_code} {answer.text}"
        return answer.text


def _body(answer: httpx.Response) -> Object:
    request = answer.request
    assert answer.is_success, f"{request.method} {request.url.path}: {answer.status_code} {answer.text}"
    body: Object = answer.json()
    return body
