"""Testers pass by the page: the route beside the target says what the target says, and demands one thing more."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jsonpatch
import pytest
from pydantic import ValidationError

from unit.domain.maintenance_ingress import ingress, path, rule, service
from unit.domain.maintenance_routes import Item, http_route, http_rule, ingress_route, reference, traefik_rule
from upkeep.api.window import Bypass, MaintenanceMode
from upkeep.domain.identity import Identity
from upkeep.domain.maintenance import Companion, Holder, Refusal, bypass, is_companion, outlived, swap
from upkeep.resources.companion import companion_object

HEADER: Final = Bypass.model_validate({"header": {"name": "X-Preview", "value": "let-me-in-7f3a"}})
COOKIE: Final = Bypass.model_validate({"cookie": {"name": "preview", "value": "a.b+c$d/e-7f3a"}})
DEMAND: Final = {"type": "Exact", "name": "X-Preview", "value": "let-me-in-7f3a"}
UNTIL: Final = datetime(2026, 3, 2, 3, tzinfo=UTC)
PAGE: Final = Holder(uid="uid-night", window="night", until=UNTIL, service="page", port=80)
WINDOW: Final = Identity(kind="MaintenanceWindow", namespace="shop", name="night", uid="uid-night")


def beside(item: Item, passing: Bypass = HEADER) -> Companion:
    made = bypass(item, passing)
    assert isinstance(made, Companion), made
    return made


def on_page(item: Item) -> Item:
    answer = swap(item, PAGE)
    assert isinstance(answer, list)
    swapped: Item = jsonpatch.apply_patch(item, answer)
    return swapped


def shop() -> Item:
    redirect = http_rule("/old", filters=[{"type": "RequestRedirect", "requestRedirect": {"hostname": "new"}}])
    two = {"matches": [{"path": {"type": "Exact", "value": "/a"}, "method": "GET"}, {"headers": [{"name": "b"}]}]}
    return http_route(
        redirect, http_rule("/", reference("web", weight=90), reference("canary", weight=10)),
        {**two, "backendRefs": [reference("api", 8080, namespace="shared")], "timeouts": {"request": "5s"}},
    )  # fmt: skip


def traefik_shop() -> Item:
    first = traefik_rule("Host(`a`) || Host(`b`)", {"name": "web", "port": 80, "scheme": "h2c"})
    return ingress_route(
        {**first, "middlewares": [{"name": "compress"}]},
        {**traefik_rule("Host(`c`)", {"name": "api", "port": "http"}), "priority": 500, "syntax": "v2"},
    )


def test_each_match_of_an_http_route_demands_the_header_besides_and_the_rest_is_as_it_was() -> None:
    made = beside(shop())

    plain, several = made.spec["rules"]
    assert plain["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}, "headers": [DEMAND]}]
    assert plain["backendRefs"] == [reference("web", weight=90), reference("canary", weight=10)]
    assert several["matches"] == [
        {"path": {"type": "Exact", "value": "/a"}, "method": "GET", "headers": [DEMAND]},
        {"headers": [{"name": "b"}, DEMAND]},
    ]
    assert several["timeouts"] == {"request": "5s"}
    assert {key: value for key, value in made.spec.items() if key != "rules"} == {
        "parentRefs": [{"name": "public"}], "hostnames": ["shop.example.com"],
    }  # fmt: skip


def test_a_rule_that_does_not_say_what_it_matches_matches_everything() -> None:
    made = beside(http_route({"backendRefs": [reference("web")]}))

    (only,) = made.spec["rules"]
    assert only["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}, "headers": [DEMAND]}]


def test_rules_of_an_ingress_route_demand_it_besides_and_come_first() -> None:
    made = beside(traefik_shop())

    first, second = made.spec["routes"]
    assert first["match"] == "(Host(`a`) || Host(`b`)) && Header(`X-Preview`, `let-me-in-7f3a`)"
    assert first["priority"] > len("Host(`a`) || Host(`b`)")
    assert (first["services"], first["middlewares"]) == (
        [{"name": "web", "port": 80, "scheme": "h2c"}],
        [{"name": "compress"}],
    )
    assert second["match"] == "(Host(`c`)) && Headers(`X-Preview`, `let-me-in-7f3a`)"
    assert second["priority"] > 500


@pytest.mark.parametrize("make", [shop, traefik_shop])
def test_a_target_that_is_on_the_page_has_the_same_route_beside_it_as_before(make: Any) -> None:  # noqa: ANN401
    assert beside(on_page(make())).spec == beside(make()).spec


def test_what_somebody_has_set_meanwhile_is_where_testers_go() -> None:
    item = on_page(shop())
    item["spec"]["rules"][1]["backendRefs"] = [reference("new")]

    made = beside(item)

    assert [each["backendRefs"][0]["name"] for each in made.spec["rules"]] == ["new", "api"]


def test_a_copy_of_what_leads_to_the_page_is_not_copied_for_testers() -> None:
    item = on_page(http_route(http_rule("/", reference("web"))))
    item["spec"]["rules"].append({**item["spec"]["rules"][0], "matches": [{"method": "GET"}]})

    made = beside(item)

    assert [each["backendRefs"][0]["name"] for each in made.spec["rules"]] == ["web"]


@pytest.mark.parametrize(
    ("sent", "passes"),
    [
        ("preview=a.b+c$d/e-7f3a", True),
        ("theme=dark; preview=a.b+c$d/e-7f3a; lang=de", True),
        ("theme=dark;preview=a.b+c$d/e-7f3a", True),
        ("preview=a.b+c$d/e-7f3ax", False),
        ("xpreview=a.b+c$d/e-7f3a", False),
        ("theme=preview=a.b+c$d/e-7f3a", False),
        ("preview=aXb+c$d/e-7f3a", False),
    ],
)
def test_a_cookie_is_found_among_others_and_only_as_a_whole(sent: str, *, passes: bool) -> None:
    (only,) = beside(http_route(http_rule("/", reference("web"))), COOKIE).spec["rules"]
    (header,) = only["matches"][0]["headers"]

    assert (header["type"], header["name"]) == ("RegularExpression", "Cookie")
    for match in (re.search, re.fullmatch):
        assert bool(match(header["value"], sent)) is passes


def test_traefik_is_asked_for_a_cookie_by_a_regular_expression_too() -> None:
    made = beside(traefik_shop(), COOKIE)

    assert "&& HeaderRegexp(`Cookie`, `^(.*; *)?preview=" in made.spec["routes"][0]["match"]
    assert "&& HeadersRegexp(`Cookie`, `" in made.spec["routes"][1]["match"]


def test_only_the_class_of_a_targets_controller_goes_with_it() -> None:
    notes = {"kubernetes.io/ingress.class": "inner", "argocd.argoproj.io/tracking-id": "shop"}
    item = ingress_route(traefik_rule("Host(`a`)", {"name": "web", "port": 80}), annotations=notes)

    assert beside(item).annotations == {"kubernetes.io/ingress.class": "inner"}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (ingress(rule("shop.example.com", path("/", service("web")))), "BypassUnsupported"),
        (
            http_route({"matches": [{"headers": [{"name": "x-preview", "value": "1"}]}],
                        "backendRefs": [reference("web")]}),
            "BypassHeaderTaken",
        ),
        (
            http_route({"matches": [{"headers": [{"name": f"h{n}", "value": "1"} for n in range(16)]}],
                        "backendRefs": [reference("web")]}),
            "BypassHeaderTaken",
        ),
        (http_route(http_rule("/", reference("web")), annotations={"upkeep.dev/undo": "{"}), "UndoRecordUnreadable"),
        (http_route(http_rule("/", reference("web")), labels={"upkeep.dev/maintenance-mode": "on"}),
         "UndoRecordMissing"),
    ],
)  # fmt: skip
def test_where_nobody_can_be_told_from_users_it_says_why(item: Item, reason: str) -> None:
    answer = bypass(item, HEADER)

    assert isinstance(answer, Refusal)
    assert answer.reason == reason


def test_where_nothing_leads_to_an_application_there_is_nothing_to_pass_to() -> None:
    challenge = http_rule("/.well-known/acme-challenge/token", reference("solver"))

    assert bypass(http_route(challenge), HEADER) is None


def made_for(item: Item) -> Item:
    return companion_object(WINDOW, beside(item), UNTIL) | {"kind": item["kind"]}


def test_it_belongs_to_its_window_and_has_nothing_by_which_others_take_it_for_theirs() -> None:
    made = made_for(http_route(http_rule("/", reference("web")), labels={"app.kubernetes.io/instance": "shop"}))

    assert is_companion(made)
    assert is_companion(made, of="uid-night")
    assert not is_companion(made, of="uid-other")
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-night"
    assert "app.kubernetes.io/instance" not in made["metadata"]["labels"]
    assert len(made["metadata"]["name"]) <= 63


def test_labels_that_somebody_copied_make_no_route_of_ours() -> None:
    made = made_for(shop())
    del made["metadata"]["ownerReferences"]

    assert not is_companion(made)


def test_it_is_brought_up_to_date_when_the_target_or_the_end_changes_and_else_left_alone() -> None:
    made = made_for(shop())
    made["metadata"]["resourceVersion"] = "7"
    made["spec"]["rules"][0]["name"] = "filled in by the API server"
    assert beside(shop()).refreshed(made, WINDOW, UNTIL) is None
    later = UNTIL + timedelta(hours=1)

    for wanted, end in ((beside(shop()), later), (beside(shop(), COOKIE), UNTIL)):
        patch = wanted.refreshed(made, WINDOW, end)
        assert patch is not None
        after = jsonpatch.apply_patch(made, patch)
        assert after["spec"] == wanted.spec
        assert wanted.refreshed(after, WINDOW, end) is None


@pytest.mark.parametrize(
    ("now", "live", "note", "left"),
    [
        (UNTIL, {"uid-night"}, None, False),
        (UNTIL + timedelta(minutes=2), {"uid-night"}, None, True),
        (UNTIL, set(), None, True),
        (UNTIL, {"uid-night"}, "soon", True),
    ],
)
def test_it_does_not_outlive_its_window(now: datetime, live: set[str], note: str | None, *, left: bool) -> None:
    made = made_for(shop())
    if note:
        made["metadata"]["annotations"]["upkeep.dev/maintenance-until"] = note

    assert outlived(made, now=now, live=live, grace=timedelta(minutes=1)) is left


@pytest.mark.parametrize(
    "passing",
    [
        {},
        {"header": {"name": "X-Preview", "value": "let-me-in"}, "cookie": {"name": "preview", "value": "let-me-in"}},
        {"header": {"name": "X-Preview", "value": "short"}},
        {"header": {"name": "X Preview", "value": "let-me-in"}},
        {"header": {"name": "Cookie", "value": "let-me-in"}},
        {"header": {"name": "X-Preview", "value": "`) || Path(`/"}},
        {"cookie": {"name": "preview", "value": "let me in"}},
        {"cookie": {"name": "preview", "value": "let-me;in"}},
        {"cookie": {"name": "pre`view", "value": "let-me-in"}},
    ],
)
def test_what_could_mean_something_else_is_refused(passing: object) -> None:
    with pytest.raises(ValidationError):
        Bypass.model_validate(passing)


@pytest.mark.parametrize(
    "mode",
    [
        {"targets": [{"name": "shop"}]},
        {"targets": [{"kind": "HTTPRoute", "name": "a"}], "strategy": "Annotations", "annotations": {"a.b/c": "d"}},
    ],
)
def test_where_there_is_no_page_or_no_way_past_it_the_spec_is_refused(mode: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="leave out bypass"):
        MaintenanceMode.model_validate({**mode, "bypass": HEADER.model_dump(exclude_none=True)})
