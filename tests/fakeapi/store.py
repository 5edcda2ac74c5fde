"""The objects, their versions and their history: the etcd and the storage layer of the fake.

It exists to be the one place where anything is committed: every write gets the next version, is recorded, is told
to the watches and then to the followers (garbage collection), in that order. It must never wait, know HTTP, or
change a stored dict in place.
"""

import random
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

from fakeapi import errors, fields, strategy
from fakeapi.defaults import defaulted
from fakeapi.fields import Writer
from fakeapi.objects import Change, EventType, Json, Key, Record
from fakeapi.patch import Patch
from fakeapi.resources import NAMESPACES, Catalogue, ResourceType
from fakeapi.selectors import Match

Observer = Callable[[ResourceType, Change], None]
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_FIRST_VERSION = 1000
"""As if the cluster had lived for a while, so that there are versions that are too old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What a DELETE asks for.

    Attributes:
        policy: `Background`, `Foreground`, `Orphan`, or empty for the kind's default.
        uid: precondition, empty for none.
        version: precondition on the resourceVersion, empty for none.
    """

    policy: str = ""
    uid: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a DELETE did.

    Attributes:
        record: the last state, or the state in which the object waits for its finalizers.
        gone: whether the object is gone.
    """

    record: Record
    gone: bool


class _Shelf:
    """The objects and the history of one kind."""

    def __init__(self, history: int, version: int) -> None:
        self.records: dict[Key, Record] = {}
        self.changes: deque[Change] = deque()
        self.history = history
        self.floor = version

    def remember(self, change: Change) -> None:
        self.changes.append(change)
        while len(self.changes) > self.history:
            self.floor = self.changes.popleft().version


class Store:
    """All objects of one fake server.

    Args:
        catalogue: the kinds that exist.
        clock: gives the time for creationTimestamp and the like.
        seed: of names and UIDs, so that a run can be repeated exactly.
        history: how many changes of each kind a watch can look back.
    """

    def __init__(self, catalogue: Catalogue, *, clock: Callable[[], datetime], seed: int, history: int) -> None:
        self.catalogue = catalogue
        self.version = _FIRST_VERSION
        self._clock = clock
        # Names and identities have to be repeatable, not secret.
        self._random = random.Random(seed)  # noqa: S311
        self._shelves = {resource: _Shelf(history, self.version) for resource in catalogue.types}
        self._population: Counter[str] = Counter()
        self._observers: dict[ResourceType, list[Observer]] = {resource: [] for resource in catalogue.types}
        self._followers: list[Observer] = []
        self._unfollowed: deque[tuple[ResourceType, Change]] = deque()
        self._following = False

    # Reading

    def now(self) -> str:
        """Return the time as the server writes it, in whole seconds."""
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def find(self, resource: ResourceType, key: Key) -> Record | None:
        """Return the stored version, or None."""
        return self._shelves[resource].records.get(key)

    def get(self, resource: ResourceType, key: Key) -> Record:
        """Return the stored version.

        Raises:
            StatusError: 404.
        """
        record = self.find(resource, key)
        if record is None:
            raise errors.not_found(resource, key[1])
        return record

    def select(
        self, resource: ResourceType, namespace: str = "", match: Match | None = None, *, version: int = 0
    ) -> list[Record]:
        """Return objects in the order of their keys.

        Args:
            resource: their kind.
            namespace: only from this namespace, empty for all.
            match: only those that pass.
            version: the state at this resourceVersion, 0 for now.

        Raises:
            StatusError: 410 where the history does not reach back to that version.
        """
        records = self._state_at(resource, version) if version else self._shelves[resource].records
        chosen = [
            item
            for item in records.items()
            if (not namespace or item[0][0] == namespace) and (match is None or match(item[1].object))
        ]
        return [record for _, record in sorted(chosen, key=itemgetter(0))]

    def occupied(self, namespace: str) -> bool:
        """Return whether there is anything in a namespace."""
        return self._population[namespace] > 0

    def changes_since(self, resource: ResourceType, version: int) -> list[Change]:
        """Return what happened after a version, oldest first.

        Raises:
            StatusError: 410 where the history does not reach back to that version.
        """
        shelf = self._shelves[resource]
        if version < shelf.floor:
            raise errors.too_old(version, shelf.floor)
        newer: list[Change] = []
        for change in reversed(shelf.changes):
            if change.version <= version:
                break
            newer.append(change)
        return newer[::-1]

    def compact(self) -> None:
        """Forget the history: watches and paged lists that started earlier get 410 when they come back."""
        for shelf in self._shelves.values():
            shelf.changes.clear()
            shelf.floor = self.version

    def _state_at(self, resource: ResourceType, version: int) -> dict[Key, Record]:
        records = dict(self._shelves[resource].records)
        for change in reversed(self.changes_since(resource, version)):
            if change.previous is None:
                records.pop(change.record.key)
            else:
                records[change.previous.key] = change.previous
        return records

    # Being told

    def observe(self, resource: ResourceType, observer: Observer) -> Callable[[], None]:
        """Call the observer for every change of a kind, at once; return what ends that."""
        self._observers[resource].append(observer)
        return lambda: self._observers[resource].remove(observer)

    def follow(self, follower: Observer) -> None:
        """Call the follower for every change after the observers; it may write."""
        self._followers.append(follower)

    # Writing

    def create(
        self, resource: ResourceType, namespace: str, body: object, *, writer: Writer, keep_status: bool = False
    ) -> Record:
        """Store a new object.

        Args:
            resource: its kind.
            namespace: its namespace, empty for cluster-scoped kinds.
            body: the object; needs a name or generateName.
            writer: who creates it.
            keep_status: keep the status that the body has, which the main endpoint would drop.

        Raises:
            StatusError: 400, 403, 404, 409 or 422, as the real server refuses.
        """
        obj = strategy.check_type(resource, body, namespace=namespace)
        metadata = obj.get("metadata") or {}
        name = metadata.get("name") or ""
        prefix = metadata.get("generateName") or ""
        if not name and not prefix:
            why = "Required value: name or generateName is required"
            raise errors.invalid(resource, "", field="metadata.name", why=why, cause="FieldValueRequired")
        if metadata.get("resourceVersion"):
            raise errors.StatusError(500, "", "resourceVersion should not be set on objects to be created")
        name = name or self._generated(resource, namespace, prefix)
        self._check_namespace(resource, namespace, name)
        if self.find(resource, (namespace, name)) is not None:
            raise errors.already_exists(resource, name)
        if resource.status and not keep_status:
            obj = {key: value for key, value in obj.items() if key != "status"}
        now = self.now()
        new = strategy.created(resource, obj, name=name, namespace=namespace, uid=self._identity(), now=now)
        new = defaulted(resource, new)
        entries = fields.track(None, new, [], writer, subresource="", now=now)
        if entries:
            new["metadata"] = {**new["metadata"], "managedFields": entries}
        return self._commit(resource, "ADDED", new, None)

    def update(
        self, resource: ResourceType, key: Key, patch: Patch, *, writer: Writer, subresource: str = ""
    ) -> Record:
        """Change an object; a change of nothing is no write.

        Args:
            resource: its kind.
            key: its namespace and name.
            patch: makes the wanted object from the stored one.
            writer: who changes it.
            subresource: `status`, or empty.

        Raises:
            StatusError: 404, 409 or 422, as the real server refuses.
        """
        live = self.get(resource, key)
        wanted = patch(live)
        new = strategy.updated(resource, live, wanted, subresource=subresource)
        if not subresource:
            new = defaulted(resource, new, live.object)
        before = live.object["metadata"].get("managedFields", [])
        entries = _given_entries(wanted, before)
        if writer.claims or (before and entries):
            # Without entries nothing is tracked until somebody applies, as in the real server.
            entries = fields.track(live.object, new, entries, writer, subresource=subresource, now=self.now())
        if strategy.same(live.object, new) and entries == before:
            return live
        metadata = {key: value for key, value in new["metadata"].items() if key != "managedFields"}
        new["metadata"] = {**metadata, "managedFields": entries} if entries else metadata
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            # The real server does not store this update: it deletes, and watches see the stored state go.
            self._commit(resource, "DELETED", live.object, live)
            return Record(new, live.version)
        return self._commit(resource, "MODIFIED", new, live)

    def replace(
        self, resource: ResourceType, key: Key, body: object, *, writer: Writer, subresource: str = ""
    ) -> tuple[Record, bool]:
        """Store what the client sent (PUT); return it and whether it was created.

        Raises:
            StatusError: 400, 404, 409 or 422, as the real server refuses.
        """
        obj = strategy.check_type(resource, body, namespace=key[0])
        metadata = obj.get("metadata") or {}
        if metadata.get("name") not in {None, "", key[1]}:
            message = f"the name of the object ({metadata['name']}) does not match the name on the URL ({key[1]})"
            raise errors.bad_request(message)
        if self.find(resource, key) is None and resource.create_on_update and not subresource:
            fresh = {name: value for name, value in metadata.items() if name not in {"resourceVersion", "uid"}}
            fresh["name"] = key[1]
            return self.create(resource, key[0], {**obj, "metadata": fresh}, writer=writer), True
        self.get(resource, key)
        if not metadata.get("resourceVersion") and not resource.unconditional_update:
            raise errors.version_required(resource, key[1])
        return self.update(resource, key, lambda _: obj, writer=writer, subresource=subresource), False

    def delete(self, resource: ResourceType, key: Key, deletion: Deletion) -> Deleted:
        """Delete an object, or mark it until its finalizers are gone.

        Raises:
            StatusError: 404, or 409 where a precondition fails.
        """
        live = self.get(resource, key)
        self._check_preconditions(resource, live, deletion)
        stored = live.object["metadata"]
        policy = deletion.policy or ("Orphan" if resource.orphans_dependents else "Background")
        finalizers = [f for f in stored.get("finalizers", []) if f not in {"orphan", "foregroundDeletion"}]
        extra = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}.get(policy)
        finalizers += [extra] if extra else []
        if not finalizers and resource != NAMESPACES:
            return Deleted(self._commit(resource, "DELETED", live.object, live), gone=True)
        metadata = {**stored, "finalizers": finalizers} if finalizers else {**stored}
        if "deletionTimestamp" not in stored:
            metadata |= {"deletionTimestamp": self.now(), "deletionGracePeriodSeconds": 0}
            if "generation" in stored:
                metadata["generation"] = stored["generation"] + 1
        new = {**live.object, "metadata": metadata}
        if resource == NAMESPACES:
            del metadata["deletionGracePeriodSeconds"]
            new["status"] = {**live.object.get("status", {}), "phase": "Terminating"}
        if new == live.object:
            return Deleted(live, gone=False)
        return Deleted(self._commit(resource, "MODIFIED", new, live), gone=False)

    def remove(self, resource: ResourceType, key: Key) -> None:
        """Take an object away at once, whatever its finalizers; for the namespace controller."""
        live = self.get(resource, key)
        self._commit(resource, "DELETED", live.object, live)

    def _commit(self, resource: ResourceType, change: EventType, obj: Json, previous: Record | None) -> Record:
        self.version += 1
        shelf = self._shelves[resource]
        record = Record({**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}, self.version)
        if change == "DELETED":
            del shelf.records[record.key]
            self._population[record.key[0]] -= 1
        else:
            shelf.records[record.key] = record
            self._population[record.key[0]] += previous is None
        event = Change(self.version, change, record, previous)
        shelf.remember(event)
        for observer in tuple(self._observers[resource]):
            observer(resource, event)
        self._unfollowed.append((resource, event))
        self._follow_up()
        return record

    def _follow_up(self) -> None:
        # A follower's own writes queue up behind the one that it was told of, so that versions never go back.
        if self._following:
            return
        self._following = True
        try:
            while self._unfollowed:
                resource, event = self._unfollowed.popleft()
                for follower in self._followers:
                    follower(resource, event)
        finally:
            self._following = False

    def _check_namespace(self, resource: ResourceType, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        home = self.find(NAMESPACES, ("", namespace))
        if home is None:
            raise errors.not_found(NAMESPACES, namespace)
        if "deletionTimestamp" in home.object["metadata"]:
            raise errors.namespace_terminating(resource, name, namespace)

    def _check_preconditions(self, resource: ResourceType, live: Record, deletion: Deletion) -> None:
        name = live.key[1]
        if deletion.uid and deletion.uid != live.uid:
            raise errors.precondition_failed(resource, name, field="UID", wanted=deletion.uid, found=live.uid)
        if deletion.version and deletion.version != str(live.version):
            raise errors.precondition_failed(
                resource, name, field="ResourceVersion", wanted=deletion.version, found=str(live.version)
            )

    def _generated(self, resource: ResourceType, namespace: str, prefix: str) -> str:
        while True:
            name = prefix + "".join(self._random.choices(_SUFFIX, k=_SUFFIX_LENGTH))
            if self.find(resource, (namespace, name)) is None:
                return name

    def _identity(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))


def _given_entries(wanted: Json, before: list[Json]) -> list[Json]:
    """Return the managedFields that an update starts from.

    A client that sends none, or an empty list, knows nothing of them; a list of one empty entry resets them.
    """
    given: Iterable[Json] = (wanted.get("metadata") or {}).get("managedFields") or before
    return [entry for entry in given if entry]
