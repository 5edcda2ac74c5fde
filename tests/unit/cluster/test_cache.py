"""What was last seen of the cluster: never older than it was, and the same as the cluster in the end."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upkeep.cluster.cache import Cache, Key, key_of
from upkeep.cluster.resources import JOBS, PODS, TASKS, Resource
from upkeep.domain.identity import JOB_NAME_LABEL, OWNER_UID_LABEL, WINDOW_UID_LABEL

Object = dict[str, Any]

NAMESPACES: Final = ("east", "west")
NAMES: Final = ("a", "b")
KINDS: Final = (TASKS, JOBS, PODS)
UIDS: Final = ("one", "two")


def made(
    version: int, *, name: str = "a", namespace: str = "east", labels: Mapping[str, str] | None = None, **more: object
) -> Object:
    metadata = {"name": name, "namespace": namespace, "resourceVersion": str(version), "labels": dict(labels or {})}
    return {"metadata": metadata, **more}


A_KEY: Final = Key(TASKS.plural, "east", "a")


def version_of(cache: Cache, key: Key = A_KEY) -> str | None:
    known = cache.get(key)
    return known["metadata"]["resourceVersion"] if known else None


@pytest.mark.parametrize(
    ("then", "news", "known"), [(4, False, "5"), (5, False, "5"), (6, True, "6"), (10, True, "10")]
)
def test_an_object_is_only_replaced_by_a_newer_version_of_itself(then: int, news: bool, known: str) -> None:  # noqa: FBT001
    cache = Cache()
    cache.put(TASKS, made(5))

    assert cache.put(TASKS, made(then)) is news
    assert version_of(cache) == known


@pytest.mark.parametrize(("late", "known"), [(4, None), (7, None), (8, "8")])
def test_what_was_deleted_only_comes_back_as_something_newer(late: int, known: str | None) -> None:
    cache = Cache()
    cache.put(TASKS, made(5))
    assert cache.drop(TASKS, made(7))

    cache.put(TASKS, made(late))

    assert version_of(cache) == known


def test_an_object_that_was_made_anew_survives_the_late_news_of_the_deletion_of_the_old_one() -> None:
    cache = Cache()
    cache.put(TASKS, made(9))

    assert not cache.drop(TASKS, made(7))
    assert version_of(cache) == "9"


def test_a_deletion_is_known_also_where_the_object_never_was() -> None:
    cache = Cache()

    assert not cache.drop(TASKS, made(7))
    assert not cache.put(TASKS, made(6))
    assert version_of(cache) is None


def test_a_full_list_takes_away_what_it_did_not_contain_and_nothing_that_is_newer_than_it() -> None:
    cache = Cache()
    cache.put(TASKS, made(5, name="a"))
    cache.put(TASKS, made(6, name="b"))
    cache.put(TASKS, made(12, name="c"))
    cache.put(JOBS, made(5, name="a"))

    lost = cache.retain(TASKS, [Key(TASKS.plural, "east", "b")], 10)

    assert lost == [A_KEY]
    assert sorted(cache.names(TASKS, "east")) == ["b", "c"]
    assert cache.names(JOBS, "east") == {"a"}


def test_what_a_full_list_took_away_does_not_come_back_with_a_watch_that_lags() -> None:
    """Given an object of version 5 that was changed at 7 and deleted at 9, a list at 10, and a watch that is at 7."""
    cache = Cache()
    cache.put(TASKS, made(5))
    cache.retain(TASKS, [], 10)

    assert not cache.put(TASKS, made(7))
    assert version_of(cache) is None
    assert cache.put(TASKS, made(11)), "made anew since"


def test_what_a_full_list_did_not_contain_does_not_come_with_a_watch_that_lags_either() -> None:
    """Given an object that was made at 7 and deleted at 9, a list at 10, and a watch that is at 7."""
    cache = Cache()
    cache.retain(TASKS, [], 10)

    assert not cache.put(TASKS, made(7))
    assert version_of(cache) is None
    assert cache.put(JOBS, made(7)), "no list of these was made"


def test_what_was_read_by_its_name_is_there_though_a_list_did_not_contain_it() -> None:
    """Given a Job whose labels somebody removed, so that lists leave it out."""
    cache = Cache()
    cache.put(JOBS, made(5))
    cache.retain(JOBS, [], 10)

    assert cache.put(JOBS, made(7), read=True)
    assert version_of(cache, Key(JOBS.plural, "east", "a")) == "7"


def test_each_reader_gets_a_copy_of_its_own() -> None:
    cache = Cache()
    cache.put(TASKS, made(1, spec={"windows": ["night"]}))
    first = cache.get(A_KEY)
    assert first

    first["spec"]["windows"].append("day")

    again = cache.get(A_KEY)
    assert again
    assert again["spec"] == {"windows": ["night"]}


def test_an_object_is_kept_whole_but_for_what_nobody_reads() -> None:
    """Items of a list say neither kind nor apiVersion; managed fields and what kubectl applied are only ballast."""
    cache = Cache()
    body = made(1, spec={"retries": 1}, status={"phase": "Ready"})
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    body["metadata"] |= {"managedFields": [{}], "annotations": {applied: "{}", "upkeep.dev/run-now": "x"}}
    before = json.dumps(body)

    cache.put(TASKS, body)

    assert cache.get(A_KEY) == {
        "apiVersion": "upkeep.dev/v1alpha1",
        "kind": "MaintenanceTask",
        "metadata": {
            "name": "a",
            "namespace": "east",
            "resourceVersion": "1",
            "labels": {},
            "annotations": {"upkeep.dev/run-now": "x"},
        },
        "spec": {"retries": 1},
        "status": {"phase": "Ready"},
    }
    assert json.dumps(body) == before


def test_deletions_of_ten_thousand_others_are_remembered_and_no_more() -> None:
    """Given that a deletion is remembered for the sake of a list that is on its way, which is soon over."""
    cache = Cache()
    cache.drop(TASKS, made(1))
    for number in range(9_999):
        cache.drop(TASKS, made(1, name=f"other-{number}"))
    remembered = cache.put(TASKS, made(1))

    cache.drop(TASKS, made(1, name="one-more"))

    assert not remembered
    assert cache.put(TASKS, made(1))


class World:
    """What the cluster really holds, and all that it ever said about it."""

    def __init__(self) -> None:
        self.version = 100
        self.objects: dict[Key, Object] = {}
        self.said: dict[Resource, list[tuple[str, Object]]] = {kind: [] for kind in KINDS}

    def change(self, resource: Resource, namespace: str, name: str, labels: Mapping[str, str] | None) -> None:
        """Make or change an object, or delete it where `labels` is None."""
        self.version += 1
        body = made(self.version, name=name, namespace=namespace, labels=labels, serial=self.version)
        key = key_of(resource, body)
        if labels is not None:
            self.objects[key] = {**body, "apiVersion": resource.api_version, "kind": resource.kind}
            self.said[resource].append(("PUT", body))
        elif key in self.objects:
            del self.objects[key]
            self.said[resource].append(("DELETED", body))

    def of(self, resource: Resource) -> dict[Key, Object]:
        return {key: body for key, body in self.objects.items() if key.plural == resource.plural}


def tell(cache: Cache, resource: Resource, kind: str, body: Object) -> None:
    (cache.drop if kind == "DELETED" else cache.put)(resource, body)


def assert_same(cache: Cache, world: World) -> None:
    """All that can be read of the cache is as it is in the world."""
    assert {key: cache.get(key) for kind in KINDS for key in cache.keys(kind)} == world.objects
    assert len(cache) == len(world.objects)
    assert all(key in cache for key in world.objects)
    for kind in KINDS:
        for place in NAMESPACES:
            assert cache.names(kind, place) == {key.name for key in world.of(kind) if key.namespace == place}
    for uid in UIDS:
        assert cache.jobs_of(uid) == labelled(world.of(JOBS), OWNER_UID_LABEL, uid)
        assert cache.jobs_in_window(uid) == labelled(world.of(JOBS), WINDOW_UID_LABEL, uid)
    for place in NAMESPACES:
        for name in NAMES:
            pods = {key: body for key, body in world.of(PODS).items() if key.namespace == place}
            assert cache.pods_of({"metadata": {"name": name, "namespace": place}}) == labelled(
                pods, JOB_NAME_LABEL, name
            )


def labelled(objects: Mapping[Key, Object], label: str, value: str) -> list[Object]:
    return [body for _, body in sorted(objects.items()) if body["metadata"]["labels"].get(label) == value]


labels = st.fixed_dictionaries(
    {},
    optional={
        OWNER_UID_LABEL: st.sampled_from(UIDS),
        WINDOW_UID_LABEL: st.sampled_from(UIDS),
        JOB_NAME_LABEL: st.sampled_from(NAMES),
    },
)
changes = st.tuples(
    st.just("change"), st.sampled_from(KINDS), st.sampled_from(NAMESPACES), st.sampled_from(NAMES), st.none() | labels
)
lists = st.tuples(st.just("list"), st.sampled_from(KINDS), st.integers(0, 6))
watches = st.tuples(st.just("watch"), st.sampled_from(KINDS), st.integers(1, 4))
repeats = st.tuples(st.just("repeat"), st.sampled_from(KINDS), st.integers(0, 50))


class Life:
    """A cache that is told of a world by watches that lag and lists that take their time."""

    def __init__(self) -> None:
        self.cache, self.world = Cache(), World()
        self._told = dict.fromkeys(KINDS, 0)

    def change(self, *change: Any) -> None:  # noqa: ANN401 - as made up
        self.world.change(*change)

    def watch(self, kind: Resource, number: int) -> None:
        """The watch goes on by so many events."""
        for _ in range(number):
            if self._told[kind] < len(self.world.said[kind]):
                self._told[kind] += 1
                self.repeat(kind, self._told[kind] - 1)

    def repeat(self, kind: Resource, number: int) -> None:
        """A watch that was taken up again says something once more, or one is ahead of the others."""
        said = self.world.said[kind]
        if said:
            tell(self.cache, kind, *said[number % len(said)])

    def list(self, kind: Resource, meanwhile: int) -> None:
        """A list of now arrives after the watch went on by so many events."""
        items, version = list(self.world.of(kind).values()), self.world.version
        self.watch(kind, meanwhile)
        for item in items:
            self.cache.put(kind, item)
        self.cache.retain(kind, [key_of(kind, item) for item in items], version)


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(st.one_of(changes, changes, watches, lists, repeats), max_size=40))
def test_in_the_end_it_is_what_the_cluster_is_however_late_and_often_it_was_told(steps: list[tuple[Any, ...]]) -> None:
    life = Life()
    newest: dict[Key, int] = {}
    for what, *details in steps:
        getattr(life, what)(*details)
        for kind in KINDS:
            for key in life.cache.keys(kind):
                version = int(version_of(life.cache, key) or 0)
                assert version >= newest.get(key, 0), "it is never older than it was"
                newest[key] = version

    for kind in KINDS:
        life.watch(kind, len(life.world.said[kind]))

    assert_same(life.cache, life.world)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.one_of(changes, changes, watches, repeats), max_size=40))
def test_after_a_full_list_of_each_kind_it_is_what_the_cluster_is_whatever_a_watch_has_lost(
    steps: list[tuple[Any, ...]],
) -> None:
    life = Life()
    for what, *details in steps:
        getattr(life, what)(*details)

    for kind in KINDS:
        life.list(kind, 0)
    assert_same(life.cache, life.world)

    for kind in KINDS:
        life.watch(kind, len(life.world.said[kind]))
    assert_same(life.cache, life.world)


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.one_of(changes, changes, watches, lists, repeats), max_size=40), late=st.data())
def test_what_a_full_list_has_settled_no_late_event_unsettles(
    steps: list[tuple[Any, ...]], late: st.DataObject
) -> None:
    life = Life()
    for what, *details in steps:
        getattr(life, what)(*details)
    for kind in KINDS:
        life.list(kind, 0)

    for _ in range(10):
        life.repeat(late.draw(st.sampled_from(KINDS)), late.draw(st.integers(0, 50)))
        assert_same(life.cache, life.world)
