"""Lock files on a volume and a database that speaks OSV: what is known is found, what is not known is not claimed."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from integration.bench import Bench, eventually
from integration.osvserver import JINJA, LODASH, MINIMIST, SAME_JINJA, UNGRADED, WITHDRAWN, Osv, serving_osv
from integration.test_http_check import always, response, serving
from lab.port import free_port
from upkeep.actions.contract import Grade, Outcome, Severity
from upkeep.actions.dependency.audit import DependencyAudit

NPM: Final = json.dumps(
    {
        "lockfileVersion": 3,
        "packages": {
            "": {"name": "shop", "version": "1.0.0"},
            "node_modules/lodash": {"version": "4.17.20", "resolved": "https://registry.example.com/lodash.tgz"},
            "node_modules/a/node_modules/minimist": {"version": "0.0.8"},
            "node_modules/own": {"link": True, "resolved": "packages/own"},
        },
    }
)
PIP: Final = """
# made by uv
-r requirements/base.txt
jinja2==3.1.2 ; python_version >= "3.8" \\
    --hash=sha256:30131af
Flask[async] == 3.0.0  # why
"""
UV: Final = """
version = 1
[[package]]
name = "shop"
version = "0.1"
source = { editable = "." }
[[package]]
name = "jinja2"
version = "3.1.2"
source = { registry = "https://pypi.example.com/simple" }
"""
YARN: Final = """
# yarn lockfile v1

"@babel/core@^7.0.0", "@babel/core@^7.1.0":
  version "7.1.0"
  resolved "https://registry.example.com/core.tgz"

old@npm:lodash@4:
  version "4.17.20"
"""
LATER_YARN: Final = """
__metadata:
  version: 8

"lodash@npm:^4.17.20":
  version: 4.17.20
  resolution: "lodash@npm:4.17.20"

"shop@workspace:.":
  version: 0.0.0-use.local
"""
NESTED: Final = {"a": {"version": "1.0.0", "dependencies": {"lodash": {"version": "4.17.20"}}}}
OLD_NPM: Final = json.dumps({"lockfileVersion": 1, "dependencies": NESTED})


@pytest.fixture
async def osv() -> AsyncIterator[Osv]:
    async with serving_osv() as osv:
        osv.know("npm", "lodash", "4.17.20", LODASH, WITHDRAWN)
        osv.know("npm", "minimist", "0.0.8", MINIMIST)
        osv.know("PyPI", "jinja2", "3.1.2", JINJA, SAME_JINJA)
        yield osv


@pytest.fixture
def root(bench: Bench, volume: Path, osv: Osv) -> Path:
    bench.connect_http(osv.url)
    return volume


def audit(**changes: object) -> DependencyAudit:
    return DependencyAudit.model_validate({"volume": "logs", "database": "shop", **changes})


def put(root: Path, path: str, text: str | bytes) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


async def test_each_weakness_is_a_finding_with_its_grade_age_and_remedy(bench: Bench, root: Path) -> None:
    put(root, "web/package-lock.json", NPM)
    put(root, "api/requirements.txt", PIP)
    put(root, "web/node_modules/a/package-lock.json", "not ours")

    result = await audit().run(bench.context())

    assert result.outcome is Outcome.FAILED
    assert result.message == "3 weaknesses are known in 4 packages of 2 lock files, 2 of them high or worse"
    found = {finding.object: finding for finding in result.findings}
    assert set(found) == {
        "npm minimist GHSA-xvch-5gv4-984h",
        "npm lodash GHSA-35jh-r3h4-6jhm",
        "PyPI jinja2 GHSA-h5c8-rqwp-cp95",
    }
    minimist = found["npm minimist GHSA-xvch-5gv4-984h"]
    assert (minimist.severity, minimist.grade, minimist.observed) == (Severity.CRITICAL, Grade.CRITICAL, 9.8)
    assert minimist.since == datetime(2022, 3, 18, 0, 1, 9, tzinfo=UTC)
    assert minimist.recommendation == (
        "0.0.8 in web/package-lock.json: update to 0.2.4 or 1.2.6 (Prototype Pollution in minimist)"
    )
    lodash = found["npm lodash GHSA-35jh-r3h4-6jhm"]
    assert (lodash.severity, lodash.grade, lodash.observed) == (Severity.WARNING, Grade.HIGH, 7.2)
    jinja = found["PyPI jinja2 GHSA-h5c8-rqwp-cp95"]
    assert (jinja.grade, jinja.observed) == (Grade.MEDIUM, 6.1)
    assert "update to 3.1.3 (" in jinja.recommendation


async def test_where_nothing_is_known_it_says_of_how_much(bench: Bench, root: Path, osv: Osv) -> None:
    put(root, "requirements.txt", "flask==3.0.0\n")
    step = await bench.step(audit())
    assert (step.outcome, step.message) == (Outcome.OK, "no weakness is known in 1 packages of 1 lock files")
    assert osv.asked == [{"queries": [{"package": {"name": "flask", "ecosystem": "PyPI"}, "version": "3.0.0"}]}]


@pytest.mark.parametrize(
    ("grade", "outcome"),
    [
        ("critical", Outcome.OK),
        ("high", Outcome.OK),
        ("medium", Outcome.FAILED),
        ("low", Outcome.FAILED),
        ("never", Outcome.OK),
    ],
)
async def test_the_grade_that_fails_can_be_chosen(bench: Bench, root: Path, grade: str, outcome: Outcome) -> None:
    put(root, "requirements.txt", "jinja2==3.1.2\n")
    report = await bench.report(audit(failsAt=grade))
    assert (report.outcome, len(report.findings)) == (outcome, 1)


async def test_what_is_ignored_counts_again_after_its_day(bench: Bench, root: Path) -> None:
    put(root, "requirements.txt", "jinja2==3.1.2\n")
    today = datetime.now(UTC).date()
    because = {"id": "CVE-2024-22195", "reason": "xmlattr is not used"}

    ignored = await bench.report(audit(ignore=[{**because, "until": str(today + timedelta(days=1))}]))
    late = await bench.report(audit(ignore=[{**because, "until": str(today - timedelta(days=1))}]))

    assert (ignored.outcome, ignored.findings) == (Outcome.OK, [])
    assert ignored.steps[0].metrics["ignored"] == 1
    (finding,) = late.findings
    assert finding.recommendation.endswith(f"; was ignored until {today - timedelta(days=1)}")


async def test_what_nobody_has_graded_counts_as_high(bench: Bench, root: Path, osv: Osv) -> None:
    osv.know("PyPI", "foo", "1", UNGRADED)
    put(root, "requirements.txt", "foo==1\n")

    report = await bench.report(audit())

    assert report.outcome is Outcome.FAILED
    (finding,) = report.findings
    assert finding.recommendation == (
        "1 in requirements.txt: no version without it is known: replace it (Something is wrong.\\x1b[31m)"
    )


async def test_answers_in_pages_are_read_to_their_end(bench: Bench, root: Path, osv: Osv) -> None:
    many = [{**LODASH, "id": f"GHSA-{number:04}-aaaa-aaaa", "aliases": []} for number in range(7)]
    osv.know("npm", "lodash", "4.17.20", *many)
    osv.page = 3
    put(root, "package-lock.json", NPM)
    report = await bench.report(audit())
    assert len([finding for finding in report.findings if "lodash" in finding.object]) == 7


async def test_many_packages_are_asked_for_in_batches(bench: Bench, root: Path, osv: Osv) -> None:
    put(root, "requirements.txt", "\n".join(f"package-{number}==1" for number in range(2500)))
    step = await bench.step(audit())
    assert step.outcome is Outcome.OK
    assert [len(body["queries"]) for body in osv.asked] == [1000, 1000, 500]


@pytest.mark.parametrize(
    ("name", "text", "packages"),
    [
        (
            "poetry.lock",
            '[[package]]\nname = "Jinja2"\nversion = "3.1.2"\n[metadata]\nlock-version = "2.0"\n',
            ["jinja2"],
        ),
        (
            "uv.lock",
            UV,
            ["jinja2"],
        ),
        ("pylock.toml", 'lock-version = "1.0"\n[[packages]]\nname = "jinja2"\nversion = "3.1.2"\n', ["jinja2"]),
        (
            "Pipfile.lock",
            '{"_meta": {}, "default": {"jinja2": {"version": "==3.1.2"}}, "develop": {"me": {"path": "."}}}',
            ["jinja2"],
        ),
        ("requirements/base.txt", "jinja2==3.1.2\n", ["jinja2"]),
        ("requirements-dev.txt", "-e .\njinja2===3.1.2\n", ["jinja2"]),
        (
            "yarn.lock",
            YARN,
            ["@babel/core", "lodash"],
        ),
        (
            "yarn.lock",
            LATER_YARN,
            ["lodash"],
        ),
        (
            "pnpm-lock.yaml",
            "lockfileVersion: '9.0'\npackages:\n  lodash@4.17.20: {}\n  '@a/b@1.0.0': {}\n",
            ["@a/b", "lodash"],
        ),
        ("pnpm-lock.yaml", "lockfileVersion: '6.0'\npackages:\n  /lodash@4.17.20(react@18.0.0): {}\n", ["lodash"]),
        ("pnpm-lock.yaml", "lockfileVersion: 5.4\npackages:\n  /lodash/4.17.20_react@18.0.0: {}\n", ["lodash"]),
        (
            "npm-shrinkwrap.json",
            OLD_NPM,
            ["a", "lodash"],
        ),
    ],
)
async def test_lock_files_of_many_kinds_are_read(
    bench: Bench, root: Path, osv: Osv, name: str, text: str, packages: list[str]
) -> None:
    put(root, name, text)

    step = await bench.step(audit(failsAt="never"))

    assert step.outcome is Outcome.OK, step.message
    assert [query["package"]["name"] for query in osv.asked[0]["queries"]] == packages


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("package-lock.json", "{", "package-lock.json cannot be read: it is no JSON"),
        ("package-lock.json", "[" * 100_000, "it is no JSON"),
        ("package-lock.json", "[]", "it has no list of packages"),
        ("poetry.lock", "= 1", "it is no TOML"),
        ("poetry.lock", 'a = "b"', "it has no list of packages"),
        ("uv.lock", "package = [1]", "it lists a package without a name"),
        ("pnpm-lock.yaml", "a: [", "it is no YAML"),
        ("pnpm-lock.yaml", "- 1", "it does not say its lockfileVersion"),
        ("yarn.lock", "lodash", "it does not begin as a yarn.lock does"),
        ("Pipfile.lock", '{"default": []}', "it has no lists of packages"),
        ("requirements.txt", b"\xff\xfe\x00", "it is not UTF-8 text"),
        ("requirements.txt", "\x1b[31m==1", "it has a line that is no requirement: "),
        ("requirements.txt", "flask>=3\n", "requirements.txt does not pin what can be looked up: flask"),
        ("requirements.txt", "-r ../common.txt\n", "does not pin what can be looked up: ../common.txt"),
        ("requirements.txt", "flask==3.*\n", "does not pin what can be looked up: flask"),
        ("requirements.txt", "shop @ git+https://example.com/shop\n", "does not pin what can be looked up: shop"),
        (
            "poetry.lock",
            '[[package]]\nname = "shop"\nversion = "1"\nsource = { type = "git", url = "x" }\n',
            "does not pin what can be looked up: shop",
        ),
    ],
)
async def test_what_cannot_be_read_or_looked_up_is_unknown(
    bench: Bench, root: Path, name: str, text: str | bytes, words: str
) -> None:
    put(root, name, text)
    step = await bench.step(audit())
    assert step.outcome is Outcome.UNKNOWN, step.message
    assert words in step.message
    assert "\x1b" not in step.message


async def test_a_weakness_fails_also_where_another_file_cannot_be_read(bench: Bench, root: Path) -> None:
    put(root, "a/package-lock.json", NPM)
    put(root, "b/package-lock.json", "{")
    step = await bench.step(audit())
    assert (step.outcome, "b/package-lock.json cannot be read" in step.message) == (Outcome.FAILED, True)


async def test_without_lock_files_nothing_is_known(bench: Bench, root: Path) -> None:
    put(root, "setup.py", "raise SystemExit('executed')")
    step = await bench.step(audit())
    assert step.outcome is Outcome.UNKNOWN
    assert step.message == "there is no lock file in 'logs': check path, and that the lock files are there"


async def test_links_lead_nowhere(bench: Bench, root: Path, tmp_path: Path) -> None:
    put(tmp_path / "outside", "requirements.txt", "jinja2==3.1.2\n")
    (root / "requirements.txt").symlink_to(tmp_path / "outside" / "requirements.txt")
    (root / "inner").symlink_to(tmp_path / "outside")
    assert (await bench.step(audit())).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("name", ['"; DROP', "größe", "-x", "x" * 150])
async def test_directories_may_have_any_name(bench: Bench, root: Path, name: str) -> None:
    put(root, f"{name}/requirements.txt", "jinja2==3.1.2\n")
    report = await bench.report(audit(path=name, failsAt="never"))
    assert (report.outcome, len(report.findings)) == (Outcome.OK, 1)


@pytest.mark.parametrize(("status", "words"), [(429, "asked too often"), (500, "status 500"), (404, "status 404")])
async def test_a_database_that_refuses_makes_it_unknown(
    bench: Bench, root: Path, osv: Osv, status: int, words: str
) -> None:
    osv.status = status
    put(root, "package-lock.json", NPM)
    step = await bench.step(audit())
    assert (step.outcome, words in step.message) == (Outcome.UNKNOWN, True)


async def test_a_database_without_one_of_its_advisories_makes_it_unknown(bench: Bench, root: Path, osv: Osv) -> None:
    del osv.records[LODASH["id"]]
    put(root, "package-lock.json", NPM)
    step = await bench.step(audit())
    assert step.outcome is Outcome.UNKNOWN, step.message
    assert "answers with status 404" in step.message


async def test_a_database_that_is_away_makes_it_unknown(bench: Bench, volume: Path) -> None:
    bench.connect_http(f"http://127.0.0.1:{free_port()}")
    put(volume, "package-lock.json", NPM)
    step = await bench.step(audit())
    assert (step.outcome, "nothing listens there" in step.message) == (Outcome.UNKNOWN, True)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"results": []}', b'{"results": [{"vulns": [1]}, 2]}'], ids=repr)
async def test_what_is_no_such_database_makes_it_unknown(bench: Bench, volume: Path, body: bytes) -> None:
    async with serving(always(response(200, body))) as url:
        bench.connect_http(url.partition("/health")[0])
        put(volume, "package-lock.json", NPM)
        step = await bench.step(audit())
    assert (step.outcome, "does not answer as OSV does" in step.message) == (Outcome.UNKNOWN, True), step.message


@pytest.mark.parametrize(
    "change",
    [
        {"affected": 1},
        {"affected": [1]},
        {"published": "yesterday"},
        {"published": 1},
        {"aliases": 1},
        {"affected": [{"ranges": [1]}]},
    ],
    ids=repr,
)
async def test_advisories_of_any_shape_crash_nothing(
    bench: Bench, root: Path, osv: Osv, change: dict[str, Any]
) -> None:
    osv.records[LODASH["id"]] = {**LODASH, **change}
    put(root, "package-lock.json", NPM)
    step = await bench.step(audit())
    assert (step.outcome, "does not answer as OSV does" in step.message) == (Outcome.UNKNOWN, True), step.message


async def test_a_stopped_step_ends(bench: Bench, volume: Path) -> None:
    begun = []

    async def never(number: int) -> bytes:
        begun.append(number)
        await asyncio.sleep(60)
        return b""

    async with serving(never) as url:
        bench.connect_http(url.partition("/health")[0])
        put(volume, "package-lock.json", NPM)
        running = asyncio.create_task(bench.step(audit()))
        await eventually(lambda: begun)
        running.cancel()
        step = await running
    assert (step.outcome, "SIGTERM" in step.message) == (Outcome.FAILED, True)
