"""What the server itself does to an object on its way into the store.

It exists to hold the rules of create and update in one place, as pure functions. It must never store anything.
"""

from fakeapi.errors import bad_request, conflict, invalid
from fakeapi.objects import Json, Record
from fakeapi.resources import Generation, ResourceType

_KEPT = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_DROPPED_WHEN_EMPTY = ("labels", "annotations", "finalizers", "ownerReferences", "generateName", "managedFields")


def check_type(resource: ResourceType, body: object, *, namespace: str) -> Json:
    """Return the body as an object of the kind.

    Args:
        resource: the kind behind the URL.
        body: decoded body of a create or replace request.
        namespace: namespace in the URL, empty for cluster-scoped kinds.

    Raises:
        StatusError: 400 where the body is of another kind or for another namespace.
    """
    if not isinstance(body, dict):
        message = f"the object provided is unrecognized (must be of type {resource.kind}): no JSON object"
        raise bad_request(message)
    found = body.get("apiVersion", resource.api_version), body.get("kind", resource.kind)
    if found != (resource.api_version, resource.kind):
        message = (
            f"the API version in the data ({found[0]}, {found[1]}) does not match the expected API version "
            f"({resource.api_version}, {resource.kind})"
        )
        raise bad_request(message)
    metadata = body.get("metadata") or {}
    if metadata.get("namespace") not in {None, "", namespace}:
        message = "the namespace of the provided object does not match the namespace sent on the request"
        raise bad_request(message)
    return body


def ordered(resource: ResourceType, obj: Json, metadata: Json) -> Json:
    """Return an object with its type and metadata first, which lists of built-in kinds rely on."""
    rest = {key: value for key, value in obj.items() if key not in {"apiVersion", "kind", "metadata"}}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **rest}


def created(resource: ResourceType, body: Json, *, name: str, namespace: str, uid: str, now: str) -> Json:
    """Return a new object as the server starts it, without a resourceVersion.

    Args:
        resource: its kind.
        body: what the client sent.
        name: its final name.
        namespace: its namespace, empty for cluster-scoped kinds.
        uid: its identity.
        now: RFC 3339 time of its creation.
    """
    sent = {key: value for key, value in body.get("metadata", {}).items() if value is not None}
    metadata: Json = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata |= {"uid": uid, "resourceVersion": "", "creationTimestamp": now}
    if resource.generation is not Generation.NONE:
        metadata["generation"] = 1
    metadata |= {key: value for key, value in sent.items() if key not in {*_KEPT, "managedFields"}}
    return ordered(resource, body, _without_empty(metadata))


def updated(resource: ResourceType, live: Record, wanted: Json, *, subresource: str) -> Json:
    """Return the object after an update, before versions and managedFields are looked at.

    Args:
        resource: its kind.
        live: what is stored.
        wanted: what the client sent or what its patch made.
        subresource: `status`, or empty.

    Raises:
        StatusError: 409 where the client saw another version or another object, 422 for a finalizer that comes
            too late.
    """
    stored = live.object["metadata"]
    sent = wanted.get("metadata") or {}
    _check_identity(resource, stored, sent)
    if subresource == "status":
        return _with_status(live.object, wanted)
    metadata = {key: value for key, value in sent.items() if value is not None and key not in _KEPT}
    metadata = _without_empty({**{key: stored[key] for key in _KEPT if key in stored}, **metadata})
    if "deletionTimestamp" in stored:
        late = set(metadata.get("finalizers", ())) - set(stored.get("finalizers", ()))
        if late:
            raise _late_finalizer(resource, stored["name"], sorted(late))
    result = ordered(resource, wanted, metadata)
    if resource.status:
        result = _with_status(result, live.object)
    if _raises_generation(resource, live.object, result):
        metadata["generation"] = stored.get("generation", 0) + 1
    return result


def same(one: Json, other: Json) -> bool:
    """Return whether two versions differ in nothing but version and managedFields."""
    return _comparable(one["metadata"]) == _comparable(other["metadata"]) and _body(one) == _body(other)


def _check_identity(resource: ResourceType, stored: Json, sent: Json) -> None:
    name = stored["name"]
    if sent.get("resourceVersion") not in {None, "", stored["resourceVersion"]}:
        raise conflict(resource, name)
    if sent.get("uid") not in {None, "", stored["uid"]}:
        why = f"Precondition failed: UID in precondition: {sent['uid']}, UID in object meta: {stored['uid']}"
        raise conflict(resource, name, why)


def _late_finalizer(resource: ResourceType, name: str, late: list[str]) -> Exception:
    found = ", ".join(f'"{finalizer}"' for finalizer in late)
    return invalid(
        resource,
        name,
        field="metadata.finalizers",
        why="Forbidden: no new finalizers can be added if the object is being deleted, "
        f"found new finalizers []string{{{found}}}",
        cause="FieldValueForbidden",
    )


def _with_status(base: Json, source: Json) -> Json:
    result = {key: value for key, value in base.items() if key != "status"}
    return {**result, "status": source["status"]} if source.get("status") is not None else result


def _without_empty(metadata: Json) -> Json:
    return {key: value for key, value in metadata.items() if value or key not in _DROPPED_WHEN_EMPTY}


def _body(obj: Json) -> Json:
    return {key: value for key, value in obj.items() if key != "metadata"}


def _comparable(metadata: Json) -> Json:
    return {key: value for key, value in metadata.items() if key not in {"resourceVersion", "managedFields"}}


def _raises_generation(resource: ResourceType, before: Json, after: Json) -> bool:
    if resource.generation is Generation.NONE:
        return False
    if resource.generation is Generation.SPEC_AND_ANNOTATIONS:
        old, new = before["metadata"].get("annotations"), after["metadata"].get("annotations")
        if old != new:
            return True
    ignored = {"metadata", "status"} if resource.status else {"metadata"}
    return {k: v for k, v in before.items() if k not in ignored} != {k: v for k, v in after.items() if k not in ignored}
