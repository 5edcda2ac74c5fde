"""Whatever is wrong is said within seconds, where its owner looks, in words that help; and nothing else suffers.

What the API server can see it refuses at `kubectl apply`; everything else stands in the resource's conditions, in what
it says of its last run, and in its Events. Beside every mistake a healthy task goes on as if nothing had happened.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import yaml

from cluster.canary import PROMPT, Canary, lateness
from cluster.kubectl import Kubectl, Object
from cluster.manifests import (
    connection,
    ingress,
    postgres_server,
    resource,
    script,
    secret,
    service,
    soon,
    task,
    window,
)
from cluster.space import PATIENCE, Space, conditions
from cluster.timing import Stopwatch, Timings
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import BACKUPS, JOBS, TASKS, WINDOWS, Resource

TOPIC: Final = "Bad input, from apply to the message (5 s at most on an idle machine)"
PASSWORD: Final = "of-the-tests-only"  # noqa: S105 - of a server that lives as long as the tests
HTTP: Final = {"name": "answers", "httpCheck": {"url": "http://localhost/"}}
KINDS: Final[dict[str, Resource]] = {kind.kind: kind for kind in (TASKS, WINDOWS, BACKUPS)}


def _dead_tuples(connection: str = "db", **parameters: object) -> Object:
    return {"name": "dead-rows", "postgresDeadTuples": {"connection": connection, **parameters}}


def _backup() -> Object:
    return {
        "source": {"postgres": {"host": "db", "database": "postgres", "secretRef": {"name": "db"}}},
        "repository": {"passwordSecretRef": {"name": "absent"}, "volume": {"claimName": "absent"}},
        "schedules": [{"name": "daily", "schedule": "0 1 * * *"}],
    }


@pytest.fixture(scope="module")
def database(space: Space, access: ClusterAccess) -> None:
    """A PostgreSQL `db`, its Secret `db`, a Service `nobody` with nothing behind it, and one with a closed port."""
    space.make(
        secret("db", username="postgres", password=PASSWORD),
        secret("wrong", username="postgres", password="not-the-password"),  # noqa: S106 - wrong on purpose
        service("nobody", 5432),
        {
            **service("portless", 5432),
            "spec": {"selector": {"app": "db"}, "ports": [{"port": 5432, "targetPort": 5433}]},
        },
        *postgres_server(access.shop_image, login="db"),
    )
    space.ready("db")


@pytest.fixture(scope="module")
def canary(space: Space, access: ClusterAccess) -> Canary:
    bird = Canary(space, access.shop_image)
    bird.settle()
    return bird


@pytest.fixture
def healthy_beside(canary: Canary) -> Iterator[None]:
    """A task that ran well before the mistake was made runs as well while it stands."""
    yield
    canary.sing()


Say = Callable[..., Object]


@pytest.fixture
def told(space: Space, timings: Timings, healthy_beside: None) -> Say:  # noqa: ARG001 - it goes on beside
    """Makes something that is wrong, and returns its status as soon as that says what is wanted."""

    def told(what: str, body: Object, *, says: Callable[[dict[str, Any]], str], part: str) -> Object:
        kind, name = KINDS[body["kind"]], body["metadata"]["name"]
        watch = Stopwatch()
        space.make(body)
        status = until(
            lambda: space.status(kind, name),
            lambda seen: part in says(seen),
            what=f"{kind.kind} {name} says {part!r}",
            seconds=PATIENCE,
        )
        timings.note(TOPIC, what, watch.stop())
        return status

    return told


def _ready_message(status: dict[str, Any]) -> str:
    ready = conditions(status).get("Ready", {})
    return str(ready.get("message", "")) if ready.get("status") == "False" else ""


def _last_message(status: dict[str, Any]) -> str:
    run = status.get("lastRun", {})
    return str(run.get("message", "")) if run.get("outcome") else ""


@pytest.mark.parametrize(
    ("what", "spec", "fragments"),
    [
        (
            "wrong cron",
            {"schedule": "61 2 * * *", "steps": [HTTP]},
            ["spec.schedule", "must be a cron expression of five fields in their ranges", "for example '0 2 * * SUN'"],
        ),
        (
            "unknown action",
            {"steps": [{"name": "vacuum", "postgresVacum": {"connection": "db"}}]},
            ['unknown field "spec.steps[0].postgresVacum"'],
        ),
        (
            "two actions in a step",
            {"steps": [{**HTTP, "redisMemory": {"connection": "cache"}}]},
            ["spec.steps[0]", "a step must have exactly one action; the actions are: ", "postgresVacuum"],
        ),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_what_the_task_itself_shows_is_refused_at_apply(
    kubectl: Kubectl, space: Space, timings: Timings, what: str, spec: Object, fragments: list[str]
) -> None:
    watch = Stopwatch()

    done = kubectl.attempt(
        "apply", f"--namespace={space.name}", "-f", "-", stdin=yaml.safe_dump(resource("MaintenanceTask", "bad", spec))
    )

    timings.note(TOPIC, f"{what} (kubectl apply)", watch.stop())
    assert done.returncode == 1
    for fragment in fragments:
        assert fragment in done.stderr
    assert space.server.find(TASKS, space.name, "bad") is None


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("MaintenanceTask", {"schedule": "0 2 * * *", "steps": [HTTP]}),
        ("MaintenanceWindow", {"schedule": "0 2 * * *", "duration": "1h"}),
        ("BackupPolicy", _backup()),
    ],
)
def test_an_unknown_zone_is_named_with_the_one_that_was_meant(told: Say, kind: str, spec: Object) -> None:
    status = told(
        f"unknown zone of a {kind}",
        resource(kind, "nowhere", {**spec, "timeZone": "Europe/Berln"}),
        says=_ready_message,
        part='time zone "Europe/Berln" is unknown; did you mean Europe/Berlin',
    )

    assert conditions(status)["Ready"]["reason"] == "InvalidSchedule"
    assert conditions(status)["Stalled"]["status"] == "True"
    assert "nextScheduleTime" not in status


def test_a_day_that_never_comes_is_said(told: Say) -> None:
    status = told(
        "30 February",
        task("never", HTTP, run_now="", schedule="0 2 30 2 *"),
        says=_ready_message,
        part="0 2 30 2 *",
    )

    assert conditions(status)["Ready"]["reason"] == "InvalidSchedule"


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Something that only a run can find out, and what is said of it."""

    what: str
    name: str
    connection: Object
    tables: list[str]
    message: str
    advice: str


MISTAKES: Final = (
    Mistake(
        what="missing Secret",
        name="no-secret",
        connection=connection("db", login="absent"),
        tables=["orders"],
        message="Secret 'absent' of connection 'db' does not exist in this namespace",
        advice="create it",
    ),
    Mistake(
        what="wrong password",
        name="wrong-password",
        connection=connection("db", login="wrong"),
        tables=["orders"],
        message='cannot connect to PostgreSQL db:5432: password authentication failed for user "postgres"',
        advice="check the Secret 'wrong'",
    ),
    Mistake(
        what="no such database",
        name="no-database",
        connection=connection("db", login="db", database="shoop"),
        tables=["orders"],
        message='cannot connect to PostgreSQL db:5432: database "shoop" does not exist',
        advice="check `database` of connection 'db'",
    ),
    Mistake(
        what="no such table",
        name="no-table",
        connection=connection("db", login="db"),
        tables=["public.oders"],
        message="there is no table 'public.oders'",
        advice="did you mean public.orders?",
    ),
    Mistake(
        what="database down: port closed",
        name="port-closed",
        connection=connection("db", login="db", host="portless"),
        tables=["orders"],
        message="cannot connect to PostgreSQL portless:5432: Connection refused",
        advice="nothing listens there: check host and port, and that the server runs",
    ),
    Mistake(
        what="database down: Service without endpoints",
        name="no-endpoints",
        connection=connection("db", login="db", host="nobody"),
        tables=["orders"],
        message="cannot connect to PostgreSQL nobody:5432: ",
        advice="check host and port, and that the server runs",
    ),
    Mistake(
        what="no such host",
        name="no-host",
        connection=connection("db", login="db", host="bd"),
        tables=["orders"],
        message="cannot connect to PostgreSQL bd:5432: ",
        advice="no such name in DNS: check `host` of connection 'db' and that the Service exists",
    ),
)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_what_a_run_finds_out_is_said_on_the_task(told: Say, space: Space, mistake: Mistake) -> None:
    step = _dead_tuples(tables=mistake.tables)
    wrong = task(mistake.name, step, connections=[mistake.connection])

    status = told(mistake.what, wrong, says=_last_message, part=mistake.message)

    said = status["lastRun"]["message"]
    assert said.startswith(f"dead-rows: {mistake.message}")
    assert said.endswith(mistake.advice)
    assert status["lastRun"]["outcome"] == "failed"
    assert status["consecutiveFailures"] == 1
    assert conditions(status)["LastRunSucceeded"]["status"] == "False"
    assert said in conditions(status)["LastRunSucceeded"]["message"]
    events = until(
        lambda: space.events_of(mistake.name), lambda found: len(found) > 1, what="the Event", seconds=PATIENCE
    )
    failed = next(event for event in events if event["reason"] == "RunFailed")
    assert failed["type"] == "Warning"
    assert said in failed["message"]


def test_an_image_that_does_not_exist_is_said_while_it_is_tried(told: Say, space: Space) -> None:
    job = {"image": "localhost/not-there:1", "runAsUser": 65532}

    status = told("image that does not exist", task("no-image", job=job), says=_ready_message, part=job["image"])

    (run,) = space.jobs_of(space.get(TASKS, "no-image"))
    ready = conditions(status)["Ready"]
    assert ready["reason"] == "ImagePullFailed"
    assert "pull" in ready["message"]
    assert run["metadata"]["name"] in ready["message"]
    space.remove(TASKS, "no-image")


def test_a_variable_from_a_missing_secret_is_said_while_it_is_tried(
    told: Say, space: Space, access: ClusterAccess
) -> None:
    password = {"name": "PASSWORD", "secretKeyRef": {"name": "absent", "key": "password"}}
    job = script(access.shop_image, "true", env=[password])

    status = told("Secret of a variable missing", task("no-variable", job=job), says=_ready_message, part='"absent"')

    assert conditions(status)["Ready"]["reason"] == "ContainerConfigError"
    assert 'secret "absent" not found' in conditions(status)["Ready"]["message"]
    space.remove(TASKS, "no-variable")


def test_a_pod_that_nobody_admits_is_said_with_where_to_look(told: Say, space: Space, access: ClusterAccess) -> None:
    orphan = task("no-account", serviceAccountName="absent", job=script(access.shop_image, "true"))

    status = told("ServiceAccount missing", orphan, says=_ready_message, part="a ServiceAccount that does not exist")

    (run,) = space.jobs_of(space.get(TASKS, "no-account"))
    assert conditions(status)["Ready"]["reason"] == "PodRefused"
    assert f"`kubectl describe job {run['metadata']['name']}` tells which" in conditions(status)["Ready"]["message"]
    space.remove(TASKS, "no-account")


def test_a_missing_ingress_is_said_long_before_the_window_opens(told: Say, space: Space) -> None:
    target = {"kind": "Ingress", "name": "shpo"}
    far = window("no-ingress", startAt=soon(86400), duration="1h", maintenanceMode={"targets": [target]})
    space.make(ingress("shop", host="bad-input.localhost", service="shop"))

    status = told("Ingress missing", far, says=_ready_message, part="shpo")

    ready = conditions(status)["Ready"]
    assert ready["reason"] == "TargetNotFound"
    assert "does not exist" in ready["message"]


def test_a_missing_task_of_a_plan_is_said_and_forgotten_once_it_is_there(told: Say, space: Space) -> None:
    far = window("no-task", startAt=soon(86400), duration="1h", plan={"tasks": [{"name": "later"}]})

    status = told("task of a plan missing", far, says=_ready_message, part="MaintenanceTask 'later'")

    assert conditions(status)["Ready"]["reason"] == "TaskNotFound"
    space.make(task("later", HTTP, run_now=""))
    space.condition("no-task", "Ready", "True", kind=WINDOWS)


def test_a_missing_window_of_a_task_is_said_and_forgotten_once_it_is_there(told: Say, space: Space) -> None:
    bound = task("no-window", HTTP, run_now="", schedule="0 2 * * *", windows=["nightly"])

    status = told("window of a task missing", bound, says=_ready_message, part="MaintenanceWindow 'nightly'")

    assert conditions(status)["Ready"]["reason"] == "WindowNotFound"
    space.make(window("nightly", schedule="0 2 * * *", duration="1h"))
    space.condition("no-window", "Ready", "True")


def test_a_connection_that_nobody_defined_is_said_and_a_run_by_hand_refused(told: Say, space: Space) -> None:
    undefined = task("no-connection", _dead_tuples("bd"), connections=[connection("db", login="db")])

    status = told("connection not defined", undefined, says=_ready_message, part="uses connection 'bd'")

    assert "defined: db" in conditions(status)["Ready"]["message"]
    events = until(lambda: space.events_of("no-connection"), bool, what="the Event", seconds=PATIENCE)
    assert [event["reason"] for event in events] == ["ManualRunRefused"]
    assert space.jobs_of(space.get(TASKS, "no-connection")) == []


def test_a_backup_without_its_volume_is_said_while_it_waits(told: Say, space: Space) -> None:
    lost = resource("BackupPolicy", "no-volume", _backup(), run_now="daily/first")

    status = told("PersistentVolumeClaim missing", lost, says=_ready_message, part='"absent" not found')

    assert conditions(status)["Ready"]["reason"] == "Unschedulable"
    space.remove(BACKUPS, "no-volume")


def test_a_schedule_beside_all_that_trouble_is_never_late(space: Space, access: ClusterAccess) -> None:
    every_minute = {"schedule": "* * * * *"}
    nobody = connection("db", login="absent", host="nobody")
    space.make(
        task("beside-healthy", run_now="", job=script(access.shop_image, "true"), **every_minute),
        task("beside-refused", _dead_tuples(), run_now="", connections=[nobody], **every_minute),
        task("beside-no-image", run_now="", job={"image": "localhost/not-there:2", "runAsUser": 1}, **every_minute),
        task("beside-no-zone", HTTP, run_now="", timeZone="Mars/Olympus", **every_minute),
        task("beside-undefined", _dead_tuples("bd"), run_now="", **every_minute),
    )

    status = space.ended_run("beside-healthy", seconds=60 + PATIENCE)

    record = status["history"][-1]
    job = space.get(JOBS, record["job"])
    assert record["ending"] == "Ran"
    assert record["outcome"] == "ok"
    assert lateness(record["scheduledTime"], job["metadata"]["creationTimestamp"]) <= PROMPT
    for name in ("beside-healthy", "beside-refused", "beside-no-image", "beside-no-zone", "beside-undefined"):
        space.remove(TASKS, name)
