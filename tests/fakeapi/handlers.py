"""What each verb does: from a call and its query to a code and a body.

It exists to keep HTTP out of the store and the store's rules out of HTTP. It must never wait: a request is decided
at once, so that faults can come exactly before or after.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from fakeapi import errors, fields, patch
from fakeapi.calls import Call
from fakeapi.discovery import document
from fakeapi.errors import StatusError
from fakeapi.fields import Writer
from fakeapi.objects import Key, Record, encode
from fakeapi.resources import Catalogue, ResourceType
from fakeapi.selectors import Match, compile_selectors
from fakeapi.store import Deletion, Store
from fakeapi.watch import WatchRequest

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back to the client.

    Attributes:
        code: HTTP status.
        body: the encoded body.
        content_type: its media type.
        name: name of the object that was written, for the audit.
        retry_after: seconds in the Retry-After header, None for none.
    """

    code: int
    body: bytes
    content_type: str = "application/json"
    name: str = ""
    retry_after: int | None = None


def refusal(error: StatusError, *, retry_after: int | None = None) -> Reply:
    """Return the reply to a refused request."""
    return Reply(error.code, encode(error.status()), retry_after=retry_after)


def decode(call: Call, media_type: str, body: bytes) -> object:
    """Return the decoded body of a write.

    Args:
        call: the request.
        media_type: its content type.
        body: its body.

    Raises:
        StatusError: 400 where it cannot be decoded, 415 where the kind takes no such patch.
    """
    if call.resource is None or not call.is_write:
        return None
    if call.verb == "patch":
        if media_type == patch.APPLY_PATCH:
            return patch.read_apply(body)
        return patch.decode(call.resource, media_type, body)
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError as error:
        message = f"the object provided is unrecognized (must be of type {call.resource.kind}): {error}"
        raise errors.bad_request(message) from error


class Handlers:
    """The verbs of one server.

    Args:
        catalogue: the kinds that it offers.
        store: where the objects are.
    """

    def __init__(self, catalogue: Catalogue, store: Store) -> None:
        self._catalogue = catalogue
        self._store = store

    def handle(self, call: Call, query: Query, media_type: str) -> Reply:
        """Decide a request other than a watch.

        Raises:
            StatusError: the request is refused.
        """
        resource = call.resource
        if resource is None:
            return self._document(call)
        if call.subresource and (call.subresource != "status" or not resource.status):
            return _no_such_path()
        if query.get("dryRun") and call.is_write:
            message = "the fake API server cannot do a dry run: it would commit"
            raise errors.bad_request(message)
        allowed = {"get", "patch", "update"} if call.subresource else resource.verbs
        if call.verb not in allowed:
            raise errors.method_not_allowed()
        return self._perform(resource, call, query, media_type)

    def _perform(self, resource: ResourceType, call: Call, query: Query, media_type: str) -> Reply:
        key = call.namespace, call.name
        match call.verb:
            case "get":
                reply = Reply(200, self._store.get(resource, key).encoded())
            case "list":
                reply = self._list(resource, call.namespace, query)
            case "create":
                record = self._store.create(resource, call.namespace, call.body, writer=Writer(call.manager))
                reply = Reply(201, record.encoded(), name=record.key[1])
            case "update":
                reply = self._replace(resource, call)
            case "patch" if media_type == patch.APPLY_PATCH:
                reply = self._apply(resource, call, query)
            case "patch":
                wanted = patch.read(media_type, call.body)
                record = self._store.update(
                    resource, key, wanted, writer=Writer(call.manager), subresource=call.subresource
                )
                reply = Reply(200, record.encoded())
            case "delete":
                reply = self._delete(resource, key, query, call.body)
            case _:
                reply = self._delete_collection(resource, call, query)
        return reply

    def watch_request(self, call: Call, query: Query) -> WatchRequest:
        """Return what a watch asks for.

        Raises:
            StatusError: a selector or the version cannot be parsed.
        """
        if call.resource is None:
            raise errors.method_not_allowed()
        version = _version(query.get("resourceVersion", ""))
        initial = query.get("sendInitialEvents") == "true" or not version
        return WatchRequest(
            resource=call.resource,
            namespace=call.namespace,
            match=self._selectors(call.resource, query),
            since=None if initial else version,
            bookmarks=query.get("allowWatchBookmarks") in {"true", "1"},
            user_agent=call.user_agent,
        )

    def _document(self, call: Call) -> Reply:
        found = document(self._catalogue, call.path) if call.verb == "get" else None
        if found is None:
            return _no_such_path()
        if isinstance(found, str):
            return Reply(200, found.encode(), "text/plain")
        return Reply(200, encode(found))

    def _selectors(self, resource: ResourceType, query: Query) -> Match | None:
        return compile_selectors(resource, labels=query.get("labelSelector", ""), fields=query.get("fieldSelector", ""))

    def _list(self, resource: ResourceType, namespace: str, query: Query) -> Reply:
        match = self._selectors(resource, query)
        limit = int(query.get("limit", "0") or 0)
        asked = _version(query.get("resourceVersion", ""))
        token = query.get("continue", "")
        if asked > self._store.version:
            raise errors.too_large(asked, self._store.version)
        exact = asked if query.get("resourceVersionMatch") == "Exact" else 0
        start: Key | None = None
        if token:
            if query.get("resourceVersion"):
                message = "specifying resource version is not allowed when using continue"
                raise errors.bad_request(message)
            exact, start = _read_token(token)
        elif query.get("resourceVersion") == "0":
            limit = 0  # served from the cache, which knows no pages
        try:
            records = self._store.select(resource, namespace, match, version=exact)
        except StatusError as error:
            if not token or start is None:
                raise
            raise errors.continue_expired(_token(0, start)) from error
        if start is not None:
            records = [record for record in records if record.key > start]
        version = exact or self._store.version
        return Reply(200, _page(resource, records, limit, version=version, count=match is None))

    def _replace(self, resource: ResourceType, call: Call) -> Reply:
        record, created = self._store.replace(
            resource,
            (call.namespace, call.name),
            call.body,
            writer=Writer(call.manager),
            subresource=call.subresource,
        )
        return Reply(201 if created else 200, record.encoded())

    def _apply(self, resource: ResourceType, call: Call, query: Query) -> Reply:
        if not query.get("fieldManager"):
            raise errors.manager_required()
        key = call.namespace, call.name
        config = {**call.body, "metadata": {**call.body.get("metadata", {}), "name": call.name}}
        writer = Writer(call.manager, claims=fields.applied(config))
        if self._store.find(resource, key) is None and not call.subresource:
            return Reply(201, self._store.create(resource, call.namespace, config, writer=writer).encoded())
        record = self._store.update(
            resource, key, patch.merge_patch(config), writer=writer, subresource=call.subresource
        )
        return Reply(200, record.encoded())

    def _delete(self, resource: ResourceType, key: Key, query: Query, body: object) -> Reply:
        deleted = self._store.delete(resource, key, _deletion(query, body))
        if resource.returns_deleted or not deleted.gone:
            return Reply(200, deleted.record.encoded())
        details = {"name": key[1], "group": resource.group, "kind": resource.plural, "uid": deleted.record.uid}
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {name: value for name, value in details.items() if value},
        }
        return Reply(200, encode(status))

    def _delete_collection(self, resource: ResourceType, call: Call, query: Query) -> Reply:
        records = self._store.select(resource, call.namespace, self._selectors(resource, query))
        deletion = _deletion(query, call.body)
        for record in records:
            if self._store.find(resource, record.key) is not None:
                self._store.delete(resource, record.key, deletion)
        return Reply(200, _page(resource, records, 0, version=self._store.version, count=False))


def _no_such_path() -> Reply:
    return Reply(404, b"404 page not found\n", "text/plain")


def _version(text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal():
        message = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise StatusError(500, "", message)
    return int(text)


def _deletion(query: Query, body: object) -> Deletion:
    options = body if isinstance(body, dict) else {}
    preconditions = options.get("preconditions") or {}
    return Deletion(
        policy=options.get("propagationPolicy") or query.get("propagationPolicy", ""),
        uid=preconditions.get("uid") or "",
        version=preconditions.get("resourceVersion") or "",
    )


def _page(resource: ResourceType, records: list[Record], limit: int, *, version: int, count: bool) -> bytes:
    page = records[:limit] if limit else records
    metadata: dict[str, object] = {"continue": ""} if resource.custom else {}
    metadata["resourceVersion"] = str(version)
    if len(page) < len(records):
        metadata["continue"] = _token(version, page[-1].key)
        if count:
            metadata["remainingItemCount"] = len(records) - len(page)
    head = encode({"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata})
    return head[:-1] + b',"items":[' + b",".join(_items(resource, page)) + b"]}"


def _items(resource: ResourceType, page: list[Record]) -> list[bytes]:
    if resource.custom:
        return [record.encoded() for record in page]
    # Items of built-in lists carry no type, and the store puts the type first.
    prefix = len(encode({"apiVersion": resource.api_version, "kind": resource.kind})) - 1
    return [b"{" + record.encoded()[prefix + 1 :] for record in page]


def _token(version: int, key: Key) -> str:
    start = {"v": "meta.k8s.io/v1", "rv": version, "start": "/".join(key)}
    return base64.urlsafe_b64encode(encode(start)).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, Key]:
    try:
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, _, name = content["start"].rpartition("/")
        return int(content["rv"]), (namespace, name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"invalid continue token: continue key is not valid: {error}"
        raise errors.bad_request(message) from error
