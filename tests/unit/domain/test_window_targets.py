"""What a window puts on its page: what it names or selects when it opens, and what comes to be while it is open."""

from typing import Any, Final

import pytest
from pydantic import ValidationError

from unit.domain.cluster import Object, at, minutes, resource, said
from unit.domain.windowworld import WindowWorld, ingress
from upkeep.api.selector import LabelSelector
from upkeep.api.window import Target
from upkeep.domain.maintenance import MODE_LABEL, semantically_equal
from upkeep.domain.window import TargetRef, WindowSnapshot, decide

SHOPS: Final = {"selector": {"matchLabels": {"team": "shop"}}}
NAMED: Final = {"name": "web"}


def labelled(name: str, uid: str = "", **labels: str) -> Object:
    item = ingress(name)
    item["metadata"] |= {"uid": uid or f"uid-{name}", "labels": labels} if labels else {"uid": uid or f"uid-{name}"}
    return item


def opened(target: dict[str, Any], *items: Object) -> WindowWorld:
    """A window that has been open for five minutes and stays open, for there is no plan."""
    world = WindowWorld(
        now=at("01:30"),
        spec={"schedule": "0 2 * * *", "duration": "1h", "maintenanceMode": {"targets": [target]}},
        ingresses={item["metadata"]["name"]: item for item in items},
    )
    world.wait(minutes(35))
    return world


def states(world: WindowWorld) -> dict[str, str]:
    return {target["name"]: target["state"] for target in world.occurrence["targets"]}


def test_all_that_has_the_labels_goes_on_the_page_and_comes_back() -> None:
    before = [labelled("web", team="shop"), labelled("api", team="shop"), labelled("other", team="blog")]
    world = opened(SHOPS, *before)

    assert world.swapped() == ["web", "api"]

    world.wait(minutes(60))
    assert all(semantically_equal(world.ingresses[item["metadata"]["name"]], item) for item in before)


def test_with_a_plan_it_all_comes_back_as_soon_as_that_is_done() -> None:
    world = WindowWorld(
        now=at("01:30"),
        spec={
            "schedule": "0 2 * * *",
            "duration": "1h",
            "maintenanceMode": {"targets": [SHOPS]},
            "plan": {"tasks": [{"name": "clean"}]},
        },
        ingresses={"web": labelled("web", team="shop")},
    )

    world.wait(minutes(35))

    assert world.status["phase"] == "Scheduled"
    assert semantically_equal(world.ingresses["web"], labelled("web", team="shop"))


def test_what_comes_to_match_joins() -> None:
    world = opened(SHOPS, labelled("web", team="shop"))

    world.ingresses["new"] = labelled("new", team="shop")
    world.wait(minutes(1))

    assert world.swapped() == ["web", "new"]
    world.wait(minutes(60))
    assert world.swapped() == []


def test_what_loses_its_label_stays_until_the_end() -> None:
    world = opened(SHOPS, labelled("web", team="shop"))

    world.ingresses["web"]["metadata"]["labels"]["team"] = "blog"
    world.wait(minutes(1))

    assert states(world) == {"web": "Maintenance"}
    world.wait(minutes(60))
    assert world.swapped() == []


def test_what_has_nothing_to_swap_is_no_target_although_it_has_the_labels() -> None:
    challenge = labelled("challenge", team="shop")
    challenge["spec"]["rules"][0]["http"]["paths"][0]["path"] = "/.well-known/acme-challenge/token"

    world = opened(SHOPS, labelled("web", team="shop"), challenge)

    assert states(world) == {"web": "Maintenance"}


def test_nothing_that_matches_is_said_long_before_it_opens() -> None:
    world = opened(SHOPS, labelled("other", team="blog"))

    ready = next(each for each in world.status["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "TargetNotFound")
    assert "Ingress with the labels 'team=shop'" in ready["message"]
    assert world.page is not None, "it opens all the same: what matches may come later"


def test_a_target_that_is_made_anew_goes_on_the_page_again() -> None:
    world = opened(NAMED, labelled("web", "uid-1"))

    world.ingresses["web"] = labelled("web", "uid-2")
    world.wait(minutes(1))

    assert world.swapped() == ["web"]
    world.wait(minutes(60))
    assert semantically_equal(world.ingresses["web"], labelled("web"))


def test_a_target_that_is_made_only_while_it_is_open_goes_on_the_page() -> None:
    world = opened(NAMED)
    assert states(world) == {"web": "Missing"}

    world.ingresses["web"] = labelled("web")
    world.wait(minutes(1))

    assert states(world) == {"web": "Maintenance"}


def test_what_somebody_takes_off_the_page_stays_off() -> None:
    world = opened(NAMED, labelled("web"))

    world.ingresses["web"] = labelled("web")
    world.wait(minutes(2))

    assert world.swapped() == []
    assert states(world) == {"web": "Restored"}


def test_one_that_cannot_join_is_said_once_and_the_window_goes_on() -> None:
    world = opened(SHOPS, labelled("web", team="shop"))
    closed = labelled("closed", team="shop")
    closed["metadata"]["annotations"] = {"nginx.ingress.kubernetes.io/ssl-passthrough": "true"}

    world.ingresses["closed"] = closed
    world.wait(minutes(5))

    assert states(world) == {"web": "Maintenance", "closed": "Refused"}
    assert len(said(world.events, "TargetRefused")) == 1
    assert world.status["phase"] == "Active"


def test_by_annotations_a_window_goes_in_and_out_without_touching_a_backend() -> None:
    before = labelled("web")
    mode = {"targets": [NAMED], "strategy": "Annotations", "annotations": {"example.com/mode": "maintenance"}}
    spec = {"schedule": "0 2 * * *", "duration": "1h", "maintenanceMode": mode}
    world = WindowWorld(now=at("01:30"), spec=spec, ingresses={"web": before})

    world.wait(minutes(35))

    during = world.ingresses["web"]
    assert during["metadata"]["annotations"]["example.com/mode"] == "maintenance"
    assert during["spec"] == before["spec"]
    world.wait(minutes(60))
    assert semantically_equal(world.ingresses["web"], before)


def test_a_kind_that_the_cluster_does_not_know_is_named_with_what_to_do() -> None:
    target = {"kind": "HTTPRoute", "name": "web"}
    spec = {"schedule": "0 2 * * *", "duration": "1h", "maintenanceMode": {"targets": [target]}}
    snapshot = WindowSnapshot(
        resource=resource("MaintenanceWindow", spec, created=at("00:30"), name="sunday"),
        tasks={},
        runs=[],
        busy=frozenset(),
        targets={},
        unknown_kinds=frozenset({"HTTPRoute"}),
        page_service="page",
        page_ready=None,
        now=at("01:00"),
    )

    ready = next(each for each in decide(snapshot).status.conditions if each.type == "Ready")

    assert ready.reason == "TargetNotFound"
    assert "does not know the kind HTTPRoute" in ready.message
    assert "install the Gateway API" in ready.message


def test_an_ingress_and_a_route_of_one_name_are_two_targets() -> None:
    refs = {TargetRef("Ingress", "web"), TargetRef("HTTPRoute", "web")}

    assert sorted(map(str, refs)) == ["HTTPRoute 'web'", "Ingress 'web'"]


class TestSelector:
    @pytest.mark.parametrize(
        ("selector", "query", "chosen", "left"),
        [
            ({}, "", {}, None),
            ({"matchLabels": {"a": "1", "b": ""}}, "a=1,b=", {"a": "1", "b": ""}, {"a": "1"}),
            (
                {"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]},
                "a in (1,2)",
                {"a": "2"},
                {"a": "3"},
            ),
            ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, "a notin (1)", {}, {"a": "1"}),
            ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, "a", {"a": ""}, {}),
            ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, "!a", {}, {"a": ""}),
        ],
    )
    def test_it_chooses_as_the_api_server_does(
        self, selector: dict[str, Any], query: str, chosen: dict[str, str], left: dict[str, str] | None
    ) -> None:
        read = LabelSelector.model_validate(selector)

        assert read.query == query
        assert read.matches(chosen)
        assert left is None or not read.matches(left)

    @pytest.mark.parametrize(
        "target",
        [
            {},
            {"name": "web", "selector": {}},
            {"kind": "GRPCRoute", "name": "web"},
            {"selector": {"matchLabels": {MODE_LABEL: "on"}}},
            {"selector": {"matchExpressions": [{"key": MODE_LABEL, "operator": "DoesNotExist"}]}},
            {"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["1"]}]}},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, target: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Target.model_validate(target)
