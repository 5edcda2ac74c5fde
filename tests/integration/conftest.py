"""Servers that live as long as the test session, and what a step needs to reach them."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration import postgres, redisserver, s3server
from integration.bench import Bench
from integration.resticstore import Store
from upkeep.actions.backup.programs import ROOT_VARIABLE

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    with postgres.running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def standby(postgres_server: postgres.Postgres) -> Iterator[postgres.Postgres]:
    with postgres.running_standby(postgres_server) as server:
        yield server


@pytest.fixture
def database(postgres_server: postgres.Postgres) -> Iterator[postgres.Database]:
    with postgres_server.database(f"shop_{next(_NUMBERS)}") as database:
        yield database


@pytest.fixture(scope="session", params=redisserver.Product)
def redis_product(request: pytest.FixtureRequest) -> redisserver.Product:
    """Whoever made the server: what works with one has to work with the other."""
    return redisserver.Product(request.param)


@pytest.fixture(scope="session")
def redis_server(redis_product: redisserver.Product) -> Iterator[redisserver.RedisServer]:
    with redisserver.running_redis(product=redis_product) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(redis_product: redisserver.Product) -> Iterator[list[redisserver.RedisServer]]:
    with redisserver.running_cluster(redis_product) as servers:
        yield servers


@pytest.fixture(scope="session")
def s3() -> Iterator[s3server.S3Server]:
    with s3server.running_s3() as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A Pod with no credentials but the repository's, in which a server can be started as in any that is not root."""
    with tempfile.TemporaryDirectory(prefix="upkeep-pod-", ignore_cleanup_errors=True) as name:
        bench = Bench(Path(name))
        bench.repository_secret()
        programs = postgres.startable_programs(Path(name) / "programs")
        monkeypatch.setenv(ROOT_VARIABLE, str(programs))
        Path(name).chmod(0o755)
        bench.scratch.chmod(0o777)
        yield bench
        assert list(bench.scratch.iterdir()) == [], "something was left behind"


@pytest.fixture(scope="session")
def complete_programs() -> Iterator[list[Path]]:
    with postgres.complete_programs() as homes:
        yield homes


@pytest.fixture
def many_versions(complete_programs: list[Path], pod: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image with more than one version of PostgreSQL's programs."""
    root = postgres.startable_programs(pod.scratch.parent / "more-programs", *complete_programs)
    monkeypatch.setenv(ROOT_VARIABLE, str(root))


@pytest.fixture
def store(bench: Bench, tmp_path: Path) -> Store:
    """A repository that is not there yet."""
    return Store(tmp_path / "repository", bench.repository_secret())


@pytest.fixture
def volume(bench: Bench) -> Path:
    return bench.connect_volume()


@pytest.fixture
def reachable_bench() -> Iterator[Bench]:
    """A bench in a directory that other users can reach."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Bench(Path(directory))
