"""Two roles of a real PostgreSQL take turns; whatever happens, what is in use works."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from integration.bench import Bench
from integration.postgres import Postgres, running_postgres
from integration.rotationworld import RotationWorld, rotation_world
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.rotate.credential import RotateCredential
from upkeep.actions.rotate.record import RECORD, ROTATED_AT

FIRST: Final = 'shop_a"; DROP'
SECOND: Final = "-größe $1"
OWNER: Final = "shop_owner"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres("log_statement=all", "log_min_duration_statement=0") as server:
        yield server


@pytest.fixture
def roles(server: Postgres) -> Iterator[None]:
    """Two roles of one owner, whose passwords the user `upkeep` may change; the second has none yet."""
    names = [sql.Identifier(FIRST), sql.Identifier(SECOND)]
    with server.connect() as connection:
        connection.execute(f"CREATE ROLE {OWNER}")
        connection.execute("ALTER ROLE upkeep CREATEROLE")
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(names[0], "first-password"))
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(names[1]))
        connection.execute(sql.SQL("GRANT {} TO {}, {}").format(sql.Identifier(OWNER), *names))
        connection.execute(sql.SQL("GRANT {}, {} TO upkeep WITH ADMIN OPTION").format(*names))
    yield
    with server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename NOT IN ('postgres')"
        )
        connection.execute(sql.SQL("DROP OWNED BY {}, {}, {}").format(*names, sql.Identifier(OWNER)))
        connection.execute(sql.SQL("DROP ROLE {}, {}, {}").format(*names, sql.Identifier(OWNER)))


@pytest.fixture
async def world(server: Postgres, roles: None, bench: Bench, tmp_path: Path) -> AsyncIterator[RotationWorld]:  # noqa: ARG001 - they have to be there
    bench.connect_postgres(server)
    async with rotation_world(bench, tmp_path) as world:
        world.make(username=FIRST, password="first-password", other="kept")  # noqa: S106 - of a server that lives for one test
        yield world


def rotation(**changes: object) -> RotateCredential:
    parameters = {
        "secret": "shop-db",
        "postgres": {"connection": "db", "roles": [FIRST, SECOND]},
        "workloads": [{"name": "web"}],
        "maxAge": "0s",
        **changes,
    }
    return RotateCredential.model_validate(parameters)


def login(server: Postgres, username: str, password: str) -> "psycopg.Connection[Any]":
    return psycopg.connect(host=server.host, port=server.port, user=username, password=password, dbname="postgres")


def works(server: Postgres, username: str, password: str) -> bool:
    try:
        login(server, username, password).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" not in str(error):
            raise
        return False
    return True


def has_password(server: Postgres, role: str) -> bool:
    with server.connect() as connection:
        row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [role]).fetchone()
    assert row is not None
    return row[0] is not None


async def test_all_use_the_new_credential_before_the_old_one_is_revoked(world: RotationWorld, server: Postgres) -> None:
    result = await world.rotate(rotation(grace="24h"))

    assert result.outcome is Outcome.CHANGED, result.message
    assert result.message.startswith(
        "Secret 'shop-db' has a new credential, which works (Deployment 'web' restarted); "
    )
    assert "the old credential is good until " in result.message
    values = world.values()
    assert (values["username"], values["other"]) == (SECOND, "kept")
    assert world.in_use["password"] == values["password"]
    assert works(server, SECOND, values["password"])
    assert works(server, FIRST, "first-password")
    assert "first-password" not in str(world.annotations())
    assert values["password"] not in str(world.annotations()) + result.message

    # when a run comes before the grace period is over
    waiting = await world.rotate(rotation(grace="24h"))
    assert (waiting.outcome, world.restarts) == (Outcome.OK, 2)
    assert works(server, FIRST, "first-password")

    # when it is over
    world.let_grace_pass()
    over = await world.rotate(rotation(grace="24h", maxAge="90d"))
    assert over.outcome is Outcome.CHANGED
    assert over.message.startswith("the old credential is revoked; the credential in Secret 'shop-db' is ")
    assert not has_password(server, FIRST)
    assert set(world.values()) == {"username", "password", "other"}
    assert RECORD not in world.annotations()
    assert world.restarts == 2, "nothing is restarted for a revocation"


async def test_without_grace_one_run_does_it_all_and_the_next_goes_the_other_way(
    world: RotationWorld, server: Postgres
) -> None:
    for username, other in ((SECOND, FIRST), (FIRST, SECOND)):
        result = await world.rotate(rotation(grace="0s"))
        assert result.outcome is Outcome.CHANGED, result.message
        assert result.message.endswith("; the old credential is revoked")
        assert world.values()["username"] == username
        assert works(server, username, world.in_use["password"])
        assert not has_password(server, other)


async def test_a_credential_that_is_young_is_left_alone(world: RotationWorld) -> None:
    assert (await world.rotate(rotation(maxAge="1h"))).outcome is Outcome.OK
    world.annotate(**{ROTATED_AT: datetime.now(UTC).replace(year=2020).isoformat()})

    assert (await world.rotate(rotation(maxAge="1h", grace="1h"))).outcome is Outcome.CHANGED
    result = await world.rotate(rotation(maxAge="1h", grace="1h"))
    assert result.outcome is Outcome.OK
    assert world.restarts == 2


@pytest.mark.parametrize("answered", [False, True])
async def test_cut_off_at_every_request_nobody_is_locked_out_and_the_next_run_ends_it(
    world: RotationWorld, server: Postgres, *, answered: bool
) -> None:
    reached, request = True, 0
    while reached:
        request += 1
        before = world.values()["username"]
        reached = await world.cut_off(rotation(grace="0s"), request=request, answered=answered)

        values = world.values()
        assert works(server, values["username"], values["password"]), request
        assert works(server, world.in_use["username"], world.in_use["password"]), request
        if not reached:
            break

        # when the next run comes, which begins nothing anew unless nothing was under way
        await world.rotate(rotation(grace="0s", maxAge="90d"))
        assert RECORD not in world.annotations()
        values = world.values()
        assert set(values) == {"username", "password", "other"}
        assert {key: world.in_use[key] for key in values} == values
        assert works(server, values["username"], values["password"])
        if values["username"] != before:
            assert not has_password(server, before)
    assert request > 10


async def test_of_two_runs_at_a_time_one_goes_on(world: RotationWorld, server: Postgres) -> None:
    results = await asyncio.gather(world.rotate(rotation()), world.rotate(rotation()))

    assert sorted(result.outcome for result in results) == [Outcome.CHANGED, Outcome.FAILED]
    assert [result.message for result in results if result.outcome is Outcome.FAILED] == [
        "another run rotates these roles: wait until it has ended"
    ]
    values = world.values()
    assert works(server, values["username"], values["password"])
    assert works(server, FIRST, "first-password")


async def test_no_log_of_the_server_has_a_password(world: RotationWorld, server: Postgres) -> None:
    await world.rotate(rotation(grace="0s"))

    said = (server.directory / "log").read_text(errors="replace")
    assert "PASSWORD 'SCRAM-SHA-256$" in said
    assert world.values()["password"] not in said


async def test_a_new_credential_that_does_not_work_is_never_handed_out(world: RotationWorld, server: Postgres) -> None:
    with server.connect() as connection:
        connection.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(sql.Identifier(SECOND)))

    result = await world.rotate(rotation())

    assert result.outcome is Outcome.FAILED
    assert "the old one stays in use, and nothing was restarted: cannot connect to PostgreSQL" in result.message
    assert world.values() == {"username": FIRST, "password": "first-password", "other": "kept"}
    assert world.restarts == 1
    assert not has_password(server, SECOND)
    assert RECORD not in world.annotations()


async def test_where_the_workload_does_not_become_well_the_old_one_is_handed_out_again(
    world: RotationWorld, server: Postgres
) -> None:
    world.well = lambda values: values["username"] == FIRST

    result = await world.rotate(rotation())

    assert result.outcome is Outcome.FAILED
    assert result.message.startswith(
        "the new credential did not do: Deployment 'web' does not become well, its controller"
    )
    assert result.message.endswith("the old credential is in use again, and all is well")
    assert world.values() == {"username": FIRST, "password": "first-password", "other": "kept"}
    assert world.in_use["username"] == FIRST
    assert works(server, FIRST, "first-password")
    assert not has_password(server, SECOND)
    assert RECORD not in world.annotations()


async def test_an_old_credential_that_somebody_uses_is_not_revoked(world: RotationWorld, server: Postgres) -> None:
    with login(server, FIRST, "first-password") as forgotten:
        forgotten.execute("SET application_name = 'forgotten job'")
        forgotten.commit()

        result = await world.rotate(rotation(grace="0s"))

        assert result.outcome is Outcome.FAILED
        assert "not revoked, because it is still used by forgotten job (1 sessions)" in result.message
        assert [(each.check_id, each.severity) for each in result.findings] == [("credential.in-use", Severity.WARNING)]
        assert works(server, FIRST, "first-password")

        # when it has leaked, so that it has to go all the same
        assert (await world.rotate(rotation(grace="0s", revokeInUse=True, maxAge="90d"))).outcome is Outcome.CHANGED
    assert not works(server, FIRST, "first-password")


async def test_a_secret_that_somebody_has_put_back_is_not_what_the_revocation_relies_on(
    world: RotationWorld, server: Postgres
) -> None:
    await world.rotate(rotation(grace="24h"))
    old = {"username": "c2hvcF9hIjsgRFJPUA==", "password": "Zmlyc3QtcGFzc3dvcmQ="}
    world.api.patch("Secret", "shop", "shop-db", {"data": old})
    world.let_grace_pass()

    result = await world.rotate(rotation(grace="24h"))

    assert result.outcome is Outcome.FAILED
    assert "somebody has changed it since; nothing is revoked" in result.message
    assert works(server, FIRST, "first-password")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("GRANT pg_monitor TO {second}", "differ in their memberships"),
        ("ALTER ROLE {first} SET work_mem = '8MB'", "differ in their settings"),
        ("GRANT CONNECT ON DATABASE postgres TO {first}", "differ in their privileges of their own"),
        ("ALTER ROLE {second} NOLOGIN", "differ in their right to log in"),
        ("CREATE SCHEMA private AUTHORIZATION {first}", "owns 1 objects"),
        ("ALTER ROLE {second} RENAME TO gone", "there is no role '-größe $1'"),
        ("ALTER ROLE upkeep NOCREATEROLE", "may not change the password of '-größe $1'"),
        ("ALTER ROLE {first} PASSWORD 'another'", "does not work now, so nothing was begun"),
    ],
)
async def test_what_could_lock_somebody_out_is_refused_before_anything_is_in_use(
    world: RotationWorld, server: Postgres, statement: str, words: str
) -> None:
    names = {"first": sql.Identifier(FIRST), "second": sql.Identifier(SECOND)}
    with server.connect() as connection:
        connection.execute(sql.SQL(statement).format(**names))

        result = await world.rotate(rotation())

        if "RENAME" in statement:
            connection.execute(sql.SQL("ALTER ROLE gone RENAME TO {}").format(names["second"]))
    assert result.outcome is Outcome.FAILED
    assert words in result.message
    assert world.restarts == 1
    assert {key: value for key, value in world.values().items() if key != "next-password"} == {
        "username": FIRST,
        "password": "first-password",
        "other": "kept",
    }


async def test_a_server_that_asks_for_no_password_proves_nothing(world: RotationWorld, server: Postgres) -> None:
    rules = server.directory / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"host all all all trust\n{before}")
    server.execute("SELECT pg_reload_conf()")
    try:
        result = await world.rotate(rotation())
    finally:
        rules.write_text(before)
        server.execute("SELECT pg_reload_conf()")
    assert result.outcome is Outcome.FAILED
    assert "does not ask " in result.message
    assert "see pg_hba.conf" in result.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {
                "metadata": {
                    "ownerReferences": [_owner := {"kind": "SealedSecret", "name": "shop-db", "controller": True}]
                }
            },
            "is made by SealedSecret 'shop-db'",
        ),
        ({"immutable": True}, "is immutable: make it anew"),
        ({"metadata": {"annotations": {RECORD: "{"}}}, "cannot be read"),
        ({"data": {"username": "c29tZWJvZHk="}}, "is neither 'shop_a\"; DROP' nor '-größe $1'"),
        ({"data": {"password": None}}, "has no key 'password'"),
        ({"data": {"password": "//8="}}, "is not UTF-8 text"),
    ],
)
async def test_a_secret_that_cannot_be_rotated_says_why(
    world: RotationWorld, change: dict[str, Any], words: str
) -> None:
    if "ownerReferences" in change.get("metadata", {}):
        change["metadata"]["ownerReferences"][0] |= {"apiVersion": "bitnami.com/v1alpha1", "uid": "u"}
    world.api.patch("Secret", "shop", "shop-db", change)

    result = await world.rotate(rotation())

    assert result.outcome is Outcome.FAILED
    assert words in result.message
    assert world.restarts == 1


async def test_a_workload_that_is_not_well_is_not_restarted(world: RotationWorld) -> None:
    world.well = lambda _: False
    world.start()

    result = await world.rotate(rotation())

    assert (result.outcome, "nothing was begun" in result.message) == (Outcome.FAILED, True)
    assert "next-password" not in world.values()


async def test_a_secret_of_gitops_is_rotated_with_a_warning(world: RotationWorld) -> None:
    mark = {"argocd.argoproj.io/tracking-id": "shop:/Secret:shop/shop-db"}
    world.annotate(**mark)

    result = await world.rotate(rotation())

    assert result.outcome is Outcome.CHANGED
    (finding,) = result.findings
    assert finding.check_id == "credential.gitops"
    assert finding.recommendation.startswith("let Argo CD ignore its data")
