"""What was last seen of the cluster, fed by lists and watches.

Objects are kept as compact JSON, so that ten thousand of them cost tens of megabytes, and every reader gets a copy
of its own. An object is only ever replaced by a newer version of itself; a deletion is remembered for a while, so
that a slower list cannot bring the deleted object back.
"""

import json
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from upkeep.cluster.resources import JOBS, PODS, Resource
from upkeep.domain.identity import JOB_NAME_LABEL, OWNER_UID_LABEL, WINDOW_UID_LABEL

_TOMBSTONES: Final = 10_000
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


class Key(NamedTuple):
    """Where an object is: plural of its kind, namespace, name."""

    plural: str
    namespace: str
    name: str


Term = tuple[str, str]
"""By which objects are found: what it tells of, and the value, such as a label and its value."""


@dataclass(frozen=True, slots=True)
class _Entry:
    version: int
    body: bytes
    terms: frozenset[Term]


def _no_terms(_: Resource, __: Mapping[str, Any]) -> Iterable[Term]:
    return ()


class Cache:
    """The last known state of every object that Upkeep watches; `terms` tells by what else than labels one is found."""

    def __init__(self, *, terms: Callable[[Resource, Mapping[str, Any]], Iterable[Term]] = _no_terms) -> None:
        self._terms = terms
        self._entries: dict[Key, _Entry] = {}
        self._gone: OrderedDict[Key, int] = OrderedDict()
        self._listed: dict[str, int] = {}
        self._by_term: dict[Term, set[Key]] = defaultdict(set)
        self._by_namespace: dict[tuple[str, str], set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def put(self, resource: Resource, body: Mapping[str, Any], *, read: bool = False) -> bool:
        """Keep an object; False where it is not newer than what is known.

        Args:
            resource: its kind.
            body: as the API server shows it.
            read: it was asked for by its name just now, so that it is there, whatever a list did not contain.
        """
        key, version = key_of(resource, body), _version(body)
        known = self._entries.get(key)
        if (known and known.version >= version) or self._gone.get(key, -1) >= version:
            return False
        # A watch that lags behind a full list tells of what had been deleted by then.
        if known is None and not read and self._listed.get(key.plural, -1) >= version:
            return False
        self._remove(key)
        terms = frozenset((*_indexed_labels(resource, body), *self._terms(resource, body)))
        entry = _Entry(version=version, body=_compact(resource, body), terms=terms)
        self._entries[key] = entry
        self._by_namespace[key.plural, key.namespace].add(key.name)
        for term in entry.terms:
            self._by_term[term].add(key)
        return True

    def drop(self, resource: Resource, body: Mapping[str, Any]) -> bool:
        """Forget an object that was deleted; False where a newer one of its name is known already."""
        key, version = key_of(resource, body), _version(body)
        known = self._entries.get(key)
        self._gone[key] = max(version, self._gone.pop(key, -1))
        while len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)
        if known is None or known.version > version:
            return False
        self._remove(key)
        return True

    def retain(self, resource: Resource, seen: Iterable[Key], version: int) -> list[Key]:
        """After a full list at `version`: forget what it did not contain; returns what was forgotten."""
        present = set(seen)
        lost = [
            key
            for key, entry in self._entries.items()
            if key.plural == resource.plural and key not in present and entry.version <= version
        ]
        for key in lost:
            self._remove(key)
        self._listed[resource.plural] = max(version, self._listed.get(resource.plural, -1))
        return lost

    def get(self, key: Key) -> dict[str, Any] | None:
        """A copy of an object, None where it is not known."""
        entry = self._entries.get(key)
        return _restored(entry) if entry else None

    def keys(self, resource: Resource) -> Iterator[Key]:
        """Where the objects of a kind are."""
        return (key for key in list(self._entries) if key.plural == resource.plural)

    def names(self, resource: Resource, namespace: str) -> frozenset[str]:
        """Names of the objects of a kind in a namespace."""
        return frozenset(self._by_namespace.get((resource.plural, namespace), ()))

    def found(self, what: str, value: str) -> list[Key]:
        """Where the objects are that a term tells of, in order."""
        return sorted(self._by_term.get((what, value), ()))

    def jobs_of(self, owner_uid: str) -> list[dict[str, Any]]:
        """The Jobs that belong to a resource."""
        return self._labelled(JOBS, OWNER_UID_LABEL, owner_uid)

    def jobs_in_window(self, window_uid: str) -> list[dict[str, Any]]:
        """The Jobs that a window started, its own and those of its tasks."""
        return self._labelled(JOBS, WINDOW_UID_LABEL, window_uid)

    def pods_of(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The Pods of a Job."""
        found = self._labelled(PODS, JOB_NAME_LABEL, job["metadata"]["name"])
        return [pod for pod in found if pod["metadata"]["namespace"] == job["metadata"]["namespace"]]

    def _labelled(self, resource: Resource, label: str, value: str) -> list[dict[str, Any]]:
        keys = [key for key in self.found(label, value) if key.plural == resource.plural]
        return [_restored(self._entries[key]) for key in keys]

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        _discard(self._by_namespace, (key.plural, key.namespace), key.name)
        for term in entry.terms:
            _discard(self._by_term, term, key)


def key_of(resource: Resource, body: Mapping[str, Any]) -> Key:
    """Where an object is."""
    metadata = body["metadata"]
    return Key(resource.plural, metadata.get("namespace", ""), metadata["name"])


def _discard(index: dict[Any, set[Any]], name: object, member: object) -> None:
    members = index.get(name)
    if members is not None:
        members.discard(member)
        if not members:
            del index[name]


def _version(body: Mapping[str, Any]) -> int:
    """Resource versions of one kind can be compared as numbers (KEP-5504)."""
    return int(body["metadata"].get("resourceVersion") or 0)


def _compact(resource: Resource, body: Mapping[str, Any]) -> bytes:
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    annotations = metadata.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        metadata["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    # Items of a list carry neither kind nor apiVersion.
    whole = {**body, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    return json.dumps(whole, separators=(",", ":")).encode()


def _restored(entry: _Entry) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(entry.body)
    return body


def _indexed_labels(resource: Resource, body: Mapping[str, Any]) -> list[Term]:
    indexed = {JOBS: (OWNER_UID_LABEL, WINDOW_UID_LABEL), PODS: (JOB_NAME_LABEL,)}.get(resource, ())
    labels = body["metadata"].get("labels") or {}
    return [(label, labels[label]) for label in indexed if label in labels]
