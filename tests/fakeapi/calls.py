"""What a request means: verb, kind, namespace, name.

It exists so that faults, audit and handlers speak of the same call. It must never read the store.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fakeapi.resources import Catalogue, ResourceType

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
"""The verbs that change something."""

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get"}
_COLLECTION_VERBS = {"POST": "create", "DELETE": "deletecollection", "GET": "list"}
_MANAGER_LENGTH = 128


@dataclass(slots=True)
class Call:
    """One request, as the API server names it.

    Attributes:
        verb: get, list, watch, create, update, patch, delete or deletecollection; the HTTP method in lower case
            for paths that are no resources, empty where the path does not have the method.
        path: the path of the URL.
        resource: the kind, None for discovery and other paths.
        namespace: empty for cluster-scoped kinds and for all namespaces.
        name: empty for collections.
        subresource: for example `status`, or empty.
        manager: field manager, by query or else by user agent as in the real server.
        user_agent: the client's own name.
        body: decoded body of a write, None where there is none.
    """

    verb: str
    path: str
    resource: ResourceType | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    manager: str = ""
    user_agent: str = ""
    body: Any = None

    @property
    def is_write(self) -> bool:
        """Whether the call changes objects."""
        return self.resource is not None and self.verb in WRITES


def read_call(catalogue: Catalogue, *, method: str, path: str, query: Mapping[str, str], user_agent: str) -> Call:
    """Return what a request means.

    Args:
        catalogue: the kinds that the server offers.
        method: HTTP method.
        path: path of the URL, decoded.
        query: query parameters.
        user_agent: User-Agent header.
    """
    manager = query.get("fieldManager") or user_agent.split("/", 1)[0][:_MANAGER_LENGTH] or "unknown"
    call = Call(method.lower(), path, manager=manager, user_agent=user_agent)
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return call
    if rest[0] == "namespaces" and len(rest) > 2 and catalogue.at(group, version, rest[2]) is not None:
        call.namespace, rest = rest[1], rest[2:]
    plural, call.name, call.subresource = (*rest, "", "")[:3]
    call.resource = catalogue.at(group, version, plural)
    if call.resource is None:
        return call
    watching = query.get("watch") in {"true", "1"}
    if call.name:
        call.verb = _VERBS.get(method, "")
    else:
        call.verb = "watch" if watching and method == "GET" else _COLLECTION_VERBS.get(method, "")
    if call.verb == "create" and (call.name or not call.namespace) and call.resource.namespaced:
        call.verb = ""
    return call
