"""A window may send users to another Service instead of to a page, once there is somebody to meet."""

from typing import Any, Final

import pytest
from pydantic import ValidationError

from unit.domain.cluster import Object, at, minutes, said
from unit.domain.windowworld import WindowWorld, ingress
from upkeep.api.window import MaintenanceMode
from upkeep.domain.maintenance import holders, semantically_equal

BACKEND: Final = {"service": "standby", "port": 8080}
ON_STANDBY: Final = {"service": {"name": "standby", "port": {"number": 8080}}}


def service(port: int = 8080, **spec: Any) -> Object:  # noqa: ANN401 - any JSON
    return {"kind": "Service", "metadata": {"name": "standby"}, "spec": {"ports": [{"port": port}], **spec}}


def redirecting(found: Object | None = None, *, ready: bool = True, **mode: Any) -> WindowWorld:  # noqa: ANN401
    """A window at two o'clock that sends the users of `web` to a standby, seen half an hour before."""
    whole = {"targets": [{"name": "web"}], "backend": BACKEND, **mode}
    return WindowWorld(
        now=at("01:30"),
        spec={"schedule": "0 2 * * *", "duration": "1h", "maintenanceMode": whole},
        ingresses={"web": ingress("web")},
        backend=found,
        backend_ready=ready,
    )


def leads_to(world: WindowWorld) -> Object:
    (path,) = world.ingresses["web"]["spec"]["rules"][0]["http"]["paths"]
    backend: Object = path["backend"]
    return backend


def condition(world: WindowWorld, name: str) -> Object:
    (found,) = [each for each in world.status["conditions"] if each["type"] == name]
    return dict(found)


def test_users_are_sent_there_and_come_back_without_any_page() -> None:
    world = redirecting(service())

    world.wait(minutes(35))

    assert leads_to(world) == ON_STANDBY
    assert [holder.redirects for holder in holders(world.ingresses["web"])] == [True]
    assert condition(world, "MaintenanceMode")["message"] == "users are sent to Service standby:8080"
    assert "pageShown" not in world.occurrence

    world.wait(minutes(60))

    assert semantically_equal(world.ingresses["web"], ingress("web"))
    assert world.pages_shown == 0
    assert world.status["lastRun"]["outcome"] == "ok"


@pytest.mark.parametrize(
    ("found", "reason", "advice"),
    [
        (None, "BackendNotFound", "Service 'standby' does not exist in this namespace: create it"),
        (service(80), "BackendNotUsable", "has no port 8080 (it has 80): correct maintenanceMode.backend.port"),
        (service(type="ExternalName"), "BackendNotUsable", "is of type ExternalName"),
        (service(ports=None), "BackendNotUsable", "(it has none)"),
    ],
)
def test_what_nobody_can_be_sent_to_is_said_long_before_and_holds_the_window_back(
    found: Object | None, reason: str, advice: str
) -> None:
    world = redirecting(found)
    world.wait(minutes(1))
    ready = condition(world, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert advice in ready["message"]

    world.wait(minutes(35))
    assert semantically_equal(world.ingresses["web"], ingress("web"))
    assert world.occurrence["waitingFor"] == reason

    world.backend = service()
    world.wait(minutes(1))
    assert leads_to(world) == ON_STANDBY


def test_what_does_not_answer_is_said_before_the_opening_and_until_the_end_nobody_is_sent_there() -> None:
    world = redirecting(service(), ready=False)

    world.wait(minutes(29.5))
    assert "start what serves it" in " ".join(said(world.events, "WindowHeld"))

    world.wait(minutes(65))
    assert semantically_equal(world.ingresses["web"], ingress("web"))
    assert world.status["history"][0]["reason"] == "Held"
    assert "BackendNotReady" in world.status["history"][0]["message"]


def test_what_fails_later_keeps_those_who_are_there_and_gets_nobody_else() -> None:
    world = redirecting(service(), targets=[{"selector": {}}])
    world.wait(minutes(35))
    world.backend_ready = False
    world.ingresses["new"] = ingress("new")

    world.wait(minutes(5))
    assert world.swapped() == ["web"]

    world.backend_ready = True
    world.wait(minutes(1))
    assert world.swapped() == ["web", "new"]

    world.wait(minutes(60))
    assert world.swapped() == []


def test_what_speaks_another_protocol_than_a_page_can_be_sent_to_a_standby() -> None:
    world = redirecting(service())
    annotations = {"nginx.ingress.kubernetes.io/backend-protocol": "HTTPS"}
    world.ingresses["web"]["metadata"]["annotations"] = annotations

    world.wait(minutes(35))

    assert leads_to(world) == ON_STANDBY


def test_a_path_that_leads_to_the_standby_always_stays_there() -> None:
    world = redirecting(service())
    paths = world.ingresses["web"]["spec"]["rules"][0]["http"]["paths"]
    paths.append({"path": "/read", "pathType": "Prefix", "backend": ON_STANDBY})

    world.wait(minutes(35))
    http = world.ingresses["web"]["spec"]["rules"][0]["http"]
    assert [path["backend"] for path in http["paths"]] == [ON_STANDBY, ON_STANDBY]
    http["paths"].append({"path": "/new", "pathType": "Prefix", "backend": ON_STANDBY})

    world.wait(minutes(60))
    names = [path["backend"]["service"]["name"] for path in world.ingresses["web"]["spec"]["rules"][0]["http"]["paths"]]
    assert names == ["web", "standby", "standby"]
    assert world.status["lastRun"]["outcome"] == "ok"


def test_what_leads_there_already_altogether_has_lost_its_record_or_needs_no_window() -> None:
    world = redirecting(service())
    world.ingresses["web"]["spec"]["rules"][0]["http"]["paths"][0]["backend"] = ON_STANDBY

    world.wait(minutes(35))

    assert world.status["lastRun"]["reason"] == "TargetRefused"
    assert "to Service standby:8080 already" in " ".join(said(world.events, "TargetRefused"))


def test_an_edit_from_a_page_to_a_standby_counts_at_once() -> None:
    world = redirecting(service())
    world.edit(maintenanceMode={"backend": None})
    world.wait(minutes(35))
    assert leads_to(world)["service"]["name"] == "upkeep-page-sunday"

    world.edit(maintenanceMode={"backend": BACKEND})
    world.wait(minutes(1))

    assert leads_to(world) == ON_STANDBY
    world.wait(minutes(60))
    assert semantically_equal(world.ingresses["web"], ingress("web"))
    assert world.page is None


@pytest.mark.parametrize(
    "besides",
    [{"page": {}}, {"page": {"title": "Closed"}}, {"strategy": "Annotations", "annotations": {"theirs": "on"}}],
)
def test_a_backend_is_instead_of_a_page(besides: Object) -> None:
    with pytest.raises(ValidationError, match="remove page or backend"):
        MaintenanceMode.model_validate({"targets": [{"name": "web"}], "backend": BACKEND, **besides})


@pytest.mark.parametrize("backend", [{"service": "standby"}, {"service": "A", "port": 80}, {"service": "a", "port": 0}])
def test_a_backend_is_a_service_and_its_port(backend: Object) -> None:
    with pytest.raises(ValidationError):
        MaintenanceMode.model_validate({"targets": [{"name": "web"}], "backend": backend})
