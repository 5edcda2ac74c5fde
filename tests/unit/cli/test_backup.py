"""`upkeep backup` lists what the policies say, and makes a task that restores as it was asked for."""

import io
from typing import Any, Final

import pytest
from rich.console import Console

from unit.domain.backupworld import SPEC
from unit.domain.cluster import Object, at, resource
from upkeep.api.task import TaskSpec
from upkeep.cli import backup
from upkeep.cli.backup import BackupError, listing, main, restoring

SNAPSHOTS: Final = [
    {
        "snapshot": "5d3fdd52",
        "schedule": "daily",
        "time": "2026-03-02T01:00:00Z",
        "bytes": 18350080,
        "verifiedTime": "2026-03-02T05:00:00Z",
    },
    {"snapshot": "1a2b3c4d", "schedule": "daily", "time": "2026-03-01T01:00:00Z", "bytes": 100},
]


def policy(**status: Any) -> Object:  # noqa: ANN401 - fields of a status
    made = resource("BackupPolicy", SPEC, created=at("00:00"), name="shop-db")
    return {**made, "status": status} if status else made


def asked(*arguments: str, of: Object | None = None) -> Object:
    """The task that a restore with these arguments makes."""
    chosen = backup.parser().parse_args(["restore", "shop-db", "-n", "shop", *arguments])
    return restoring(of or policy(), chosen)


def printed(*policies: Object) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=160)
    console.print(listing(policies))
    lines: str = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.split() for line in lines.splitlines()]


def test_backups_are_listed_with_their_proof() -> None:
    assert printed(policy(snapshots=SNAPSHOTS), resource("BackupPolicy", SPEC, created=at("00:00"), name="new")) == [
        ["POLICY", "SNAPSHOT", "SCHEDULE", "MADE", "SIZE", "VERIFIED"],
        ["shop/shop-db", "5d3fdd52", "daily", "2026-03-02T01:00:00Z", "17.5", "MiB", "2026-03-02T05:00:00Z"],
        ["shop/shop-db", "1a2b3c4d", "daily", "2026-03-01T01:00:00Z", "100", "B", "no"],
        ["shop/new", "none", "yet"],
    ]


def test_a_status_that_is_none_lists_nothing_and_breaks_nothing() -> None:
    assert printed(policy(snapshots="[bold]")) == printed(policy())


def test_a_restore_goes_where_the_backup_came_from_unless_it_is_told_otherwise() -> None:
    task = asked("--confirm", "shop")
    spec = TaskSpec.model_validate(task["spec"])

    assert task["metadata"]["namespace"] == "shop"
    assert task["metadata"]["annotations"]["upkeep.dev/run-now"]
    (connection,) = spec.connections
    assert connection.postgres
    assert (connection.postgres.host, connection.postgres.database) == ("db", "shop")
    (step,) = task["spec"]["steps"]
    assert step["backupRestore"] == {
        "connection": "db",
        "policy": "shop-db",
        "snapshot": "latest",
        "confirm": "shop",
    }


def test_all_of_it_can_be_said() -> None:
    source = {"postgres": {**SPEC["source"]["postgres"], "databases": ["*"], "jobs": 2}}
    task = asked(
        *("--before", "2026-03-02T00:00:00Z", "--database=-odd", "--secret", "admin", "--host", "other"),
        *("--port", "5433", "--drop-old", "--no-owners", "--name", "again", "--timeout", "30m"),
        *("--source-database", "tenant_a"),
        of=resource("BackupPolicy", {**SPEC, "source": source}, created=at("00:00"), name="shop-db"),
    )

    assert task["metadata"]["name"] == "again"
    assert task["spec"]["timeout"] == "30m"
    assert task["spec"]["connections"][0]["postgres"] | {"sslMode": "prefer"} == {
        "host": "other",
        "port": 5433,
        "database": "shop",
        "secretRef": {"name": "admin"},
        "sslMode": "prefer",
    }
    assert task["spec"]["steps"][0]["backupRestore"] == {
        "connection": "db",
        "policy": "shop-db",
        "before": "2026-03-02T00:00:00Z",
        "database": "-odd",
        "sourceDatabase": "tenant_a",
        "keepOld": False,
        "owners": False,
    }


FILES: Final = {"files": {"claimName": "uploads", "paths": ["uploads"]}}
REDIS: Final = {"redis": {"host": "cache"}}


def of(source: Object) -> Object:
    return resource("BackupPolicy", {**SPEC, "source": source}, created=at("00:00"), name="shop-db")


@pytest.mark.parametrize(
    ("source", "arguments", "claim", "step"),
    [
        (FILES, (), "uploads", {"snapshot": "latest"}),
        (
            FILES,
            ("--path=uploads/a", "--path=-b", "--to", "other:look/here", "--before", "2026-03-02T00:00:00Z"),
            "other",
            {"before": "2026-03-02T00:00:00Z", "paths": ["uploads/a", "-b"], "directory": "look/here"},
        ),
        (
            REDIS,
            ("--to", "data", "--confirm", "data", "--drop-old"),
            "data",
            {"snapshot": "latest", "confirm": "data", "keepOld": False},
        ),
    ],
)
def test_what_is_no_database_goes_onto_a_volume(
    source: Object, arguments: tuple[str, ...], claim: str, step: Object
) -> None:
    task = asked(*arguments, of=of(source))

    assert task["spec"]["connections"] == [{"name": "files", "volume": {"claimName": claim}}]
    assert task["spec"]["steps"] == [
        {"name": "restore", "backupRestoreFiles": {"connection": "files", "policy": "shop-db", **step}}
    ]


@pytest.mark.parametrize(
    ("source", "arguments", "words"),
    [
        (REDIS, (), "is of no volume: say with --to CLAIM"),
        (FILES, ("--database", "x"), "is not of PostgreSQL: use --to"),
        (FILES, ("--to", "uploads:../x"), "directory"),
        (FILES, ("--path", "../x"), "paths"),
        (SPEC["source"], ("--to", "uploads"), "is of PostgreSQL: use --database"),
    ],
)
def test_what_does_not_fit_the_policy_is_said(source: Object, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(BackupError, match=words):
        asked(*arguments, of=of(source))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--snapshot", "newest"), "snapshot"),
        (("--before", "yesterday"), "before"),
        (("--timeout", "soon"), "is not a duration"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_made(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(BackupError, match=words):
        asked(*arguments)


def test_a_policy_that_cannot_be_read_is_said() -> None:
    with pytest.raises(BackupError, match="cannot be read"):
        asked(of=policy() | {"spec": {}})


def test_a_long_name_stays_a_name() -> None:
    chosen = backup.parser().parse_args(["restore", "a" * 250, "-n", "shop"])

    assert len(restoring(policy(), chosen)["metadata"]["name"]) <= 63


@pytest.mark.parametrize("arguments", [(), ("rewind",), ("run",), ("restore", "a", "--snapshot", "b", "--before", "c")])
def test_what_is_no_command_is_refused_with_those_there_are(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)

    assert "usage: upkeep backup" in capsys.readouterr().err


def test_the_files_of_a_server_replace_no_database() -> None:
    server = policy()
    server["spec"] = {**SPEC, "source": {"postgres": {**SPEC["source"]["postgres"], "method": "Physical"}}}
    with pytest.raises(BackupError, match=r"\(method Physical\): bring them back by hand"):
        asked(of=server)
