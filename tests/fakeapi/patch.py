"""The ways a client can patch an object.

It exists to keep the four media types apart from what the store does with their result. It must never change the
object that it is given, nor look at versions: the store does that with whatever comes out.
"""

import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jsonpatch
import jsonpointer
import yaml

from fakeapi.errors import bad_request, unprocessable_patch, unsupported_media_type
from fakeapi.objects import Json, Record
from fakeapi.resources import ResourceType

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Patch = Callable[[Record], Json]
"""Takes the stored version, returns the object that the client wants."""


class _Test(jsonpatch.TestOperation):
    """A `test` as the real server's library does it: what an object does not have equals null."""

    def apply(self, obj: Any) -> Any:  # noqa: ANN401 -- any JSON can be patched
        if self.operation.get("value", ...) is None:
            container, key = self.pointer.to_last(obj)
            if isinstance(container, dict) and key not in container:
                return obj
        return super().apply(obj)


class _JsonPatch(jsonpatch.JsonPatch):
    operations = MappingProxyType({**jsonpatch.JsonPatch.operations, "test": _Test})


def json_patch(operations: object) -> Patch:
    """Return a patch of RFC 6902 operations.

    Args:
        operations: the decoded body.

    Raises:
        StatusError: 400 where it is no list of operations; the patch itself raises 422 where a `test` fails or a
            path does not exist.
    """
    if not isinstance(operations, list):
        message = "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        raise bad_request(message)
    if not all(isinstance(operation, dict) for operation in operations):
        message = "error decoding patch: json: cannot unmarshal a patch into Go value of type handlers.jsonPatchOp"
        raise bad_request(message)

    def patch(record: Record) -> Json:
        # Decoding is the quickest deep copy there is, and the library may change what it is given.
        copy = json.loads(record.encoded())
        try:
            patched: Json = _JsonPatch(operations).apply(copy, in_place=True, atomic=False)
        except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
            raise unprocessable_patch() from error
        return patched

    return patch


def merge_patch(changes: object) -> Patch:
    """Return a patch by RFC 7386: null removes, objects merge, everything else replaces.

    Args:
        changes: the decoded body.

    Raises:
        StatusError: 400 where it is no object.
    """
    if not isinstance(changes, dict):
        message = "error decoding patch: json: cannot unmarshal array into Go value of type map"
        raise bad_request(message)
    return lambda record: merged(record.object, changes)


def merged(base: Json, changes: Json) -> Json:
    """Return base with changes merged in by RFC 7386; both stay as they are."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            before = result.get(key)
            result[key] = merged(before if isinstance(before, dict) else {}, value)
        else:
            result[key] = value
    return result


def decode(resource: ResourceType, media_type: str, body: bytes) -> Any:  # noqa: ANN401 -- any JSON can be sent
    """Return the decoded body of a patch other than server-side apply.

    Args:
        resource: the kind to be patched.
        media_type: content type of the request.
        body: body of the request.

    Raises:
        StatusError: 415 where the kind does not take such a patch, 400 where the body is no JSON.
    """
    accepted = [JSON_PATCH, MERGE_PATCH] + ([] if resource.custom else [STRATEGIC_MERGE_PATCH])
    if media_type not in accepted:
        raise unsupported_media_type([*accepted, APPLY_PATCH])
    try:
        return json.loads(body)
    except ValueError as error:
        message = f"error decoding patch: {error}"
        raise bad_request(message) from error


def read(media_type: str, body: object) -> Patch:
    """Return the patch that a decoded body describes.

    Args:
        media_type: one that `decode` let through.
        body: what `decode` returned.

    Raises:
        StatusError: 400 where the body has the wrong shape.
    """
    return json_patch(body) if media_type == JSON_PATCH else merge_patch(body)


def read_apply(body: bytes) -> Json:
    """Return the configuration of a server-side apply, which may be YAML or JSON.

    Raises:
        StatusError: 400 where the body is no object.
    """
    try:
        config = yaml.safe_load(body)
    except yaml.YAMLError as error:
        message = f"error decoding YAML: {error}"
        raise bad_request(message) from error
    if not isinstance(config, dict):
        message = "error decoding YAML: the applied configuration is no object"
        raise bad_request(message)
    return config
