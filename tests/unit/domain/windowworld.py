"""A MaintenanceWindow with its Ingresses, page, tasks and Jobs, and an operator that may die between any two writes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jsonpatch

from unit.domain.cluster import BAD, GOOD, Jobs, Object, edited, resource, status_written
from upkeep.controller.references import (
    backend_of,
    occurrence_of,
    planned_tasks,
    required_policies,
    selectors_of,
    targets_of,
    task_selectors,
)
from upkeep.domain import task, window
from upkeep.domain.decision import (
    Action,
    Announce,
    Decision,
    DeleteJob,
    HoldFinalizer,
    PatchTarget,
    RemovePage,
    ShowPage,
    StartRun,
    StopJob,
)
from upkeep.domain.identity import FINALIZER, OWNER_NAME_LABEL
from upkeep.domain.instants import write_instant
from upkeep.domain.maintenance import MODE_LABEL
from upkeep.domain.task import TaskSnapshot
from upkeep.domain.window import TargetRef, WindowSnapshot
from upkeep.domain.window.approval import Endorsement
from upkeep.domain.window.checklist import TICK_PREFIX, tick_of

TASK_SPEC = {"job": {"image": "localhost/work"}}
LONGEST_BURST = 15
"""Decisions at one instant; more would be an operator that runs in circles."""


def ingress(name: str) -> Object:
    paths = [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": name, "port": {"number": 80}}}}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "namespace": "shop",
            "resourceVersion": "1",
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {"rules": [{"host": f"{name}.example.com", "http": {"paths": paths}}]},
    }


@dataclass
class WindowWorld:
    """What one window sees.

    Attributes:
        page: since when it is there.
        warm_up: how long it takes to answer; None: for ever.
        outcomes: of the Jobs of a task: how long they take, and what their Pods say. Else 20 seconds, and good.
        backend: the Service in place of the page.
        backend_ready: whether that has an endpoint.
        started: with when.
        approvals_trusted: whether nobody can approve or tick in the name of another.
    """

    now: datetime
    spec: Mapping[str, Any]
    tasks: dict[str, Object] = field(default_factory=dict)
    ingresses: dict[str, Object] = field(default_factory=dict)
    warm_up: timedelta | None = timedelta(seconds=5)
    outcomes: dict[str, tuple[timedelta | None, str]] = field(default_factory=dict)
    freezes: list[Object] = field(default_factory=list)
    policies: dict[str, Object] = field(default_factory=dict)
    branding: Object | None = None
    backend: Object | None = None
    backend_ready: bool = True
    page: datetime | None = None
    pages_shown: int = 0
    window: Object | None = None
    jobs: Jobs = field(default_factory=Jobs)
    events: list[Announce] = field(default_factory=list)
    started: list[tuple[datetime, StartRun]] = field(default_factory=list)
    opened: list[tuple[datetime, str]] = field(default_factory=list)
    wake_at: datetime | None = None
    approvals_trusted: bool = True
    watched: Callable[[Decision], None] = lambda _: None

    def __post_init__(self) -> None:
        self.window = resource("MaintenanceWindow", dict(self.spec), created=self.now, name="sunday")
        for name in self.planned():
            self.tasks.setdefault(name, resource("MaintenanceTask", dict(TASK_SPEC), created=self.now, name=name))

    def planned(self) -> list[str]:
        return planned_tasks(self.live)

    @property
    def live(self) -> Object:
        assert self.window is not None
        return self.window

    @property
    def status(self) -> Object:
        found: Object = self.live.get("status", {})
        return found

    @property
    def occurrence(self) -> Object:
        return dict(occurrence_of(self.live))

    def snapshot(self) -> WindowSnapshot:
        uid = self.live["metadata"]["uid"]
        owned = {start.name for start in self.jobs.started if start.occasion.window_uid == uid}
        runs = self.jobs.runs()
        return WindowSnapshot(
            resource=self.live,
            tasks=self._tasks(),
            runs=[run for run in runs if run.name in owned],
            busy=frozenset(
                name
                for name, item in self.tasks.items()
                if any(
                    run.active and run.name not in owned and run.owner_uid == item["metadata"]["uid"] for run in runs
                )
            ),
            targets=self._targets(),
            page_service="upkeep-page-sunday",
            page_ready=self._page_ready(),
            now=self.now,
            freezes=self.freezes,
            approvals_trusted=self.approvals_trusted,
            branding=self.branding,
            backend=self.backend,
            policies={name: self.policies[name] for name in required_policies(self.live) if name in self.policies},
        )

    def act(self, *, crash_after: int | None = None) -> Decision | None:
        """Decide and carry it out; with `crash_after` only so many of its actions, and nothing that follows them."""
        if self.window is None:
            return None
        decision = window.decide(self.snapshot())
        self.watched(decision)
        for action in decision.actions[:crash_after]:
            self._do(action)
        if crash_after is not None or self.window is None:
            return decision
        status_written(self.live, decision)
        self.events += decision.events
        for action in decision.cleanup:
            self._do(action)
        self.wake_at = decision.wake_at
        self._let_tasks_decide()
        return decision

    def wait(self, duration: timedelta) -> None:
        """Let time pass while the operator works."""
        until, burst = self.now + duration, 0
        while self.window is not None:
            self._let_end()
            self.act()
            ends = [self._end_of(name) for name in self.jobs.active]
            upcoming = min([time for time in (self.wake_at, *ends) if time is not None], default=None)
            if upcoming is None or upcoming > until:
                break
            burst = 0 if upcoming > self.now else burst + 1
            assert burst < LONGEST_BURST, f"in circles: {self.status}"
            self.now = max(self.now, upcoming)
        self.now = until
        self._let_end()

    def sleep(self, duration: timedelta) -> None:
        """Let time pass while no operator is there."""
        self.now += duration
        self._let_end()

    def edit(self, **spec: object) -> None:
        edited(self.live, **spec)

    def approve(self, user: str, occurrence: str) -> None:
        """What `kubectl upkeep approve` does."""
        generation = str(self.live["metadata"]["generation"])
        self._annotate(**Endorsement(by=user, occurrence=occurrence, generation=generation).annotations)

    def tick(self, user: str, item: str, occurrence: str) -> None:
        """What `kubectl upkeep tick` does."""
        self._annotate(**{f"{TICK_PREFIX}{item}": tick_of(user, occurrence)})

    def _annotate(self, **annotations: str) -> None:
        known = self.live["metadata"].get("annotations", {})
        self.live["metadata"]["annotations"] = {**known, **annotations}

    def delete(self) -> None:
        """`kubectl delete mw sunday`: it stays as long as somebody holds a finalizer."""
        self.live["metadata"]["deletionTimestamp"] = write_instant(self.now)
        self._vanish()

    def swapped(self) -> list[str]:
        return [name for name, item in self.ingresses.items() if MODE_LABEL in (item["metadata"].get("labels") or {})]

    def task_states(self) -> dict[str, tuple[str, str]]:
        return {each["name"]: (each["state"], each.get("reason", "")) for each in self.occurrence.get("tasks", [])}

    def _do(self, action: Action) -> None:
        match action:
            case StartRun():
                self.started.append((self.now, action))
                self.jobs.start(action, self.now)
            case StopJob():
                self.jobs.end(action.name, self.now, message=BAD)
            case DeleteJob():
                self.jobs.delete(action.name)
            case ShowPage():
                self.page = self.page or self.now
                self.pages_shown += 1
            case RemovePage():
                self.page = None
            case PatchTarget():
                self._patch(action)
            case HoldFinalizer():
                others = [name for name in self.live["metadata"].get("finalizers", []) if name != FINALIZER]
                self.live["metadata"]["finalizers"] = [*others, FINALIZER] if action.held else others
                self._vanish()

    def _patch(self, action: PatchTarget) -> None:
        if action.name not in self.ingresses:
            return
        before = self.ingresses[action.name]
        after: Object = jsonpatch.apply_patch(before, action.patch)
        metadata = after["metadata"]
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        if metadata["managedFields"] == before["metadata"]["managedFields"]:
            others = [entry for entry in metadata["managedFields"] if entry != {"manager": "upkeep"}]
            metadata["managedFields"] = [*others, {"manager": "upkeep"}]
        self.ingresses[action.name] = after

    def _vanish(self) -> None:
        metadata = self.live["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            self.window, self.page = None, None

    def _tasks(self) -> dict[str, Object]:
        """What the plan names; and, where it is still to choose, everything."""
        found = self.tasks if task_selectors(self.live) else self.planned()
        return {name: self.tasks[name] for name in found if name in self.tasks}

    def _targets(self) -> dict[TargetRef, Object]:
        """What it names or remembers; and, where it selects, everything: a domain that trusts no list is the better."""
        named = {ref.name for ref in targets_of(self.live)}
        found = self.ingresses if selectors_of(self.live) else named
        return {TargetRef("Ingress", name): item for name, item in self.ingresses.items() if name in found}

    def _page_answers(self) -> bool:
        """Whether the page answers, whoever looks."""
        return self.page is not None and self.warm_up is not None and self.page + self.warm_up <= self.now

    def _page_ready(self) -> bool | None:
        """What a snapshot says of it: once a window is open, nobody looks any more."""
        known = self.occurrence
        if backend_of(self.live):
            return self.backend is not None and self.backend_ready if known and "closedAt" not in known else None
        if not known.get("pageShown") or "openedAt" in known or "closedAt" in known:
            return None
        return self._page_answers()

    def _let_tasks_decide(self) -> None:
        """Each task takes note of its runs, and removes Jobs beyond its limits."""
        for item in self.tasks.values():
            runs = [run for run in self.jobs.runs() if run.owner_uid == item["metadata"]["uid"]]
            decision = task.decide(TaskSnapshot(resource=item, runs=runs, now=self.now))
            assert not [action for action in decision.actions if isinstance(action, StartRun)]
            status_written(item, decision)
            for action in decision.cleanup:
                self._do(action)

    def _end_of(self, name: str) -> datetime | None:
        made = self.jobs.objects[name]
        owner = made["metadata"]["labels"][OWNER_NAME_LABEL]
        takes, _ = self.outcomes.get(owner, (timedelta(seconds=20), GOOD))
        return None if takes is None else datetime.fromisoformat(made["metadata"]["creationTimestamp"]) + takes

    def _let_end(self) -> None:
        for name in self.jobs.active:
            end = self._end_of(name)
            if end is not None and end <= self.now:
                owner = self.jobs.objects[name]["metadata"]["labels"][OWNER_NAME_LABEL]
                self.jobs.end(name, end, message=self.outcomes.get(owner, (None, GOOD))[1])
