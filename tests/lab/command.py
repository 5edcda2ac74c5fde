"""Runs a program to its end and turns a failure into a sentence.

It must never go through a shell, nor print what the program printed unless it failed.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from lab.failure import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

SHOWN_LINES = 25
"""So much of a failed program's output is worth reading."""


def tail(text: str, *, lines: int = SHOWN_LINES) -> str:
    """Return the last lines of an output, indented for quoting."""
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-lines:])


def run(
    argv: Sequence[str | Path],
    *,
    doing: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run `argv` and return its standard output.

    Raises:
        LabError: it could not be started, or ended with another code than 0; `doing` opens the message.
    """
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            cwd=cwd,
            env=env,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        message = f"{doing}: {argv[0]} cannot be started: {error.strerror}."
        raise LabError(message) from error
    if done.returncode:
        message = f"{doing}: {argv[0]} ended with code {done.returncode}:\n{tail(done.stderr or done.stdout)}"
        raise LabError(message)
    return done.stdout


def follow(
    argv: Sequence[str | Path],
    *,
    doing: str,
    on_line: Callable[[str], None],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run `argv` and hand over every line it prints (both streams) while it runs.

    Raises:
        LabError: as `run` does.
    """
    seen: list[str] = []
    try:
        program = subprocess.Popen(
            [str(word) for word in argv],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except OSError as error:
        message = f"{doing}: {argv[0]} cannot be started: {error.strerror}."
        raise LabError(message) from error
    with program:
        assert program.stdout is not None  # asked for with PIPE above
        for line in program.stdout:
            seen = [*seen[-SHOWN_LINES:], line.rstrip()]
            on_line(line.rstrip())
    if program.returncode:
        message = f"{doing}: {argv[0]} ended with code {program.returncode}:\n{tail(chr(10).join(seen))}"
        raise LabError(message)


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Whether a probing command is there and ends with 0; its output does not matter."""
    try:
        done = subprocess.run(
            [str(word) for word in argv], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
