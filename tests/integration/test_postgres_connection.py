"""Whatever keeps a step from its database must read like something that a person can mend."""

import asyncio
import socket
import time
from pathlib import Path

import pytest

from integration.bench import Bench, eventually
from integration.certificate import Certificate
from integration.postgres import Database, Postgres
from lab.port import free_port
from upkeep.actions.contract import Outcome
from upkeep.actions.postgres.deadtuples import PostgresDeadTuples

CHECK = PostgresDeadTuples(connection="db")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"password": "wrong-password"},
            "password authentication failed for user \"upkeep\": check the Secret 'db-secret'",
        ),
        ({"user": "ghost"}, "password authentication failed for user \"ghost\": check the Secret 'db-secret'"),
        ({"password": ""}, "the password in the Secret 'db-secret' is empty: set it"),
        ({"database": "nowhere"}, "database \"nowhere\" does not exist: check `database` of connection 'db'"),
        ({"host": "no-such-host.invalid"}, "no such name in DNS: check `host` of connection 'db'"),
    ],
)
async def test_a_connection_that_fails_says_why_and_what_to_do(
    postgres_server: Postgres, bench: Bench, changes: dict[str, str], message: str
) -> None:
    # given a connection with one mistake
    bench.connect_postgres(postgres_server, **changes)
    # when a step uses it
    begun = time.monotonic()
    step = await bench.step(CHECK)
    # then it fails within five seconds and its message names the server, the reason and the cure
    assert step.outcome is Outcome.FAILED
    assert (
        f"cannot connect to PostgreSQL {changes.get('host', postgres_server.host)}:{postgres_server.port}: "
        in step.message
    )
    assert message in step.message
    assert time.monotonic() - begun < 5


async def test_a_server_that_is_down_is_named(postgres_server: Postgres, bench: Bench) -> None:
    port = free_port()
    bench.connect_postgres(postgres_server, port=port)
    step = await bench.step(CHECK)
    assert step.outcome is Outcome.FAILED
    assert step.message == (
        f"cannot connect to PostgreSQL 127.0.0.1:{port}: Connection refused: nothing listens there: "
        "check host and port, and that the server runs"
    )


async def test_a_host_that_never_answers_is_given_up(postgres_server: Postgres, bench: Bench) -> None:
    # given a listener that accepts nothing: its queue is full
    with socket.socket() as listener, socket.socket() as filler, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for client in (filler, second):
            client.setblocking(False)  # noqa: FBT003 - the method of the standard library is like that
            client.connect_ex(listener.getsockname())
        bench.connect_postgres(postgres_server, port=listener.getsockname()[1])
        begun = time.monotonic()
        step = await bench.step(CHECK)
    assert step.outcome is Outcome.FAILED
    assert "no answer: check host and port" in step.message
    assert time.monotonic() - begun < 5


async def test_a_user_without_connect_is_told_what_to_grant(
    postgres_server: Postgres, database: Database, bench: Bench
) -> None:
    database.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    try:
        bench.connect_postgres(postgres_server, database="postgres")
        step = await bench.step(CHECK)
    finally:
        database.execute("GRANT CONNECT ON DATABASE postgres TO PUBLIC")
    assert "permission denied for database" in step.message
    assert "GRANT CONNECT ON DATABASE to the user in the Secret 'db-secret'" in step.message


async def test_a_missing_secret_is_named(postgres_server: Postgres, bench: Bench) -> None:
    # given the empty directory, with the kubelet's own link, that an optional Secret leaves when it does not exist
    bench.connect_postgres(postgres_server)
    for key in (bench.credentials / "db").iterdir():
        key.unlink()
    (bench.credentials / "db" / "..data").symlink_to("..2026_01_01")
    step = await bench.step(CHECK)
    assert step.outcome is Outcome.FAILED
    assert step.message == "Secret 'db-secret' of connection 'db' does not exist in this namespace: create it"


async def test_a_missing_key_is_named(postgres_server: Postgres, bench: Bench) -> None:
    bench.connect_postgres(postgres_server)
    (bench.credentials / "db" / "password").unlink()
    step = await bench.step(CHECK)
    assert step.message == "Secret 'db-secret' of connection 'db' has no key 'password': add the key"


async def test_a_password_that_is_no_text_is_not_quoted(postgres_server: Postgres, bench: Bench) -> None:
    bench.connect_postgres(postgres_server)
    (bench.credentials / "db" / "password").write_bytes(b"\xff\xfe\x00secret")
    step = await bench.step(CHECK)
    assert step.message == "key 'password' of Secret 'db-secret' is not UTF-8 text: store it as text"


async def test_verification_needs_the_authority(postgres_server: Postgres, bench: Bench) -> None:
    bench.connect_postgres(postgres_server, sslMode="verify-full")
    step = await bench.step(CHECK)
    assert step.message == "Secret 'db-secret' of connection 'db' has no key 'ca.crt': add the key"


async def test_a_server_that_proves_who_it_is_is_trusted(postgres_server: Postgres, bench: Bench) -> None:
    bench.connect_postgres(postgres_server, sslMode="verify-full")
    bench.secret("db", ca_crt=postgres_server.authority.read_text())
    step = await bench.step(CHECK)
    assert step.outcome is Outcome.OK, step.message


async def test_a_server_that_is_somebody_else_is_refused(
    postgres_server: Postgres, bench: Bench, tmp_path: Path
) -> None:
    bench.connect_postgres(postgres_server, sslMode="verify-full")
    bench.secret("db", ca_crt=Certificate.make(tmp_path).certificate.read_text())
    step = await bench.step(CHECK)
    assert step.outcome is Outcome.FAILED
    assert "certificate verify failed: check `ca.crt` in the Secret 'db-secret'" in step.message


async def test_a_server_without_tls_is_refused_where_tls_is_required(standby: Postgres, bench: Bench) -> None:
    bench.connect_postgres(standby, sslMode="require")
    step = await bench.step(CHECK)
    assert step.outcome is Outcome.FAILED
    assert "server does not support SSL, but SSL was required: set sslMode to prefer or disable" in step.message


async def test_a_connection_that_is_not_defined_is_named(bench: Bench) -> None:
    step = await bench.step(CHECK)
    assert step.message == "connection 'db' is not defined: add it to spec.connections (defined: none)"


async def test_functions_that_somebody_put_into_public_are_never_called(database: Database, bench: Bench) -> None:
    # given somebody's own lower-case trap for every unqualified call of the checks
    database.execute(
        "CREATE TABLE public.called (what text)",
        "CREATE FUNCTION public.current_setting(text) RETURNS text LANGUAGE sql AS "
        "$$ INSERT INTO public.called VALUES ('current_setting'); SELECT 'off' $$",
        f'ALTER ROLE upkeep IN DATABASE "{database.name}" SET search_path = public, pg_catalog',
    )
    bench.connect_postgres(database.server, database=database.name)
    step = await bench.step(CHECK)
    assert step.outcome is Outcome.OK
    assert database.value("SELECT count(*) FROM public.called") == 0


async def test_a_step_that_is_told_to_end_ends_whatever_it_does_just_then(database: Database, bench: Bench) -> None:
    bench.connect_postgres(database.server, database=database.name)
    for turns in range(2, 62, 3):
        running = asyncio.create_task(bench.report(CHECK, CHECK))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        report = await running
        assert "SIGTERM" in report.message, turns
    upkeep = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'upkeep'"
    await eventually(lambda: database.value(upkeep) == 0)


async def test_the_password_is_in_no_report(postgres_server: Postgres, bench: Bench) -> None:
    bench.connect_postgres(postgres_server, password="canary-7f3a9")  # noqa: S106 - the point of this test
    report = await bench.report(CHECK)
    assert report.steps[0].outcome is Outcome.FAILED
    assert "canary-7f3a9" not in report.encode()
