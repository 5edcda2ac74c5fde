"""Windows that come, stay longer and go, while people edit the Ingress: in the end it is what they made of it.

Beside the Ingress lives its twin, which only the people touch. Whatever happens in between, once the last window has
let go, both must be the same, and at no time may anything lead to the page of a window that is gone.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant
from hypothesis.stateful import rule as step

from unit.domain.maintenance_ingress import (
    FREEZE,
    SUNDAY,
    Backend,
    Ingress,
    backends,
    ingress,
    page_of,
    path,
    paths_of,
    rule,
    service,
    touched,
    written,
)
from upkeep.domain.maintenance import Holder, holders, release, semantically_equal, swap

WINDOWS = (SUNDAY, FREEZE)
PAGES = [page_of(holder) for holder in WINDOWS]
HOSTS = ("", "shop.example.com", "*.example.com")
BUCKET: Backend = {"resource": {"apiGroup": "storage.example.com", "kind": "Bucket", "name": "assets"}}

some_backend = st.sampled_from([service("web"), service("api", "http"), service("files", 8080), BUCKET])
some_path = st.sampled_from(["/", "/api", "/a/b", "/~x", "/.well-known/acme-challenge/t"])
some_type = st.sampled_from(["Prefix", "Exact", "ImplementationSpecific"])
some_field = st.sampled_from(["labels", "annotations"])
some_key = st.sampled_from(["team", "example.com/owner", "a~b"])


@st.composite
def ingresses(draw: st.DrawFn) -> Ingress:
    """Ingresses of every shape that has something to swap; a host, path and type stand there at most once."""
    places = draw(
        st.lists(st.tuples(st.sampled_from(HOSTS), some_path, some_type), min_size=1, max_size=6, unique=True)
    )
    rules = [
        rule(host, *(path(at, draw(some_backend), kind) for of, at, kind in places if of == host))
        for host in draw(st.permutations(sorted({host for host, _, _ in places})))
    ]
    entries = st.dictionaries(some_key, st.just("x"), max_size=2)
    # A default backend makes sure that there is something besides challenges of certificate authorities.
    return ingress(*rules, default=draw(some_backend), labels=draw(entries), annotations=draw(entries))


Change = Callable[[Ingress], object]


def insert_rule(data: st.DataObject, twin: Ingress) -> Change:
    position = data.draw(st.integers(min_value=0, max_value=len(twin["spec"]["rules"])))
    new = rule(f"{twin['metadata']['resourceVersion']}.example.com", path("/", data.draw(some_backend)))
    return lambda item: item["spec"]["rules"].insert(position, copy.deepcopy(new))


def insert_path(data: st.DataObject, twin: Ingress) -> Change:
    position = data.draw(st.integers(min_value=0, max_value=3))
    new = path(f"/new/{twin['metadata']['resourceVersion']}", data.draw(some_backend))
    return in_some_rule(data, twin, lambda entry: paths_of(entry).insert(position, copy.deepcopy(new)))


def change_backend(data: st.DataObject, twin: Ingress) -> Change:
    backend, at = data.draw(some_backend), data.draw(st.integers(min_value=0, max_value=9))

    def change(entry: dict[str, Any]) -> None:
        found = paths_of(entry)
        found[at % len(found)]["backend"] = copy.deepcopy(backend)

    return in_some_rule(data, twin, change)


def in_some_rule(data: st.DataObject, twin: Ingress, change: Callable[[dict[str, Any]], object]) -> Change:
    number = data.draw(st.integers(min_value=0, max_value=max(0, len(twin["spec"]["rules"]) - 1)))
    return lambda item: [change(entry) for entry in item["spec"]["rules"][number : number + 1]]


def remove_rule(data: st.DataObject, twin: Ingress) -> Change:
    number = data.draw(st.integers(min_value=0, max_value=max(0, len(twin["spec"]["rules"]) - 1)))
    return lambda item: item["spec"]["rules"].__delitem__(slice(number, number + 1))


def reorder_rules(data: st.DataObject, twin: Ingress) -> Change:
    order = data.draw(st.permutations(range(len(twin["spec"]["rules"]))))
    return lambda item: item["spec"].update(rules=[item["spec"]["rules"][number] for number in order])


def set_default_backend(data: st.DataObject, _: Ingress) -> Change:
    backend = data.draw(some_backend)
    return lambda item: item["spec"].update(defaultBackend=copy.deepcopy(backend))


def remove_default_backend(_data: st.DataObject, _: Ingress) -> Change:
    return lambda item: item["spec"].pop("defaultBackend", None)


def set_metadata(data: st.DataObject, _: Ingress) -> Change:
    field, key, value = data.draw(some_field), data.draw(some_key), data.draw(st.sampled_from(["x", "y"]))
    return lambda item: item["metadata"].setdefault(field, {}).update({key: value})


def remove_metadata(data: st.DataObject, _: Ingress) -> Change:
    field, key = data.draw(some_field), data.draw(some_key)
    return lambda item: item["metadata"].get(field, {}).pop(key, None)


EDITS = (
    insert_rule,
    insert_path,
    change_backend,
    remove_rule,
    reorder_rules,
    set_default_backend,
    remove_default_backend,
    set_metadata,
    remove_metadata,
)


class Interleavings(RuleBasedStateMachine):
    """One Ingress, its twin, two windows, and people."""

    @initialize(item=ingresses())
    def begin(self, item: Ingress) -> None:
        self.item = item
        self.twin = copy.deepcopy(item)
        self.ends = {holder.uid: holder for holder in WINDOWS}

    # The windows.

    @step(window=st.sampled_from(WINDOWS))
    def enter(self, window: Holder) -> None:
        answer = swap(self.item, self.ends[window.uid])
        if isinstance(answer, list):
            self.item = written(self.item, answer)
        assert window.uid in {holder.uid for holder in holders(self.item)} or not self.swappable()
        assert not isinstance(swap(self.item, self.ends[window.uid]), list), "the second time there is nothing to do"

    @step(window=st.sampled_from(WINDOWS), minutes=st.integers(min_value=-30, max_value=30))
    def move_end(self, window: Holder, minutes: int) -> None:
        held = self.ends[window.uid]
        self.ends[window.uid] = replace(held, until=held.until + timedelta(minutes=minutes))

    @step(window=st.sampled_from(WINDOWS))
    def leave(self, window: Holder) -> None:
        answer = release(self.item, window.uid)
        if answer.patch is not None:
            self.item = written(self.item, answer.patch)
        assert answer.restored == (answer.patch is not None and not holders(self.item))
        self.nothing_leads_to_the_page_of_a_window_that_is_gone()

    # The people: whatever they do to the Ingress, they do to the twin.

    @step(data=st.data())
    def somebody_edits(self, data: st.DataObject) -> None:
        change = data.draw(st.sampled_from(EDITS))(data, self.twin)
        self.item, self.twin = touched(self.item), touched(self.twin)
        change(self.item)
        change(self.twin)

    def swappable(self) -> bool:
        places = [found for entry in self.item["spec"]["rules"] for found in paths_of(entry)]
        return "defaultBackend" in self.item["spec"] or any(
            not found["path"].startswith("/.well-known/acme-challenge") for found in places
        )

    @invariant()
    def nothing_leads_to_the_page_of_a_window_that_is_gone(self) -> None:
        held = {holder.service for holder in holders(self.item)}
        shown = {page["service"]["name"] for page in PAGES if page in backends(self.item)}
        assert shown <= held

    @invariant()
    def without_windows_it_is_what_people_made_of_it(self) -> None:
        if not holders(self.item):
            assert semantically_equal(self.twin, self.item)

    def teardown(self) -> None:
        if hasattr(self, "item"):
            for window in WINDOWS:
                self.leave(window)
            assert holders(self.item) == ()
            assert semantically_equal(self.twin, self.item)


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


@given(item=ingresses(), order=st.permutations(WINDOWS))
@settings(deadline=None)
def test_windows_leave_no_trace_in_whatever_order_they_go(item: Ingress, order: list[Holder]) -> None:
    held = item
    for holder in WINDOWS:
        patch = swap(held, holder)
        assert isinstance(patch, list)
        held = written(held, patch)
    for holder in order:
        answer = release(held, holder.uid)
        assert answer.conflicts == ()
        held = written(held, answer.patch or [])

    assert semantically_equal(item, held)


@given(item=ingresses(), data=st.data())
@settings(deadline=None)
def test_places_renamed_meanwhile_lead_where_they_led(item: Ingress, data: st.DataObject) -> None:
    patch = swap(item, SUNDAY)
    assert isinstance(patch, list)
    held, twin = written(item, patch), copy.deepcopy(item)
    for number, entry in enumerate(twin["spec"]["rules"]):
        for at, found in enumerate(paths_of(entry)):
            if not found["path"].startswith("/.well-known") and data.draw(st.booleans()):
                for edited in (held, twin):
                    paths_of(edited["spec"]["rules"][number])[at]["path"] = f"/renamed/{number}/{at}"

    answer = release(touched(held), SUNDAY.uid)

    assert answer.conflicts == ()
    assert semantically_equal(twin, written(touched(held), answer.patch or []))
