"""One replica acts, another takes over: at once where the first can say goodbye, else when its Lease has run out.

Whatever was due meanwhile runs exactly once, and an Ingress on the maintenance page comes back.
"""

from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from cluster.installation import NAMESPACE, Installation, kill
from cluster.kubectl import Object
from cluster.manifests import ingress, script, soon, task, web_server, window
from cluster.space import PATIENCE, Space
from cluster.timing import Stopwatch, Timings
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.lease import LeaseTimes
from upkeep.cluster.resources import INGRESSES, PODS, TASKS, WINDOWS
from upkeep.domain.maintenance import semantically_equal

pytestmark = pytest.mark.alone

TOPIC: Final = "Failover (17 s at most after SIGKILL, 3 s after SIGTERM)"
KILLED: Final = 17.0
TOLD: Final = 3.0
BUSY: Final = 3.0
"""Seconds that a machine may take longer which runs the whole cluster and the tests besides."""
HOST: Final = "failover.localhost"


@pytest.fixture
def leader(upkeep: Installation) -> Iterator[Object]:
    """The Pod of the leader, while all is well; and all is well again afterwards."""
    yield upkeep.settled()
    upkeep.settled()


def _removed(upkeep: Installation, pod: Object) -> None:
    """As when its node burns down: the process is gone, and nothing starts it anew."""
    kill(pod)
    upkeep.server.delete(PODS, NAMESPACE, pod["metadata"]["name"], gracePeriodSeconds=0)


def _successor(upkeep: Installation, before: Object) -> str:
    """The holder of the Lease, as soon as it is another one."""
    old = before["metadata"]["name"]
    return until(
        lambda: str(upkeep.lease().get("holderIdentity") or old),
        lambda holder: holder != old,
        what="another replica leads",
        seconds=40,
    )


def _started(space: Space, name: str) -> Object:
    """The one Job of a task, as soon as it is there."""
    owner = space.get(TASKS, name)
    (job,) = until(lambda: space.jobs_of(owner), bool, what=f"a Job of {name}", seconds=40)
    return job


def test_a_leader_that_is_told_to_end_hands_over(
    leader: Object, upkeep: Installation, space: Space, access: ClusterAccess, timings: Timings
) -> None:
    watch = Stopwatch()

    upkeep.server.delete(PODS, NAMESPACE, leader["metadata"]["name"])
    space.make(task("after-goodbye", job=script(access.shop_image, "true")))

    holder = _successor(upkeep, leader)
    handed_over = watch.stop()
    _started(space, "after-goodbye")
    timings.note(TOPIC, "SIGTERM: another replica leads", handed_over)
    timings.note(TOPIC, "SIGTERM: a task asked for meanwhile has its Job", watch.stop())
    assert handed_over <= TOLD + BUSY < LeaseTimes().duration
    assert upkeep.settled()["metadata"]["name"] == holder


def _created_job(request: Object, space: Space) -> bool:
    asked = request.get("objectRef", {})
    there = (asked.get("resource"), asked.get("namespace"), request["verb"]) == ("jobs", space.name, "create")
    return there and request["responseStatus"]["code"] == httpx.codes.CREATED


@pytest.mark.home_built
def test_a_leader_that_is_killed_is_followed_by_another_and_what_was_due_runs_exactly_once(
    leader: Object, upkeep: Installation, space: Space, access: ClusterAccess, timings: Timings
) -> None:
    names = [f"due-{offset}" for offset in (1, 2, 3, 6, 10, 14)]
    begun = soon(0)
    # The last that the leader starts is still at work when it is killed, and ends when nobody is there to see it.
    job = script(access.shop_image, "sleep 3; echo done >/dev/termination-log")
    space.make(*(task(name, run_now="", runAt=soon(int(name.removeprefix("due-"))), job=job) for name in names))
    _started(space, names[0])
    watch = Stopwatch()

    _removed(upkeep, leader)

    _successor(upkeep, leader)
    timings.note(TOPIC, "SIGKILL, no restart: another replica leads", watch.stop())
    assert watch.seconds <= KILLED + BUSY
    for name in names:
        status = space.ended_run(name)
        (run,) = space.jobs_of(space.get(TASKS, name))
        (record,) = status["history"]
        assert (record["ending"], record["outcome"], record["message"]) == ("Ran", "ok", "done")
        assert record["job"] == run["metadata"]["name"]
        assert len(space.pods_of(record["job"])) == 1
        assert "nextScheduleTime" not in status
    created = [request for request in upkeep.requests(begun) if _created_job(request, space)]
    assert len(created) == len(names)


@pytest.mark.home_built
def test_a_leader_that_is_killed_and_started_again_goes_on(
    leader: Object, upkeep: Installation, space: Space, access: ClusterAccess, timings: Timings
) -> None:
    watch = Stopwatch()

    kill(leader)
    space.make(task("after-crash", job=script(access.shop_image, "true")))

    _started(space, "after-crash")
    timings.note(TOPIC, "SIGKILL, restarted in place: a task asked for meanwhile has its Job", watch.stop())
    assert watch.seconds <= KILLED + BUSY
    assert space.ended_run("after-crash")["lastRun"]["outcome"] == "ok"
    # The next time its container crashes it would not be restarted at once; nobody else shall have to wait for it.
    upkeep.server.delete(PODS, NAMESPACE, leader["metadata"]["name"])


@pytest.fixture
def shop(space: Space, access: ClusterAccess) -> Object:
    """A web server behind an Ingress that answers 200."""
    space.make(*web_server(access.shop_image, "shop"), ingress("shop", host=HOST, service="shop"))
    until(lambda: _answer(access), lambda code: code == httpx.codes.OK, what="the shop answers", seconds=60, every=0.2)
    return space.get(INGRESSES, "shop")


def _answer(access: ClusterAccess) -> int:
    try:
        return httpx.get(f"{access.ingress_url}/", headers={"Host": HOST}, timeout=5).status_code
    except httpx.TransportError:
        return 0


@pytest.mark.home_built
def test_an_ingress_comes_back_from_the_page_although_the_leader_is_killed(
    leader: Object, upkeep: Installation, space: Space, access: ClusterAccess, shop: Object, timings: Timings
) -> None:
    space.make(
        task("tidy-up", run_now="", job=script(access.shop_image, "sleep 4")),
        window(
            "tonight",
            startAt=soon(4),
            duration="5m",
            maintenanceMode={"targets": [{"kind": "Ingress", "name": "shop"}]},
            plan={"tasks": [{"name": "tidy-up"}]},
        ),
    )
    owner = space.get(TASKS, "tidy-up")
    until(lambda: space.jobs_of(owner), bool, what="the plan has begun", seconds=60)
    until(lambda: _answer(access), lambda code: code == httpx.codes.SERVICE_UNAVAILABLE, what="the page", seconds=10)
    watch = Stopwatch()

    _removed(upkeep, leader)

    assert _answer(access) == httpx.codes.SERVICE_UNAVAILABLE
    after = until(
        lambda: space.get(INGRESSES, "shop"),
        lambda found: "upkeep.dev/undo" not in found["metadata"].get("annotations", {}),
        what="the Ingress is let go",
        seconds=40,
    )
    timings.note(TOPIC, "SIGKILL with an Ingress on the page: the Ingress is back", watch.stop())
    assert semantically_equal(shop, after)
    until(lambda: _answer(access), lambda code: code == httpx.codes.OK, what="the shop answers again", seconds=10)
    status = space.ended_run("tonight", kind=WINDOWS)
    assert (status["lastRun"]["outcome"], status["phase"]) == ("ok", "Completed")
    assert len(space.jobs_of(owner)) == 1
    released = until(
        lambda: space.get(WINDOWS, "tonight")["metadata"],
        lambda found: not found.get("finalizers"),
        what="released",
        seconds=PATIENCE,
    )
    assert released["generation"] == 1
