"""`upkeep backup`: which backups there are, make one now, prove one now, restore one; in your own name.

It has no credentials of a repository: what it lists is what the policies say, and a restore is a MaintenanceTask, which
the operator carries out.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from upkeep.actions.backup.choice import LATEST
from upkeep.actions.text import readable_size
from upkeep.api import API_VERSION
from upkeep.api.backup import FULL_RESTORE, RESTORE_TEST, BackupSpec, BackupStatus
from upkeep.api.backupsource import BackupSource, PostgresMethod, PostgresSource
from upkeep.api.status import ResourceStatus
from upkeep.api.task import TaskSpec, TaskStatus
from upkeep.cli.namespace import add_namespace
from upkeep.cluster.client import Client, Object
from upkeep.cluster.errors import ApiError, NotFoundError
from upkeep.cluster.resources import BACKUPS, TASKS, Resource
from upkeep.domain.identity import RUN_NOW_ANNOTATION
from upkeep.domain.overdue import OVERDUE
from upkeep.domain.recollection import recall
from upkeep.domain.spec import explain

_WIDTH: Final = 160
"""Columns of a table that is not printed on a terminal."""
_LOOK_AGAIN_SECONDS: Final = 1.0
_DESCRIPTION: Final = "Which backups there are; make one, prove one, or restore one now."


class BackupError(Exception):
    """What was asked for is not there, or makes no sense; the message says what to do."""


def main(arguments: Sequence[str]) -> int:
    """Do what the sub-command says; the exit code is 0 when that is done, or with --wait when it ended well."""
    chosen = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], Awaitable[int]] = chosen.command
    try:
        return asyncio.run(_carried_out(command, chosen))
    except (ApiError, BackupError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("no longer waiting; what was begun goes on\n")
        return 1


async def _carried_out(command: Callable[[argparse.Namespace], Awaitable[int]], chosen: argparse.Namespace) -> int:
    return await command(chosen)


def parser() -> argparse.ArgumentParser:
    """What it takes."""
    made = argparse.ArgumentParser(prog="upkeep backup", description=_DESCRIPTION)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="the newest backups, and whether they were proven")
    listing.set_defaults(command=_list)
    listing.add_argument("policy", nargs="?", help="of this BackupPolicy only")
    listing.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    listing.add_argument("-o", "--output", choices=("table", "json"), default="table")
    running = commands.add_parser("run", help="make a backup now")
    running.set_defaults(command=_run)
    running.add_argument("policy", help="name of the BackupPolicy")
    running.add_argument("--schedule", default="", help="which of its schedules, or integrity or prune; else the first")
    verifying = commands.add_parser("verify", help="restore the newest backup in a test now")
    verifying.set_defaults(command=_verify)
    verifying.add_argument("policy", help="name of the BackupPolicy")
    verifying.add_argument("--full", action="store_true", help="compare every row, and bring the rights of roles back")
    restoring = commands.add_parser("restore", help="make a task that restores a backup now")
    restoring.set_defaults(command=_restore)
    _add_restore(restoring)
    for each in (running, verifying, restoring):
        each.add_argument("--wait", action="store_true", help="until it has ended; the exit code says how")
    for each in (listing, running, verifying, restoring):
        add_namespace(each, "namespace of the policy")
    return made


def _add_restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("policy", help="name of the BackupPolicy")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--snapshot", default=LATEST, help="latest (the default), latestVerified, or the id of one")
    which.add_argument("--before", help="the newest one made before this time, for example 2026-12-01T02:00:00Z")
    parser.add_argument("--database", help="database to restore into; else that of the source")
    parser.add_argument("--source-database", help="database of the backup, where that has several")
    parser.add_argument("--to", help="of files, commands, objects and Redis: CLAIM or CLAIM:DIRECTORY to restore to")
    parser.add_argument("--path", action="append", help="of files: only this directory or file; can be repeated")
    parser.add_argument("--confirm", help="name of the database or claim once more: without, nothing there is replaced")
    parser.add_argument("--drop-old", action="store_true", help="remove what was replaced")
    parser.add_argument("--no-owners", action="store_true", help="without owners and privileges")
    parser.add_argument("--host", help="server to restore into; else that of the source")
    parser.add_argument("--port", type=int, help="its port")
    parser.add_argument("--secret", help="Secret with username and password of who restores; else that of the source")
    parser.add_argument("--timeout", default="4h", help="how long it may take")
    parser.add_argument("--name", help="name of the MaintenanceTask")
    parser.add_argument("--dry-run", action="store_true", help="print the task instead of making it")
    parser.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml", help="how it is printed")


async def _list(chosen: argparse.Namespace) -> int:
    async with await Client.connect() as client:
        if chosen.policy:
            policies = [await _policy(client, chosen)]
        else:
            where = None if chosen.all_namespaces else chosen.namespace
            policies = [item async for page in client.list_pages(BACKUPS, where) for item in page["items"]]
    if chosen.output == "json":
        sys.stdout.write(json.dumps([_written(policy) for policy in policies], indent=2) + "\n")
        return 0
    if not policies:
        sys.stderr.write("there are no BackupPolicies here: see `kubectl get bp -A`\n")
        return 1
    console = Console(file=sys.stdout, highlight=False, width=_WIDTH if not sys.stdout.isatty() else None)
    console.print(listing(policies))
    for complaint in _complaints(policies):
        console.print(Text(complaint, style="bold red"))
    return 0


def listing(policies: Sequence[Object]) -> Table:
    """The backups of policies, newest first."""
    table = Table(box=None, pad_edge=False)
    for heading in ("POLICY", "SNAPSHOT", "SCHEDULE", "MADE", "SIZE", "VERIFIED"):
        table.add_column(heading, no_wrap=heading != "POLICY", justify="right" if heading == "SIZE" else "left")
    for policy in policies:
        name, status = _name(policy), recall(BackupStatus, policy.get("status")).status
        for each in status.snapshots:
            cells = (
                name,
                each.snapshot,
                each.schedule,
                each.time,
                readable_size(each.bytes),
                each.verified_time or "no",
            )
            table.add_row(*map(Text, cells))
        if not status.snapshots:
            table.add_row(Text(name), Text("none yet"), *[Text("")] * 4)
    return table


def _complaints(policies: Sequence[Object]) -> list[str]:
    """What the policies complain of, for who looks at their backups."""
    found = []
    for policy in policies:
        for each in recall(BackupStatus, policy.get("status")).status.conditions:
            bad = "True" if each.type == OVERDUE else "False"
            if each.type in {OVERDUE, "Verified", "Ready"} and each.status == bad and each.reason != "Suspended":
                found.append(f"{_name(policy)}: {each.reason}: {each.message}")
    return found


def _written(policy: Object) -> dict[str, Any]:
    status = recall(BackupStatus, policy.get("status")).status
    return {
        "namespace": policy["metadata"]["namespace"],
        "policy": policy["metadata"]["name"],
        "phase": status.phase,
        "snapshots": [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in status.snapshots],
    }


async def _run(chosen: argparse.Namespace) -> int:
    return await _ask(chosen, chosen.schedule)


async def _verify(chosen: argparse.Namespace) -> int:
    return await _ask(chosen, FULL_RESTORE if chosen.full else RESTORE_TEST)


async def _ask(chosen: argparse.Namespace, schedule: str) -> int:
    token = f"{schedule}/{_stamp()}" if schedule else _stamp()
    async with await Client.connect() as client:
        policy = await _policy(client, chosen)
        known = [each.name for each in recall(BackupStatus, policy.get("status")).status.schedules]
        if schedule and known and schedule not in known:
            msg = f"BackupPolicy {chosen.policy!r} has no {schedule!r}; it has: {', '.join(known)}"
            raise BackupError(msg)
        patch = {"metadata": {"annotations": {RUN_NOW_ANNOTATION: token}}}
        await client.patch(BACKUPS, chosen.namespace, chosen.policy, patch)
        sys.stdout.write(f"{chosen.namespace}/{chosen.policy}: {schedule or 'a backup'} asked for\n")
        return await _ended(client, _Awaited.of(BACKUPS, chosen, chosen.policy, token)) if chosen.wait else 0


async def _restore(chosen: argparse.Namespace) -> int:
    async with await Client.connect() as client:
        task = restoring(await _policy(client, chosen), chosen)
        if chosen.dry_run:
            written = json.dumps(task, indent=2) + "\n"
            sys.stdout.write(yaml.safe_dump(task, sort_keys=False) if chosen.output == "yaml" else written)
            return 0
        await client.create(TASKS, task)
        name, token = task["metadata"]["name"], task["metadata"]["annotations"][RUN_NOW_ANNOTATION]
        told = f"`kubectl -n {chosen.namespace} describe mt {name}` tells how it goes"
        sys.stdout.write(f"MaintenanceTask {chosen.namespace}/{name} is made; {told}\n")
        return await _ended(client, _Awaited.of(TASKS, chosen, name, token)) if chosen.wait else 0


def restoring(policy: Object, chosen: argparse.Namespace) -> Object:
    """The task that restores a backup of a policy, as it was asked for.

    Raises:
        BackupError: that cannot be.
    """
    try:
        source = BackupSpec.model_validate(policy.get("spec")).source
    except ValidationError as problem:
        msg = f"BackupPolicy {chosen.policy!r} cannot be read: {explain(problem)}"
        raise BackupError(msg) from problem
    spec = _of_database(source.postgres, chosen) if source.postgres else _of_files(source, chosen)
    try:
        TaskSpec.model_validate(spec)
    except ValidationError as problem:
        raise BackupError(explain(problem)) from problem
    stamp = _stamp()
    name = chosen.name or f"restore-{chosen.policy}"[:40].rstrip("-.") + f"-{stamp}"
    return {
        "apiVersion": API_VERSION,
        "kind": TASKS.kind,
        "metadata": {"name": name, "namespace": chosen.namespace, "annotations": {RUN_NOW_ANNOTATION: stamp}},
        "spec": spec,
    }


def _of_database(source: PostgresSource, chosen: argparse.Namespace) -> Object:
    if chosen.to or chosen.path:
        msg = f"BackupPolicy {chosen.policy!r} is of PostgreSQL: use --database and --host instead of --to and --path"
        raise BackupError(msg)
    if source.method is PostgresMethod.PHYSICAL:
        msg = (
            f"BackupPolicy {chosen.policy!r} backs up the files of a whole server (method Physical): bring them back "
            "by hand (docs/guides/physical-backups.md)"
        )
        raise BackupError(msg)
    target = source.target.model_dump(mode="json", by_alias=True, exclude_none=True)
    changes = {"host": chosen.host, "port": chosen.port, "secretRef": chosen.secret and {"name": chosen.secret}}
    target |= {key: value for key, value in changes.items() if value}
    own = {
        "database": chosen.database,
        "sourceDatabase": chosen.source_database,
        "owners": False if chosen.no_owners else None,
    }
    return _restore_spec({"name": "db", "postgres": target}, "backupRestore", own, chosen)


def _of_files(source: BackupSource, chosen: argparse.Namespace) -> Object:
    if chosen.database or chosen.source_database or chosen.host or chosen.port or chosen.secret or chosen.no_owners:
        msg = f"BackupPolicy {chosen.policy!r} is not of PostgreSQL: use --to CLAIM:DIRECTORY to say where it goes"
        raise BackupError(msg)
    claim, _, directory = (chosen.to or (source.files.claim_name if source.files else "")).partition(":")
    if not claim:
        msg = (
            f"BackupPolicy {chosen.policy!r} is of no volume: say with --to CLAIM or --to CLAIM:DIRECTORY where it goes"
        )
        raise BackupError(msg)
    own = {"paths": chosen.path, "directory": directory or None}
    return _restore_spec({"name": "files", "volume": {"claimName": claim}}, "backupRestoreFiles", own, chosen)


def _restore_spec(connection: Object, action: str, own: Object, chosen: argparse.Namespace) -> Object:
    """Of a task with one step, of which what was not asked for is left out."""
    step = {
        "connection": connection["name"],
        "policy": chosen.policy,
        "snapshot": None if chosen.before else chosen.snapshot,
        "before": chosen.before,
        **own,
        "confirm": chosen.confirm,
        "keepOld": False if chosen.drop_old else None,
    }
    return {
        "timeout": chosen.timeout,
        "connections": [connection],
        "steps": [{"name": "restore", action: {key: value for key, value in step.items() if value is not None}}],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Awaited:
    """A run that was asked for by its token."""

    kind: Resource
    model: type[ResourceStatus]
    namespace: str
    name: str
    token: str

    @classmethod
    def of(cls, kind: Resource, chosen: argparse.Namespace, name: str, token: str) -> "_Awaited":
        model = BackupStatus if kind == BACKUPS else TaskStatus
        return cls(kind=kind, model=model, namespace=chosen.namespace, name=name, token=token)

    def ended(self, resource: Mapping[str, Any]) -> str | None:
        """How it ended, as `outcome: message`; None while it has not."""
        status = recall(self.model, resource.get("status")).status
        if status.last_manual_run != self.token or getattr(status, "active", None):
            return None
        last = status.last_run
        return f"{last.outcome}: {last.message}" if last and last.completion_time else None

    def trouble(self, resource: Mapping[str, Any]) -> str:
        """Why it does not begin; empty where nothing is known to be in its way."""
        conditions = recall(self.model, resource.get("status")).status.conditions
        return next((each.message for each in conditions if each.type == "Ready" and each.status == "False"), "")


async def _ended(client: Client, awaited: _Awaited) -> int:
    """Wait for its end, and tell it; the exit code says whether it was a good one."""
    told = ""
    while True:
        resource = await client.get(awaited.kind, awaited.namespace, awaited.name)
        if (end := awaited.ended(resource)) is not None:
            sys.stdout.write(f"{end}\n")
            return 0 if end.partition(":")[0] in {"ok", "changed", "skipped"} else 1
        trouble = awaited.trouble(resource)
        if trouble and trouble != told:
            sys.stderr.write(f"waits: {trouble}\n")
        told = trouble
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


async def _policy(client: Client, chosen: argparse.Namespace) -> Object:
    try:
        return await client.get(BACKUPS, chosen.namespace, chosen.policy)
    except NotFoundError as problem:
        msg = f"there is no BackupPolicy {chosen.policy!r} in namespace {chosen.namespace}: see `kubectl get bp -A`"
        raise BackupError(msg) from problem


def _name(policy: Object) -> str:
    return f"{policy['metadata']['namespace']}/{policy['metadata']['name']}"


def _stamp() -> str:
    return str(int(time.time()))
