"""Maintenance mode of every kind: what holds for an Ingress holds for a route, and a route has its own ways."""

import copy
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant
from hypothesis.stateful import rule as step
from pydantic import ValidationError

from unit.domain.maintenance_ingress import FREEZE, SUNDAY, touched, written
from unit.domain.maintenance_routes import (
    SHAPES,
    Item,
    Shape,
    http_route,
    http_rule,
    ingress_route,
    reference,
    traefik_rule,
)
from upkeep.api.window import MaintenanceMode
from upkeep.domain.maintenance import MODE_LABEL, Holder, Refusal, holders, release, semantically_equal, swap

WINDOWS: Final = (SUNDAY, FREEZE)
ACME: Final = "/.well-known/acme-challenge/token"
some_path = st.sampled_from(["/", "/api", "/a/b", ACME])


def held(item: Item, *who: Holder) -> Item:
    for holder in who:
        answer = swap(item, holder)
        assert isinstance(answer, list), answer
        item = written(item, answer)
    return item


def annotated(item: Item, annotations: dict[str, str], holder: Holder) -> Item:
    answer = swap(item, holder, annotations)
    assert isinstance(answer, list), answer
    return written(item, answer)


def let_go(item: Item, *who: Holder) -> tuple[Item, tuple[str, ...]]:
    answer = release(item, *(holder.uid for holder in who))
    return written(item, answer.patch or []), answer.conflicts


@pytest.fixture(params=list(SHAPES.values()), ids=list(SHAPES))
def shape(request: pytest.FixtureRequest) -> Shape:
    found: Shape = request.param
    return found


@st.composite
def items(draw: st.DrawFn, shape: Shape) -> Item:
    """Of a kind, with at least one place that a page can replace."""
    paths = ["/always", *draw(st.lists(some_path, max_size=4, unique=True))]
    entries = [
        shape.entry(at, copy.deepcopy(draw(st.sampled_from(shape.choices)))) for at in draw(st.permutations(paths))
    ]
    labels = draw(st.dictionaries(st.sampled_from(["team", "a~b/c"]), st.just("x"), max_size=2))
    return shape.item(*entries, **({"labels": labels} if labels else {}))


def test_every_place_leads_to_the_page_and_back(shape: Shape) -> None:
    before = shape.item(*(shape.entry(f"/{number}", choice) for number, choice in enumerate(shape.choices)))

    swapped = held(before, SUNDAY)
    after, conflicts = let_go(swapped, SUNDAY)

    assert shape.backends(swapped) == [shape.page(SUNDAY)] * len(shape.choices)
    assert conflicts == ()
    assert semantically_equal(before, after)


def test_certificates_can_be_renewed_meanwhile(shape: Shape) -> None:
    before = shape.item(shape.entry(ACME, shape.choices[0]), shape.entry("/", shape.choices[1]))

    assert shape.backends(held(before, SUNDAY)) == [shape.choices[0], shape.page(SUNDAY)]


def test_what_only_serves_challenges_is_refused(shape: Shape) -> None:
    answer = swap(shape.item(shape.entry(ACME, shape.choices[0])), SUNDAY)

    assert isinstance(answer, Refusal)
    assert answer.reason == "NoBackend"
    assert f"{shape.kind} shop/shop" in answer.message


def test_somebody_elses_backend_is_left_and_reported(shape: Shape) -> None:
    swapped = held(shape.item(shape.entry("/", shape.choices[0]), shape.entry("/api", shape.choices[0])), SUNDAY)
    shape.entries(swapped)[1][shape.backend] = shape.choices[1]

    after, conflicts = let_go(touched(swapped), SUNDAY)

    assert shape.backends(after) == [shape.choices[0], shape.choices[1]]
    assert len(conflicts) == 1
    assert "before: " in conflicts[0]


def test_the_page_of_the_window_that_stays_takes_over(shape: Shape) -> None:
    swapped = held(shape.item(shape.entry("/", shape.choices[0])), SUNDAY, FREEZE)

    after, _ = let_go(swapped, SUNDAY)

    assert shape.backends(after) == [shape.page(FREEZE)]
    assert [holder.uid for holder in holders(after)] == [FREEZE.uid]


def test_a_record_that_leads_nowhere_is_refused_not_followed(shape: Shape) -> None:
    swapped = held(shape.item(shape.entry("/", shape.choices[0])), SUNDAY)
    record = swapped["metadata"]["annotations"]["upkeep.dev/undo"]
    broken = record[: record.rindex('"original":')] + '"original":[]}]}'
    swapped["metadata"]["annotations"]["upkeep.dev/undo"] = broken

    answer = release(swapped, SUNDAY.uid)

    assert answer.patch is None
    assert "cannot be read" in answer.conflicts[0]


class TestAnnotations:
    """By the strategy Annotations nothing is swapped: what is set comes off again, or goes back to what it was."""

    SET: Final = {"example.com/mode": "maintenance", "example.com/rate": "0"}

    def test_they_are_set_and_the_backends_stay(self, shape: Shape) -> None:
        before = shape.item(shape.entry("/", shape.choices[0]), annotations={"example.com/rate": "100"})

        after = annotated(before, self.SET, SUNDAY)

        assert self.SET.items() <= after["metadata"]["annotations"].items()
        assert after["metadata"]["labels"] == {MODE_LABEL: "on"}
        assert after["spec"] == before["spec"]
        assert swap(after, SUNDAY, self.SET) is None

    @pytest.mark.parametrize("annotations", [{}, {"example.com/rate": "100"}, {"team": "shop"}])
    def test_afterwards_they_are_what_they_were(self, shape: Shape, annotations: dict[str, str]) -> None:
        before = shape.item(shape.entry("/", shape.choices[0]), **({"annotations": annotations} if annotations else {}))

        after, conflicts = let_go(annotated(before, self.SET, SUNDAY), SUNDAY)

        assert conflicts == ()
        assert semantically_equal(before, after)

    def test_what_somebody_sets_meanwhile_is_left_and_reported(self, shape: Shape) -> None:
        swapped = annotated(shape.item(shape.entry("/", shape.choices[0])), self.SET, SUNDAY)
        swapped["metadata"]["annotations"]["example.com/rate"] = "7"

        after, conflicts = let_go(touched(swapped), SUNDAY)

        assert after["metadata"]["annotations"] == {"example.com/rate": "7"}
        assert len(conflicts) == 1
        assert "the annotation example.com/rate is '7' now" in conflicts[0]

    def test_what_somebody_removes_meanwhile_stays_removed(self, shape: Shape) -> None:
        before = shape.item(shape.entry("/", shape.choices[0]))
        swapped = annotated(before, self.SET, SUNDAY)
        del swapped["metadata"]["annotations"]["example.com/rate"]

        after, conflicts = let_go(touched(swapped), SUNDAY)

        assert conflicts == ()
        assert semantically_equal(before, after)

    @pytest.mark.parametrize("order", [WINDOWS, WINDOWS[::-1]])
    @pytest.mark.parametrize("first", ["swap", "annotations"])
    def test_windows_of_both_strategies_leave_no_trace(
        self, shape: Shape, order: tuple[Holder, ...], first: str
    ) -> None:
        before = shape.item(shape.entry("/", shape.choices[0]), shape.entry("/api", shape.choices[1]))
        if first == "swap":
            item = annotated(held(before, SUNDAY), self.SET, FREEZE)
        else:
            item = held(annotated(before, self.SET, FREEZE), SUNDAY)

        assert set(map(str, shape.backends(item))) == {str(shape.page(SUNDAY))}
        assert self.SET.items() <= item["metadata"]["annotations"].items()

        for window in order:
            item, conflicts = let_go(item, window)
            assert conflicts == ()
        assert semantically_equal(before, item)

    def test_a_target_whose_backends_could_not_be_swapped_can_be_annotated(self) -> None:
        redirect = http_route(http_rule("/", filters=[{"type": "RequestRedirect"}]))

        assert semantically_equal(redirect, let_go(annotated(redirect, self.SET, SUNDAY), SUNDAY)[0])

    @pytest.mark.parametrize(
        "mode",
        [
            {"strategy": "Annotations"},
            {"annotations": {"a": "b"}},
            {"strategy": "Annotations", "annotations": {"nginx.ingress.kubernetes.io/server-snippet": "return 503;"}},
            {"strategy": "Annotations", "annotations": {"upkeep.dev/undo": "{}"}},
        ],
    )
    def test_what_makes_no_sense_or_would_be_a_way_in_is_refused(self, mode: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            MaintenanceMode.model_validate({"targets": [{"name": "shop"}], **mode})


class TestHttpRoute:
    def test_a_rule_that_answers_by_itself_stays_as_it_is(self) -> None:
        redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
        before = http_route(http_rule("/old", filters=[redirect]), http_rule("/", reference("web")))

        after = held(before, SUNDAY)

        assert after["spec"]["rules"][0] == before["spec"]["rules"][0]
        assert after["spec"]["rules"][1]["backendRefs"] == [reference(SUNDAY.service)]

    def test_one_that_only_redirects_is_refused(self) -> None:
        answer = swap(http_route(http_rule("/", filters=[{"type": "RequestRedirect"}])), SUNDAY)

        assert isinstance(answer, Refusal)
        assert answer.reason == "NoBackend"

    def test_filters_of_a_rule_stay_and_those_of_a_backend_go_and_come_with_it(self) -> None:
        header = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": "y"}]}}
        before = http_route(http_rule("/", reference("web", filters=[header]), filters=[header]))

        swapped = held(before, SUNDAY)

        assert swapped["spec"]["rules"][0]["filters"] == [header]
        assert swapped["spec"]["rules"][0]["backendRefs"] == [reference(SUNDAY.service)]
        assert semantically_equal(before, let_go(swapped, SUNDAY)[0])

    def test_a_rule_is_found_again_by_all_that_it_matches_wherever_it_stands(self) -> None:
        headers = [{"type": "Exact", "name": "version", "value": "2"}]
        second = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}, "headers": headers}]}
        before = http_route(http_rule("/", reference("v1")), {**second, "backendRefs": [reference("v2")]})
        swapped = held(before, SUNDAY)
        swapped["spec"]["rules"].reverse()

        after, conflicts = let_go(touched(swapped), SUNDAY)

        assert conflicts == ()
        assert [rule["backendRefs"][0]["name"] for rule in after["spec"]["rules"]] == ["v2", "v1"]

    def test_a_rule_that_also_serves_challenges_is_swapped_whole(self) -> None:
        matches = [{"path": {"type": "PathPrefix", "value": value}} for value in ("/", ACME)]
        before = http_route({"matches": matches, "backendRefs": [reference("web")]})

        assert held(before, SUNDAY)["spec"]["rules"][0]["backendRefs"] == [reference(SUNDAY.service)]


class TestIngressRoute:
    @pytest.mark.parametrize(
        "match",
        [
            f"Host(`a`) && !PathPrefix(`{ACME}`)",
            f"PathPrefix(`{ACME}`) || PathPrefix(`/`)",
            "Path(`/.well-known/other`)",
        ],
    )
    def test_what_does_not_only_serve_challenges_is_swapped(self, match: str) -> None:
        after = held(ingress_route(traefik_rule(match, {"name": "web", "port": 80})), SUNDAY)

        assert after["spec"]["routes"][0]["services"][0]["name"] == SUNDAY.service

    def test_what_is_said_of_a_backend_goes_and_comes_with_it(self) -> None:
        secure = {
            "name": "web",
            "port": 443,
            "scheme": "https",
            "serversTransport": "internal",
            "sticky": {"cookie": {}},
        }
        before = ingress_route({**traefik_rule("Host(`a`)", secure), "priority": 7, "middlewares": [{"name": "auth"}]})

        swapped = held(before, SUNDAY)

        assert swapped["spec"]["routes"][0]["services"] == [{"kind": "Service", "name": SUNDAY.service, "port": 80}]
        assert swapped["spec"]["routes"][0]["middlewares"] == [{"name": "auth"}]
        assert semantically_equal(before, let_go(swapped, SUNDAY)[0])


class Interleavings(RuleBasedStateMachine):
    """One object, its twin that only people touch, and two windows; in the end both are the same."""

    shape: Shape

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.item = data.draw(items(self.shape))
        self.twin = copy.deepcopy(self.item)

    @step(window=st.sampled_from(WINDOWS))
    def enter(self, window: Holder) -> None:
        answer = swap(self.item, window)
        if isinstance(answer, list):
            self.item = written(self.item, answer)
        assert not isinstance(swap(self.item, window), list), "the second time there is nothing to do"

    @step(window=st.sampled_from(WINDOWS))
    def leave(self, window: Holder) -> None:
        self.item, _ = let_go(self.item, window)

    @step(data=st.data())
    def somebody_inserts(self, data: st.DataObject) -> None:
        version, backend = self.twin["metadata"]["resourceVersion"], data.draw(st.sampled_from(self.shape.choices))
        at = data.draw(st.integers(min_value=0, max_value=3))
        entry = self.shape.entry(f"/new/{version}", backend)
        self.everywhere(lambda item: self.shape.entries(item).insert(at, copy.deepcopy(entry)))

    @step(data=st.data())
    def somebody_changes_a_backend(self, data: st.DataObject) -> None:
        backend, at = data.draw(st.sampled_from(self.shape.choices)), data.draw(st.integers(0, 9))

        def change(item: Item) -> None:
            entries = self.shape.entries(item)
            entries[at % len(entries)][self.shape.backend] = copy.deepcopy(backend)

        self.everywhere(change)

    @step(order=st.randoms(use_true_random=False))
    def somebody_reorders(self, order: Any) -> None:  # noqa: ANN401 - Hypothesis' own type
        places = list(range(len(self.shape.entries(self.twin))))
        order.shuffle(places)

        def change(item: Item) -> None:
            entries = self.shape.entries(item)
            entries[:] = [entries[place] for place in places]

        self.everywhere(change)

    @step(at=st.integers(0, 9))
    def somebody_removes(self, at: int) -> None:
        if len(self.shape.entries(self.twin)) > 1:
            self.everywhere(lambda item: self.shape.entries(item).pop(at % len(self.shape.entries(item))))

    def everywhere(self, change: Callable[[Item], object]) -> None:
        self.item, self.twin = touched(self.item), touched(self.twin)
        change(self.item)
        change(self.twin)

    @invariant()
    def nothing_leads_to_the_page_of_a_window_that_is_gone(self) -> None:
        here = {holder.uid for holder in holders(self.item)}
        gone = [self.shape.page(window) for window in WINDOWS if window.uid not in here]
        assert not [backend for backend in self.shape.backends(self.item) if backend in gone]

    @invariant()
    def without_windows_it_is_what_people_made_of_it(self) -> None:
        if not holders(self.item):
            assert semantically_equal(self.twin, self.item)

    def teardown(self) -> None:
        if hasattr(self, "item"):
            for window in WINDOWS:
                self.leave(window)
            assert semantically_equal(self.twin, self.item)


class HttpRouteInterleavings(Interleavings):
    shape = SHAPES["HTTPRoute"]


class IngressRouteInterleavings(Interleavings):
    shape = SHAPES["IngressRoute"]


TestHttpRouteInterleavings = HttpRouteInterleavings.TestCase
TestIngressRouteInterleavings = IngressRouteInterleavings.TestCase
for _case in (TestHttpRouteInterleavings, TestIngressRouteInterleavings):
    _case.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize("kind", SHAPES)
@given(data=st.data(), order=st.permutations(WINDOWS))
@settings(max_examples=40, deadline=None)
def test_windows_leave_no_trace_in_whatever_order_they_go(kind: str, data: st.DataObject, order: list[Holder]) -> None:
    before = data.draw(items(SHAPES[kind]))
    item = held(before, *WINDOWS)

    for window in order:
        item, conflicts = let_go(item, window)
        assert conflicts == ()

    assert semantically_equal(before, item)
