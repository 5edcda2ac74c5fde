"""A real PostgreSQL server for tests, on a free loopback port, in a directory of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from integration.certificate import Certificate
from lab import servers
from lab.port import free_port

PASSWORD: Final = "correct-horse-battery"  # noqa: S105 - of servers that live for one test session
_SERVER_USER: Final = "nobody"
_REFUSES_ROOT: Final = ("initdb", "postgres")
_TAKE_OVER: Final = f"""\
case "$1" in -D*)
  data=${{1#-D}}
  chown -R {_SERVER_USER} "${{data%/*}}"
  chmod a+x "${{data%/*}}" "${{data%/*/*}}"
esac"""
"""Files that root restored become those of the user that their server is started as."""
_BACKUP_FUNCTIONS_RENAMED: Final = 150000
_BACKUP: Final = ("SELECT pg_backup_start('copy', true)", "SELECT labelfile FROM pg_backup_stop(false)")
_OLD_BACKUP: Final = (
    "SELECT pg_start_backup('copy', true, false)",
    "SELECT labelfile FROM pg_stop_backup(false, false)",
)
_OPTIONS: Final = (
    "fsync=off",
    "autovacuum=off",
    "wal_level=replica",
    "max_wal_senders=4",
    "max_prepared_transactions=4",
    "shared_buffers=32MB",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running server; `upkeep` owns the databases of tests, `reader` owns nothing, `watcher` sees all activity."""

    host: str
    port: int
    directory: Path
    programs: Path

    @property
    def authority(self) -> Path:
        """The certificate by which the server can be recognised."""
        return self.directory / "server.crt"

    def connect(
        self, *, database: str = "postgres", user: str = "postgres", application: str = "test"
    ) -> "psycopg.Connection[Any]":
        """A connection of the test itself, with autocommit."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=user,
            password=PASSWORD,
            dbname=database,
            application_name=application,
            autocommit=True,
        )

    def execute(self, *statements: LiteralString, database: str = "postgres") -> None:
        """Run statements as superuser."""
        with self.connect(database=database) as connection:
            for statement in statements:
                connection.execute(statement)

    def end(self, pid: int) -> None:
        """End a session, whatever it does."""
        with self.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    @contextmanager
    def database(self, name: str) -> Iterator["Database"]:
        """A database that belongs to the role `upkeep`, gone afterwards."""
        identifier = sql.Identifier(name)
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER upkeep").format(identifier))
        try:
            yield Database(server=self, name=name)
        finally:
            with self.connect() as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database of a server."""

    server: Postgres
    name: str

    def execute(self, *statements: LiteralString) -> None:
        """Run statements as superuser."""
        self.server.execute(*statements, database=self.name)

    def as_owner(self, *statements: LiteralString) -> None:
        """Run statements as the role `upkeep`, which then owns what they create."""
        with self.server.connect(database=self.name, user="upkeep") as connection:
            for statement in statements:
                connection.execute(statement)

    def value(self, query: LiteralString) -> Any:  # noqa: ANN401 - whatever type the column has
        """The single value that a query returns."""
        with self.server.connect(database=self.name) as connection:
            row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]

    def load(self, dump: Path) -> None:
        """Restore a dump into this database, as the role `upkeep`."""
        address = f"postgresql://upkeep:{PASSWORD}@{self.server.host}:{self.server.port}/{self.name}"
        restore = ["pg_restore", "--no-owner", f"--dbname={address}", str(dump)]
        done = subprocess.run(restore, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def session(self, *, user: str = "postgres") -> "psycopg.Connection[Any]":
        """A second session, for tests about locks."""
        return self.server.connect(database=self.name, user=user)

    @contextmanager
    def executing(self, statement: str, *, user: str = "postgres", application: str = "test") -> Iterator[int]:
        """A session that is in the middle of a statement, by the number of its process; ended afterwards."""
        with closing(self.server.connect(database=self.name, user=user, application=application)) as connection:
            pid = connection.info.backend_pid
            connection.pgconn.send_query(statement.encode())
            try:
                yield pid
            finally:
                self.server.end(pid)


@contextmanager
def running_postgres(*options: str, version: str | None = None) -> Iterator[Postgres]:
    """A fresh server with TLS and three roles, stopped and removed afterwards; `options` as `name=value`.

    Without a version it is Debian's; see `lab.servers` for the others.
    """
    with _owned_directory() as directory:
        programs = programs_directory() if version is None else _copied(servers.postgres(version), directory)
        password_file = directory / "password"
        password_file.write_text(PASSWORD)
        hand_over(password_file)
        data = directory / "data"
        _as_server_user(
            [
                programs / "initdb",
                "--pgdata", data,
                "--username=postgres",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ]
        )  # fmt: skip
        certificate = Certificate.make(directory)
        hand_over(certificate.key)
        encryption = ("ssl=on", f"ssl_key_file={certificate.key}", f"ssl_cert_file={certificate.certificate}")
        with _serving(programs, data, directory, *encryption, *options) as port:
            server = Postgres(host="127.0.0.1", port=port, directory=directory, programs=programs)
            with server.connect() as connection:
                for role in ("upkeep", "reader", "watcher"):
                    connection.execute(
                        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), PASSWORD)
                    )
                connection.execute("GRANT pg_read_all_stats TO watcher")
            yield server


@contextmanager
def running_standby(primary: Postgres) -> Iterator[Postgres]:
    """A standby, without TLS, that follows the primary."""
    with _owned_directory() as directory:
        data = directory / "data"
        _back_up(primary, data)
        with _serving(primary.programs, data, directory) as port:
            yield Postgres(host="127.0.0.1", port=port, directory=directory, programs=primary.programs)


def _back_up(primary: Postgres, data: Path) -> None:
    """Copy the files of a running server for a standby, as pg_basebackup does, which not every version brings."""
    with primary.connect() as connection:
        renamed = connection.info.server_version >= _BACKUP_FUNCTIONS_RENAMED
        start, stop = _BACKUP if renamed else _OLD_BACKUP
        connection.execute(start)
        shutil.copytree(primary.directory / "data", data, ignore=shutil.ignore_patterns("postmaster.*"))
        row = connection.execute(stop).fetchone()
    assert row is not None
    (data / "backup_label").write_text(row[0])
    (data / "standby.signal").touch()
    address = f"host={primary.host} port={primary.port} user=postgres password={PASSWORD}"
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"primary_conninfo = '{address}'\n")
    data.chmod(0o700)
    for path in (data, *data.rglob("*")):
        hand_over(path)


def _copied(programs: Path, directory: Path) -> Path:
    """The programs where the server's user may execute them, who may not look into the cache of root."""
    return shutil.copytree(programs.parent, directory / "programs", symlinks=True) / "bin"


def programs_directory() -> Path:
    """Where the server's programs are: Debian keeps them out of PATH."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    found = str(installed[-1]) if installed else shutil.which("postgres")
    assert found, "no PostgreSQL server is installed: apt-get install postgresql"
    return Path(found).parent


@contextmanager
def _serving(programs: Path, data: Path, directory: Path, *more: str) -> Iterator[int]:
    port = free_port()
    settings = " ".join(f"-c {option}" for option in (*_OPTIONS, *more))
    options = f"-p {port} -k {directory} -c listen_addresses=127.0.0.1 {settings}"
    control: list[str | Path] = [programs / "pg_ctl", "--pgdata", data, "--wait"]
    _as_server_user([*control, "--log", directory / "log", "--options", options, "start"])
    try:
        yield port
    finally:
        _as_server_user([*control, "--mode=immediate", "stop"])


@contextmanager
def _owned_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="upkeep-postgres-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        hand_over(directory)
        yield directory


def hand_over(path: Path) -> None:
    """The server refuses to run as root, so it gets a user of its own where the tests are root."""
    if os.geteuid() == 0:
        shutil.chown(path, _SERVER_USER)


def as_server_user(command: Sequence[str | Path]) -> list[str]:
    """The command as a user that a server may run as."""
    prefix = ["setpriv", f"--reuid={_SERVER_USER}", "--clear-groups"] if os.geteuid() == 0 else []
    return [*prefix, *map(str, command)]


def startable_programs(root: Path, *versions: Path) -> Path:
    """A new directory as Debian's /usr/lib/postgresql, of which a server can be started by root too.

    Args:
        root: that directory.
        versions: homes of the versions that are in it, which end with their number; left out: Debian's own.
    """
    for home in versions or [programs_directory().parent]:
        directory = root / home.name / "bin"
        directory.mkdir(parents=True)
        for program in (home / "bin").iterdir():
            if program.name in _REFUSES_ROOT:
                command = " ".join(as_server_user([program]))
                (directory / program.name).write_text(f'#!/bin/sh\n{_TAKE_OVER}\nexec {command} "$@"\n')
                (directory / program.name).chmod(0o755)
            else:
                (directory / program.name).symlink_to(program)
    return root


@contextmanager
def complete_programs() -> Iterator[list[Path]]:
    """The homes of all versions of which there are all programs, where every user may execute them."""
    with tempfile.TemporaryDirectory(prefix="upkeep-programs-") as name:
        Path(name).chmod(0o755)
        copied = shutil.copytree(servers.postgres_programs(), Path(name, "programs"), symlinks=True)
        yield [programs_directory().parent, *(copied / str(version) for version in servers.COMPLETE)]


def _as_server_user(command: Sequence[str | Path]) -> None:
    done = subprocess.run(
        as_server_user(command),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
