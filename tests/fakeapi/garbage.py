"""The garbage collector and the namespace controller: what goes when something else is gone.

It exists because a deleted owner takes its Jobs and Pods along, and a terminating namespace everything. The real
ones work a moment later; here all is settled before the request that caused it is answered. It must never decide
by name: owners are known by UID.
"""

from fakeapi.fields import Writer
from fakeapi.objects import Change, Json, Key, Record
from fakeapi.resources import NAMESPACES, ResourceType
from fakeapi.store import Deletion, Store

_COLLECTOR = Writer("kube-controller-manager")
_Place = tuple[ResourceType, Key]


class Collector:
    """Follows a store and deletes what lost its last owner or its namespace.

    Args:
        store: the store to keep clean.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[str, _Place] = {}
        self._dependents: dict[str, dict[_Place, None]] = {}
        store.follow(self._follow)

    def _follow(self, resource: ResourceType, change: Change) -> None:
        self._index(resource, change)
        if change.type == "DELETED":
            self._owner_gone(change.record)
            self._release_foreground(change.record)
            self._release_namespace(change.record)
            return
        if change.type == "ADDED" and self._is_orphaned(change.record):
            self._delete((resource, change.record.key))
        metadata = change.record.object["metadata"]
        if "deletionTimestamp" in metadata:
            self._start_deletion(resource, change.record, metadata.get("finalizers", []))

    def _index(self, resource: ResourceType, change: Change) -> None:
        place = resource, change.record.key
        for owner in _owners(change.previous):
            self._dependents.get(owner["uid"], {}).pop(place, None)
        if change.type == "DELETED":
            self._places.pop(change.record.uid, None)
            return
        self._places[change.record.uid] = place
        for owner in _owners(change.record):
            self._dependents.setdefault(owner["uid"], {})[place] = None

    def _present(self, owner: Json, namespace: str) -> bool:
        place = self._places.get(owner["uid"])
        return place is not None and place[1][0] in {"", namespace}

    def _is_orphaned(self, record: Record) -> bool:
        owners = _owners(record)
        return bool(owners) and not any(self._present(owner, record.key[0]) for owner in owners)

    def _owner_gone(self, gone: Record) -> None:
        for place in list(self._dependents.pop(gone.uid, {})):
            record = self._store.find(*place)
            if record is None:
                continue
            if self._is_orphaned(record):
                self._delete(place)
            else:
                self._disown(place, gone.uid)

    def _start_deletion(self, resource: ResourceType, record: Record, finalizers: list[str]) -> None:
        if resource == NAMESPACES:
            self._empty_namespace(record.key[1])
        elif "orphan" in finalizers:
            for place in list(self._dependents.get(record.uid, {})):
                self._disown(place, record.uid)
            self._drop_finalizer((resource, record.key), "orphan")
        elif "foregroundDeletion" in finalizers:
            for place in list(self._dependents.get(record.uid, {})):
                self._delete(place)
            self._finish_foreground(record.uid)

    def _release_foreground(self, gone: Record) -> None:
        for owner in _owners(gone):
            self._finish_foreground(owner["uid"])

    def _finish_foreground(self, uid: str) -> None:
        place = self._places.get(uid)
        record = self._store.find(*place) if place else None
        if place is None or record is None:
            return
        if "foregroundDeletion" not in record.object["metadata"].get("finalizers", []):
            return
        dependents = (self._store.find(*dependent) for dependent in self._dependents.get(uid, {}))
        blocking = (
            owner.get("blockOwnerDeletion")
            for dependent in dependents
            for owner in _owners(dependent)
            if owner["uid"] == uid
        )
        if not any(blocking):
            self._drop_finalizer(place, "foregroundDeletion")

    def _empty_namespace(self, namespace: str) -> None:
        for resource in self._store.catalogue.types:
            for record in self._store.select(resource, namespace) if resource.namespaced else ():
                if self._store.find(resource, record.key) is not None:
                    self._delete((resource, record.key))
        self._finish_namespace(namespace)

    def _release_namespace(self, gone: Record) -> None:
        namespace = gone.key[0]
        home = self._store.find(NAMESPACES, ("", namespace)) if namespace else None
        if home is not None and "deletionTimestamp" in home.object["metadata"]:
            self._finish_namespace(namespace)

    def _finish_namespace(self, namespace: str) -> None:
        if self._store.find(NAMESPACES, ("", namespace)) is not None and not self._store.occupied(namespace):
            self._store.remove(NAMESPACES, ("", namespace))

    def _delete(self, place: _Place) -> None:
        if self._store.find(*place) is not None:
            self._store.delete(*place, Deletion(policy="Background"))

    def _disown(self, place: _Place, uid: str) -> None:
        def patch(record: Record) -> Json:
            left = [owner for owner in _owners(record) if owner["uid"] != uid]
            return _with_metadata(record, "ownerReferences", left)

        self._store.update(*place, patch, writer=_COLLECTOR)

    def _drop_finalizer(self, place: _Place, finalizer: str) -> None:
        def patch(record: Record) -> Json:
            left = [name for name in record.object["metadata"].get("finalizers", []) if name != finalizer]
            return _with_metadata(record, "finalizers", left)

        self._store.update(*place, patch, writer=_COLLECTOR)


def _owners(record: Record | None) -> list[Json]:
    return record.object["metadata"].get("ownerReferences", []) if record is not None else []


def _with_metadata(record: Record, field: str, value: object) -> Json:
    return {**record.object, "metadata": {**record.object["metadata"], field: value}}
