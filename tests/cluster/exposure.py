"""Everything that Upkeep does with credentials and with the Kubernetes API, done once, well and badly."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from cluster.kubectl import Kubectl, Object
from cluster.manifests import (
    connection,
    ingress,
    postgres_server,
    redis_server,
    resource,
    script,
    secret,
    soon,
    task,
    web_server,
    window,
)
from cluster.space import Space
from cluster.telltale import Telltales
from cluster.volume import claimed
from cluster.waiting import until
from lab.access import ClusterAccess
from upkeep.cluster.resources import BACKUPS, DEPLOYMENTS, WINDOWS
from upkeep.domain.identity import MANAGED_BY, MANAGED_BY_LABEL

_USERS: Final = {
    "db": "postgres",
    "cache": "default",
    "wrong": "postgres",
    "repository": "",
    "variable": "",
    "file": "",
}
"""The Secrets, with the user names in them; a wrong password must not get out either: it is often right elsewhere."""
_PATIENCE: Final = 60.0
_AGAIN: Final = "again"
_UNREAD: Final = ("secrets", "events.events.k8s.io")
"""What is searched for, and what is there twice."""


@dataclass(slots=True)
class Exposure:
    """What was done, and what could be seen of it.

    Attributes:
        space: where.
        telltales: the values of all its Secrets.
        objects: all that could be read but the Secrets themselves, each version of an object by kind and name.
        command_lines: of the processes of this machine that were seen meanwhile; empty where the nodes are elsewhere.
    """

    space: Space
    access: ClusterAccess
    kubectl: Kubectl
    telltales: Telltales = field(default_factory=Telltales)
    objects: dict[str, Object] = field(default_factory=dict, repr=False)
    command_lines: set[str] = field(default_factory=set, repr=False)

    def happen(self) -> None:
        """Do it all."""
        image = self.access.shop_image
        for name, user in _USERS.items():
            self.space.make(secret(name, username=user, password=self.telltales.value(name)))
        servers = (*postgres_server(image, login="db"), *redis_server(image, login="cache"), *web_server(image, "shop"))
        self.space.make(*servers, ingress("shop", host="exposure.localhost", service="shop"))
        for name in ("db", "cache", "shop"):
            self.space.ready(name)
        self.space.make(*_tasks(image), *_backups(), _window())
        for name in ("well", "badly", "own"):
            self.space.ended_run(name, seconds=_PATIENCE)
        self.space.ended_run("tonight", kind=WINDOWS, seconds=_PATIENCE)
        self._read()
        self.space.run_now("own", _AGAIN)
        self._back_up("good", "daily/1", "integrity/2", "restore-test/3")
        self._back_up("bad", "daily/1")
        self.space.ended_run("own", token=_AGAIN, seconds=_PATIENCE)
        self._read()

    def made(self, kind: str) -> list[Object]:
        """The objects of a kind that Upkeep has made, the pages' own among them, as they were seen last."""
        found = {
            item["metadata"]["name"]: item
            for item in self.objects.values()
            if item["kind"] == kind and item["metadata"].get("labels", {}).get(MANAGED_BY_LABEL) == MANAGED_BY
        }
        return list(found.values())

    def page_taken_down(self) -> None:
        """Wait until the maintenance page is gone, which lingers for those who are on their way to it."""
        pages = "app.kubernetes.io/component=maintenance-page"
        until(
            lambda: self.space.all(DEPLOYMENTS, selector=pages),
            lambda found: not found,
            what="the page is taken down",
            seconds=_PATIENCE,
        )

    def _back_up(self, name: str, *tokens: str) -> None:
        for token in tokens:

            def ended(status: Object, token: str = token) -> bool:
                return status.get("lastManualRun") == token and not status.get("active")

            self.space.run_now(name, token, kind=BACKUPS)
            look = partial(self._seen_meanwhile, name)
            until(look, ended, what=f"{token} of {name} has ended", seconds=_PATIENCE)

    def _seen_meanwhile(self, name: str) -> Object:
        """The status of a policy; and on the way, what the processes of this machine show to everybody."""
        if self.access.home_built:
            self.command_lines |= {_command_line(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
        return self.space.status(BACKUPS, name)

    def _read(self) -> None:
        kinds = self.kubectl.run("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
        wanted = ",".join(kind for kind in kinds if kind not in _UNREAD)
        where = (f"--namespace={self.space.name}", "--show-managed-fields", "--output=json")
        for item in json.loads(self.kubectl.run("get", wanted, *where))["items"]:
            metadata = item["metadata"]
            self.objects[f"{item['kind']} {metadata['name']} {metadata.get('resourceVersion')}"] = item


@contextmanager
def exposure(space: Space, access: ClusterAccess, kubectl: Kubectl) -> Iterator[Exposure]:
    """All of it in a namespace that is empty before."""
    with claimed(space, access, "backups"):
        made = Exposure(space, access, kubectl)
        made.happen()
        yield made


def _tasks(image: str) -> list[Object]:
    def steps(*, on_failure: str) -> list[Object]:
        care: list[Object] = [
            {"name": "vacuum", "postgresVacuum": {"connection": "db"}},
            {"name": "dead-rows", "postgresDeadTuples": {"connection": "db"}},
            {"name": "memory", "redisMemory": {"connection": "cache"}},
            {"name": "answers", "httpCheck": {"url": "http://shop:8000/"}},
        ]
        return [{**step, "onFailure": on_failure} for step in care]

    def cache(login: str) -> Object:
        return {"name": "cache", "redis": {"host": "cache", "secretRef": {"name": login}}}

    variable = {"name": "VALUE", "secretKeyRef": {"name": "variable", "key": "password"}}
    file = {"name": "file", "mountPath": "/secret", "secret": {"name": "file"}}
    uses_both = script(image, 'test -n "$VALUE" && test -s /secret/password', env=[variable], volumes=[file])
    return [
        task("well", *steps(on_failure="Stop"), connections=[connection("db", login="db"), cache("cache")]),
        task("badly", *steps(on_failure="Continue"), connections=[connection("db", login="wrong"), cache("wrong")]),
        task("own", job=uses_both, successfulRunsHistoryLimit=0),
        task("tidy-up", run_now="", job=script(image, "true")),
    ]


def _backups() -> list[Object]:
    def policy(name: str, password: str) -> Object:
        spec = {
            "source": {"postgres": {"host": "db", "database": "postgres", "secretRef": {"name": "db"}}},
            "repository": {"passwordSecretRef": {"name": password}, "volume": {"claimName": "backups"}},
            "schedules": [{"name": "daily", "schedule": "0 1 * * *"}],
            "verify": {"integrity": {"schedule": "0 5 * * *"}, "restoreTest": {"schedule": "0 6 * * *"}},
        }
        return resource("BackupPolicy", name, spec)

    return [policy("good", "repository"), policy("bad", "wrong")]


def _window() -> Object:
    verify = {"name": "dead-rows", "postgresDeadTuples": {"connection": "db"}}
    return window(
        "tonight",
        startAt=soon(2),
        duration="5m",
        maintenanceMode={"targets": [{"kind": "Ingress", "name": "shop"}]},
        plan={"tasks": [{"name": "tidy-up"}]},
        connections=[connection("db", login="db")],
        verify={"steps": [verify]},
    )


def _command_line(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
