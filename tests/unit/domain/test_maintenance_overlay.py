"""A page over a target: it comes just before the rules that it covers, and the target is not touched."""

from typing import Any, Final

import pytest
from pydantic import ValidationError

from unit.domain.maintenance_ingress import ingress, path, rule, service
from unit.domain.maintenance_routes import Item, http_route, http_rule, ingress_route, reference, traefik_rule
from upkeep.api.window import Bypass, MaintenanceMode
from upkeep.domain.maintenance import Companion, Refusal, bypass, overlays

CLASSES: Final = {"traefik": "traefik.io/ingress-controller", "contour": "projectcontour.io/ingress-controller"}
PRIORITY: Final = "traefik.ingress.kubernetes.io/router.priority"
ACME: Final = "/.well-known/acme-challenge/token"
HOST: Final = "shop.example.com"


def over(item: Item) -> tuple[Companion, ...]:
    made = overlays(item, "page", 80, CLASSES)
    assert isinstance(made, tuple), made
    return made


def of_traefik(*rules: Any, **metadata: Any) -> Item:  # noqa: ANN401 - rules; labels, annotations
    made: Item = ingress(*rules, **metadata)
    made["spec"]["ingressClassName"] = "traefik"
    return made


def priorities(item: Item) -> dict[str, int]:
    """Of each path that is covered, the priority of what covers it."""
    return {
        each["path"]: int(made.annotations[PRIORITY])
        for made in over(item)
        for found in made.spec["rules"]
        for each in found["http"]["paths"]
    }


def test_over_an_ingress_route_each_rule_comes_just_before_its_own_and_leads_to_the_page() -> None:
    stated = {**traefik_rule("Host(`b`)", {"name": "api", "port": 80}), "priority": 500}
    item = ingress_route(
        {**traefik_rule("Host(`a`)", {"name": "web", "port": 80}), "middlewares": [{"name": "m"}]}, stated
    )

    (made,) = over(item)

    first, second = made.spec["routes"]
    assert first["match"] == "(Host(`a`)) && !PathPrefix(`/.well-known/acme-challenge/`)"
    assert (first["priority"], second["priority"]) == (len("Host(`a`)") + 1, 501)
    assert first["middlewares"] == [{"name": "m"}]
    assert first["services"] == second["services"] == [{"kind": "Service", "name": "page", "port": 80}]
    assert made.spec["entryPoints"] == ["web"]


def test_rules_of_an_ingress_route_that_serve_challenges_or_answer_by_themselves_are_not_covered() -> None:
    item = ingress_route(
        traefik_rule("Host(`a`)", {"name": "web", "port": 80}),
        traefik_rule("Host(`a`) && PathPrefix(`/.well-known/acme-challenge`)", {"name": "acme", "port": 80}),
        traefik_rule("Host(`old`)"),
    )

    (made,) = over(item)

    assert [each["match"].partition(")")[0] for each in made.spec["routes"]] == ["(Host(`a`"]


def test_who_may_pass_comes_before_the_page() -> None:
    item = ingress_route(traefik_rule("Host(`a`)", {"name": "web", "port": 80}))
    passing = bypass(item, Bypass.model_validate({"header": {"name": "X-Preview", "value": "let-me-in"}}))
    assert isinstance(passing, Companion)

    assert passing.spec["routes"][0]["priority"] > over(item)[0].spec["routes"][0]["priority"]


def test_over_an_ingress_stands_another_one_of_its_class_hosts_paths_and_certificates() -> None:
    item = of_traefik(rule(HOST, path("/", service("web"))))
    item["spec"]["tls"] = [{"hosts": [HOST], "secretName": "shop"}]

    (made,) = over(item)

    assert made.spec == {
        "ingressClassName": "traefik",
        "tls": [{"hosts": [HOST], "secretName": "shop"}],
        "rules": [{"host": HOST, "http": {"paths": [path("/", service("page", 80))]}}],
    }
    assert made.annotations == {PRIORITY: str(len(f'Host("{HOST}") && PathPrefix("/")') + 1)}


def test_a_page_over_everything_does_not_hide_the_solver_of_a_challenge_beside_it() -> None:
    solver = f'Host("{HOST}") && PathPrefix("{ACME}")'

    assert priorities(of_traefik(rule(HOST, path("/", service("web")))))["/"] < len(solver)


def test_a_longer_path_stays_before_a_shorter_one_and_both_are_covered_however_traefik_writes_them() -> None:
    found = priorities(of_traefik(rule(HOST, path("/", service("web")), path("/api", service("api")))))

    host = f'Host("{HOST}") && '
    assert found["/"] == len(host + 'PathPrefix("/")') + 1
    assert found["/api"] == len(host + '(Path("/api") || PathPrefix("/api/"))') + 1


def test_a_challenge_of_the_ingress_itself_is_not_covered() -> None:
    item = of_traefik(rule(HOST, path(ACME, service("solver")), path("/", service("web"))))

    assert set(priorities(item)) == {"/"}


def test_a_stated_priority_is_the_one_to_come_before() -> None:
    item = of_traefik(rule(HOST, path("/", service("web")), path("/api", service("api"))), annotations={PRIORITY: "42"})

    assert set(priorities(item).values()) == {43}


@pytest.mark.parametrize("stated", ["", "0", "high", "1" * 40])
def test_what_is_no_priority_does_not_count_as_one(stated: str) -> None:
    item = of_traefik(rule(HOST, path("/", service("web"))))
    other = of_traefik(rule(HOST, path("/", service("web"))), annotations={PRIORITY: stated})

    assert priorities(other) == priorities(item)


def test_over_the_default_backend_lies_a_page_that_comes_after_all_else() -> None:
    item = of_traefik()
    item["spec"] = {"ingressClassName": "traefik", "defaultBackend": service("web")}

    (made,) = over(item)

    assert made.annotations[PRIORITY] == "1"
    assert made.spec["rules"] == [{"http": {"paths": [path("/", service("page", 80))]}}]


def test_wildcard_hosts_are_covered_however_traefik_writes_them() -> None:
    found = priorities(of_traefik(rule("*.example.com", path("/", service("web")))))["/"]

    newer = r'HostRegexp("^[a-zA-Z0-9-]+\\.example\\.com$") && PathPrefix("/")'
    older = 'HostRegexp("{subdomain:[a-zA-Z0-9-]+}.example.com") && PathPrefix("/")'
    assert found > max(len(newer), len(older))


def test_what_traefik_reads_of_an_ingress_holds_for_the_page_as_well_and_nothing_else_goes_with_it() -> None:
    notes = {
        "traefik.ingress.kubernetes.io/router.entrypoints": "websecure",
        "traefik.ingress.kubernetes.io/service.serversscheme": "h2c",
        "cert-manager.io/cluster-issuer": "public",
    }

    (made,) = over(of_traefik(rule(HOST, path("/", service("web"))), annotations=notes))

    assert made.annotations.keys() == {PRIORITY, "traefik.ingress.kubernetes.io/router.entrypoints"}


def test_a_class_by_annotation_is_known_too() -> None:
    item = _of_class(None)
    item["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "traefik"}

    (made,) = over(item)

    assert made.annotations["kubernetes.io/ingress.class"] == "traefik"


def _of_class(name: str | None) -> Item:
    item: Item = ingress(rule(HOST, path("/", service("web"))))
    item["spec"]["ingressClassName"] = name
    return item


@pytest.mark.parametrize(
    ("item", "reason", "help_"),
    [
        (_of_class("contour"), "NotTraefik", "BackendSwap"),
        (_of_class("unknown"), "NotTraefik", "BackendSwap"),
        (_of_class(None), "NotTraefik", "BackendSwap"),
        (http_route(http_rule("/", reference("web"))), "NotTraefik", "BackendSwap"),
        (ingress_route(traefik_rule("Host(`a`)")), "NoBackend", "Name the one that serves"),
        (of_traefik(rule(HOST, path(ACME, service("solver")))), "NoBackend", "Name the one that serves"),
    ],
)
def test_where_no_page_can_lie_over_it_it_says_what_to_use(item: Item, reason: str, help_: str) -> None:
    answer = overlays(item, "page", 80, CLASSES)

    assert isinstance(answer, Refusal)
    assert answer.reason == reason
    assert help_ in answer.message


def test_no_page_lies_over_an_http_route_which_the_spec_says_at_once() -> None:
    with pytest.raises(ValidationError, match="use the strategy BackendSwap"):
        MaintenanceMode.model_validate({"strategy": "Overlay", "targets": [{"kind": "HTTPRoute", "name": "shop"}]})
