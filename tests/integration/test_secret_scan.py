"""The real gitleaks over the files of a volume: what looks like a secret is found and never shown."""

import asyncio
import os
import secrets
import string
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from integration.bench import Bench, eventually
from lab import scanners
from upkeep.actions.contract import Outcome, Severity
from upkeep.actions.secret.scan import SecretScan

LETTERS: Final = string.ascii_letters + string.digits


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{scanners.gitleaks()}:{os.environ['PATH']}")


@pytest.fixture
def token() -> str:
    """Looks like a token of GitHub, and is none."""
    return "ghp_" + "".join(secrets.choice(LETTERS) for _ in range(36))


@pytest.fixture
def root(volume: Path) -> Iterator[Path]:
    yield volume
    for path in volume.rglob("*"):
        path.chmod(0o755, follow_symlinks=path.is_symlink())


def scan(**changes: object) -> SecretScan:
    return SecretScan.model_validate({"volume": "logs", **changes})


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


async def test_what_looks_like_a_secret_is_a_finding_and_never_shown(
    bench: Bench, root: Path, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(root, "deploy/values.yaml", f"image: shop\ngithubToken: {token}\nagain: {token}\n")

    with caplog.at_level("DEBUG"):
        report = await bench.report(scan())

    assert report.outcome is Outcome.FAILED
    assert report.steps[0].message == "2 places look like secrets"
    (finding,) = report.findings
    assert (finding.severity, finding.object) == (Severity.CRITICAL, "deploy/values.yaml github-pat")
    assert finding.recommendation.startswith("line 2, 3: replace it where it is used, then take it out (")
    assert token not in report.encode() + caplog.text
    assert token not in "".join(str(record.__dict__) for record in caplog.records)
    assert list(bench.scratch.iterdir()) == [], "nothing is left"


async def test_where_nothing_is_found_it_is_ok(bench: Bench, root: Path) -> None:
    put(root, "main.py", "password = os.environ['PASSWORD']\n")
    step = await bench.step(scan())
    assert (step.outcome, step.message) == (Outcome.OK, "nothing looks like a secret")


async def test_what_is_allowed_does_not_count_until_its_day(bench: Bench, root: Path, token: str) -> None:
    put(root, "tests/data/a.txt", f"token = {token}\n")
    allowed = {"path": "tests/*", "reason": "made up"}
    yesterday = str(datetime.now(UTC).date() - timedelta(days=1))

    good = await bench.step(scan(allow=[{**allowed, "rule": "github-pat"}]))
    other = await bench.step(scan(allow=[{**allowed, "rule": "aws-access-token"}]))
    late = await bench.step(scan(allow=[{**allowed, "until": yesterday}]))

    assert (good.outcome, good.metrics["allowed"]) == (Outcome.OK, 1)
    assert (other.outcome, late.outcome) == (Outcome.FAILED, Outcome.FAILED)


async def test_it_need_not_fail(bench: Bench, root: Path, token: str) -> None:
    put(root, "a", f"token = {token}\n")
    report = await bench.report(scan(fails=False))
    assert (report.outcome, len(report.findings)) == (Outcome.OK, 1)


async def test_the_directory_cannot_make_itself_clean(bench: Bench, root: Path, token: str) -> None:
    put(root, ".gitleaks.toml", '[[rules]]\nid = "none"\nregex = "nothing"\n')
    put(root, "a", f"token = {token} # gitleaks:allow\n")
    assert (await bench.step(scan())).outcome is Outcome.FAILED

    # what it may leave out is told
    put(root, ".gitleaksignore", "a:github-pat:1\n")
    step = await bench.step(scan())
    assert (step.outcome, step.message) == (
        Outcome.OK,
        "nothing looks like a secret; what its .gitleaksignore names is left out",
    )


async def test_files_that_are_too_large_make_it_unknown(bench: Bench, root: Path) -> None:
    put(root, "large.txt", "x y\n" * 500_000)
    step = await bench.step(scan(maxFileMegabytes=1))
    assert step.outcome is Outcome.UNKNOWN
    assert "1 files or directories were not read (file: too large" in step.message
    assert "path=large.txt): raise maxFileMegabytes" in step.message
    assert (await bench.step(scan(maxFileMegabytes=3))).outcome is Outcome.OK


async def test_links_lead_nowhere(bench: Bench, root: Path, tmp_path: Path, token: str) -> None:
    put(tmp_path / "outside", "a", f"token = {token}\n")
    (root / "file").symlink_to(tmp_path / "outside" / "a")
    (root / "directory").symlink_to(tmp_path / "outside")
    assert (await bench.step(scan())).outcome is Outcome.OK

    through = await bench.step(scan(path="directory"))
    assert through.outcome is Outcome.FAILED
    assert "no part of it is a symbolic link" in through.message


@pytest.mark.parametrize("name", ['"; DROP', "größe", "-x", "--config=x", "x" * 150, "\x1b[31m", "a\nb"])
async def test_files_and_directories_may_have_any_name(bench: Bench, root: Path, token: str, name: str) -> None:
    put(root, f"{name}/{name}", f"token = {token}\n")
    report = await bench.report(scan())
    assert report.outcome is Outcome.FAILED
    assert len(report.findings) == 1
    assert report.findings[0].object.isprintable()


async def test_a_stopped_step_ends_the_scanner(bench: Bench, root: Path) -> None:
    for number in range(40):
        put(root, f"{number}.txt", "".join(secrets.choice(LETTERS + " =\n") for _ in range(20_000)) * 50)
    running = asyncio.create_task(bench.step(scan()))
    await eventually((bench.scratch / "gitleaks.log").exists)
    running.cancel()
    step = await running
    assert (step.outcome, "SIGTERM" in step.message) == (Outcome.FAILED, True)
    assert list(bench.scratch.iterdir()) == []


async def test_an_image_without_it_is_told(bench: Bench, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(root))
    step = await bench.step(scan())
    assert (step.outcome, step.message) == (Outcome.FAILED, "gitleaks is not in this image: use Upkeep's own")
