"""Jobs and Pods as a cluster shows them, made from what decisions ask for, for tests that follow them over time."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pydantic import ValidationError

from upkeep.controller.apply import difference, dump
from upkeep.domain.decision import Announce, Decision, DeleteJob, StartRun
from upkeep.domain.instants import write_instant
from upkeep.domain.openings import opening_at, read_spec
from upkeep.domain.order import CONTAINER
from upkeep.domain.run import Run, observe
from upkeep.domain.schedule import ScheduleError
from upkeep.resources.job import job

Object = dict[str, Any]

GOOD = '{"outcome":"ok","message":"done"}'
BAD = '{"outcome":"failed","message":"it broke"}'


def at(text: str) -> datetime:
    """An instant on the day that most tests take place: `at("02:30")`; a Monday."""
    return datetime.combine(date(2026, 3, 2), time.fromisoformat(text), tzinfo=UTC)


def resource(kind: str, spec: object, *, created: datetime, name: str = "nightly") -> Object:
    return {
        "apiVersion": "upkeep.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "namespace": "shop",
            "name": name,
            "uid": f"uid-{name}",
            "generation": 1,
            "creationTimestamp": write_instant(created),
        },
        "spec": spec,
    }


def merged(old: object, patch: object) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON merge patch, RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def edited(item: Object, **spec: object) -> None:
    """Changes fields of a spec in place, as `kubectl apply` would; None removes one."""
    item["spec"] = merged(item["spec"], spec)
    item["metadata"]["generation"] += 1


def told(window: Object, now: datetime) -> Object:
    """The window as it stands when its status has kept up: open in its time; one that has a status stays as it is."""
    if "status" in window:
        return window
    try:
        spec = read_spec(window)
        opening = None if spec.suspend else opening_at(spec, now)
    except (ValidationError, ScheduleError):
        return window
    if opening is None:
        return window
    start, end = write_instant(opening.start), write_instant(opening.end)
    return {**window, "status": {"occurrence": {"startTime": start, "endTime": end, "openedAt": start}}}


@dataclass
class Jobs:
    """The Jobs of a cluster and their Pods, which end when they are told to."""

    objects: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, list[Object]] = field(default_factory=dict)
    started: list[StartRun] = field(default_factory=list)

    def start(self, start: StartRun, now: datetime) -> None:
        """Create a Job; one that is there already is adopted, as the controller does."""
        if start.name in self.objects:
            return
        made = job(
            owner=start.owner, name=start.name, occasion=start.occasion, work=start.work, image="localhost/upkeep:dev"
        )
        made["metadata"] |= {"uid": f"uid-{start.name}", "creationTimestamp": write_instant(now)}
        self.objects[start.name] = made | {"status": {"startTime": write_instant(now), "active": 1}}
        self.pods[start.name] = []
        self.started.append(start)

    def end(self, name: str, now: datetime, *, message: str = GOOD, seen: bool = True) -> None:
        """Let a Job end, well or badly by what its Pod says; not `seen`: its Pod is shown only later, or never."""
        good = message != BAD
        kind = "Complete" if good else "Failed"
        condition = {"type": kind, "status": "True", "lastTransitionTime": write_instant(now)}
        self.objects[name]["status"] |= {"conditions": [condition], "active": 0}
        if good:
            self.objects[name]["status"]["completionTime"] = write_instant(now)
        if seen:
            self.pods[name] = [pod(name, now, code=0 if good else 1, message=message)]

    def delete(self, name: str) -> None:
        self.objects.pop(name, None)
        self.pods.pop(name, None)

    def runs(self) -> list[Run]:
        return [observe(made, self.pods[name]) for name, made in sorted(self.objects.items())]

    @property
    def active(self) -> list[str]:
        return [name for name, made in self.objects.items() if "conditions" not in made["status"]]


def pod(name: str, ended: datetime, *, code: int, message: str = "") -> Object:
    """A Pod whose container has ended."""
    terminated = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "message": message}
    return {
        "metadata": {"name": f"{name}-x", "namespace": "shop", "creationTimestamp": write_instant(ended)},
        "status": {
            "phase": "Succeeded" if code == 0 else "Failed",
            "containerStatuses": [{"name": CONTAINER, "image": "i", "state": {"terminated": terminated}}],
        },
    }


def status_written(item: Object, decision: Decision) -> None:
    """Write the status of a decision, as the controller does: the difference, as a merge patch."""
    new = dump(decision.status)
    old = item.get("status") or {}
    item["status"] = merged(old, difference(old, new))
    assert item["status"] == new


def said(events: list[Announce], *reasons: str) -> list[str]:
    """Messages of the Events with these reasons."""
    return [event.message for event in events if event.reason in reasons]


def deletions(decision: Decision) -> list[str]:
    return [action.name for action in (*decision.actions, *decision.cleanup) if isinstance(action, DeleteJob)]


def starts(decision: Decision) -> list[StartRun]:
    return [action for action in decision.actions if isinstance(action, StartRun)]


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)
