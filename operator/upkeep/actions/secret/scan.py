"""Looks for passwords, keys and tokens in the files of a volume, by gitleaks and the rules that come with it.

What is found is never shown, logged or kept: gitleaks blackens it before it writes anything down.
"""

import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, Field

from upkeep.actions.contract import Action, ActionError, Context, Finding, Outcome, Result, Severity, UncheckableError
from upkeep.actions.fields import LabelName, Model
from upkeep.actions.text import readable
from upkeep.actions.volume.tree import InnerPath, StoppedError, Tree, work_in

PROGRAM: Final = "gitleaks"

_CONFIGURATION: Final = "[extend]\nuseDefault = true\n"
"""Named explicitly, or the directory itself could bring one that finds nothing."""
_LOOK_SECONDS: Final = 0.1
_MOST_BYTES: Final = 32 * 1024 * 1024
_SKIPPED: Final = " skipping "
_NAMED: Final = 3
_LINES: Final = 5
_MEMORY: Final = "GOMEMLIMIT=128MiB"
_AT_ONCE: Final = "GOMAXPROCS=2"


def _a_day(text: str) -> str:
    date.fromisoformat(text)
    return text


Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_a_day)]


class Allowed(Model):
    """Places in which what looks like a secret is none."""

    path: Annotated[str, Field(min_length=1, max_length=256)]
    """Path of a file below the step's directory; `*` stands for any characters, also `/`."""
    rule: Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9-]*$")] = ""
    """Rule of gitleaks, as findings name it. Left out: every rule."""
    until: Day | None = None
    """The last day (UTC) on which it is allowed. Left out: for good."""
    reason: Annotated[str, Field(min_length=1, max_length=256)]
    """Why it is none, for example: made up for tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """What gitleaks says.

    Attributes:
        found: one entry a place.
        skipped: what it has not read, and why; safe to show.
        ignoring: whether a .gitleaksignore of the directory was obeyed.
    """

    found: Sequence[Mapping[str, Any]]
    skipped: Sequence[str]
    ignoring: bool


class SecretScan(Action):
    """Looks for passwords, keys and tokens in the files of a volume, for example in a repository checked out there.

    Each file and rule is a finding with the lines; what was found is never shown. It is `unknown`, and not `ok`, where
    files were too large or could not be read. Not looked at are the history of git, archives, symbolic links, and
    what gitleaks leaves out by itself: images, fonts, lock files, node_modules. Comments `gitleaks:allow` do not
    count; a file .gitleaksignore in the directory does, and is told of.
    Locks: none. Privileges: group 65532 may read the files.
    Source of the rules: gitleaks 8.30.1, its default configuration.
    """

    action_name: ClassVar[str] = "secretScan"
    check: ClassVar[bool] = True
    finds: ClassVar[Mapping[str, str]] = {"secret.exposed": "something in a file looks like a secret"}

    volume: LabelName
    """Name of a volume connection."""
    path: InnerPath = ""
    """Directory in the volume; left out: all of it. Directories below are looked at too."""
    max_file_megabytes: Annotated[int, Field(ge=1, le=1000)] = 10
    """Larger files are not read, and told of."""
    allow: Annotated[list[Allowed], Field(max_length=64)] = Field(default_factory=list)
    """Places in which what looks like a secret is none."""
    fails: bool = True
    """Whether something that looks like a secret lets the step fail."""

    def connection_names(self) -> Sequence[str]:
        """The volume's."""
        return [self.volume]

    async def run(self, context: Context) -> Result:
        """Look, and tell where.

        Raises:
            ActionError: no such connection or directory, or gitleaks fails.
            UncheckableError: it finds more than can be told.
        """
        scan = await work_in(context, self.volume, self.path, partial(self._scan, context.scratch))
        places: dict[tuple[str, str], list[int]] = defaultdict(list)
        descriptions, allowed = {}, 0
        for each in scan.found:
            path, rule = str(each.get("File")), str(each.get("RuleID"))
            if self._allows(path, rule):
                allowed += 1
                continue
            places[path, rule].append(int(each.get("StartLine") or 0))
            descriptions[rule] = str(each.get("Description"))
        findings = [_finding(path, rule, lines, descriptions[rule]) for (path, rule), lines in sorted(places.items())]
        count = sum(map(len, places.values()))
        summary = f"{count} places look like secrets" if count else "nothing looks like a secret"
        return Result(
            outcome=self._outcome(count, scan),
            message="; ".join([summary, *_doubts(scan)]),
            findings=findings,
            metrics={"places": float(count), "allowed": float(allowed), "skipped": float(len(scan.skipped))},
        )

    def _outcome(self, count: int, scan: _Scan) -> Outcome:
        if count and self.fails:
            return Outcome.FAILED
        return Outcome.UNKNOWN if scan.skipped else Outcome.OK

    def _allows(self, path: str, rule: str) -> bool:
        today = str(datetime.now(UTC).date())
        return any(
            fnmatchcase(path, each.path) and each.rule in {"", rule} and (each.until is None or each.until >= today)
            for each in self.allow
        )

    def _scan(self, scratch: Path, tree: Tree) -> _Scan:
        """Runs in a thread; the directory is the one that is open, whatever becomes of its name."""
        report, said, configuration = (scratch / f"{PROGRAM}.{end}" for end in ("json", "log", "toml"))
        configuration.write_text(_CONFIGURATION)
        command = [
            PROGRAM,
            "dir",
            f"--config={configuration}",
            f"--gitleaks-ignore-path={scratch}",
            f"--max-target-megabytes={self.max_file_megabytes}",
            "--ignore-gitleaks-allow",
            "--report-format=json",
            f"--report-path={report}",
            "--redact=100",
            "--exit-code=0",
            "--log-level=warn",
            "--no-banner",
            "--no-color",
            ".",
        ]
        try:
            self._attend(command, said, tree)
            return _Scan(found=_read(report), skipped=_skipped(said), ignoring=_has(tree, ".gitleaksignore"))
        finally:
            for file in (report, said, configuration):
                file.unlink(missing_ok=True)

    def _attend(self, command: Sequence[str], said: Path, tree: Tree) -> None:
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(said.parent)}
        environment |= dict(setting.split("=") for setting in (_MEMORY, _AT_ONCE))
        try:
            with said.open("wb") as log:
                process = subprocess.Popen(  # noqa: S603 - no shell, and nothing in it that a user could have written
                    command,
                    cwd=f"/proc/{os.getpid()}/fd/{tree.root}",
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                )
        except FileNotFoundError:
            msg = f"{PROGRAM} is not in this image: use Upkeep's own"
            raise ActionError(msg) from None
        try:
            while process.poll() is None:
                if tree.stopped.wait(_LOOK_SECONDS):
                    raise StoppedError
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            last = readable(said.read_bytes()[-200:].decode(errors="replace")).strip()
            msg = f"{PROGRAM} failed (exit code {process.returncode}): {last}: look whether the Pod has enough memory"
            raise ActionError(msg)


def _read(report: Path) -> Sequence[Mapping[str, Any]]:
    if report.stat().st_size > _MOST_BYTES:
        msg = f"{PROGRAM} finds more than can be told: name a directory in path, or allow places"
        raise UncheckableError(msg)
    found = json.loads(report.read_bytes() or b"[]")
    return found if isinstance(found, list) else []


def _skipped(said: Path) -> list[str]:
    """What it has left out, as it says it: `… WRN skipping file: too large max_size=2MB path=a`."""
    with said.open(errors="replace") as lines:
        return [readable(line.partition(_SKIPPED)[2].strip()) for line in lines if _SKIPPED in line]


def _has(tree: Tree, name: str) -> bool:
    try:
        os.stat(name, dir_fd=tree.root)
    except OSError:
        return False
    return True


def _doubts(scan: _Scan) -> Iterator[str]:
    if scan.skipped:
        named = ", ".join(scan.skipped[:_NAMED]) + (", …" if scan.skipped[_NAMED:] else "")
        advice = "raise maxFileMegabytes, or let group 65532 read them"
        yield f"{len(scan.skipped)} files or directories were not read ({named}): {advice}"
    if scan.ignoring:
        yield "what its .gitleaksignore names is left out"


def _finding(path: str, rule: str, lines: Sequence[int], description: str) -> Finding:
    places = sorted(set(lines))
    shown = ", ".join(map(str, places[:_LINES])) + (", …" if places[_LINES:] else "")
    return Finding(
        check_id="secret.exposed",
        severity=Severity.CRITICAL,
        object=f"{readable(path)} {readable(rule)}",
        observed=len(lines),
        threshold=1,
        unit="places",
        recommendation=f"line {shown}: replace it where it is used, then take it out ({readable(description)[:120]})",
    )
