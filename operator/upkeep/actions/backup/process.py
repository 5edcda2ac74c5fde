"""Runs one program without a shell, in an environment of its own, and stops it when its step is stopped.

Nothing of the Pod's environment reaches the program but PATH, and no argument may ever be a secret: arguments can
be read by everybody on the node.
"""

import asyncio
import os
import signal
from asyncio import StreamReader
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from upkeep.actions.contract import ActionError

_STOP_SECONDS: Final = 5.0
_PIECE: Final = 64 * 1024
_QUOTED: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A program that has ended.

    Attributes:
        code: its exit code; negative: the signal that ended it.
        output: what it wrote to standard output.
        errors: what it wrote to standard error.
        waited: for how many seconds others had to be waited for before it could run.
    """

    code: int
    output: str
    errors: str
    waited: float = 0.0

    @property
    def complaint(self) -> str:
        """The line of its standard error that says most: the first fatal one, else the last."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith("Fatal:") or ": error: " in line]
        return (fatal or lines[-1:] or [f"exit code {self.code}"])[0].removeprefix("Fatal: ")


async def run(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    line: Callable[[bytes], None] | None = None,
) -> Finished:
    """Run a program to its end. Cancelled, it gets SIGINT, on which restic unlocks and pg_dump cancels its query.

    What it complained of last then stands in a note of the CancelledError: that may be why it took too long.

    Args:
        arguments: the program and its arguments.
        environment: variables besides PATH, HOME, TMPDIR and the locale.
        directory: working directory, also for temporary files.
        line: is given each line of its standard output, which is not kept then.

    Raises:
        ActionError: there is no such program.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            cwd=directory,
            env={**_surroundings(directory), **environment},
        )
    except FileNotFoundError:
        raise _missing(arguments[0]) from None
    output, errors = bytearray(), bytearray()
    try:
        said = _told(process.stdout, line) if line else _heard(process.stdout, output)
        await asyncio.gather(said, _heard(process.stderr, errors), process.wait())
    except asyncio.CancelledError as stopped:
        await _stop(process, signal.SIGINT)
        if complaints := errors.decode(errors="replace").strip().splitlines():
            stopped.add_note(f"{arguments[0]} said: {complaints[-1].strip()[:_QUOTED]}")
        raise
    return Finished(
        code=process.returncode or 0,
        output=output.decode(errors="replace"),
        errors=errors.decode(errors="replace"),
    )


@asynccontextmanager
async def serving(
    arguments: Sequence[str], *, environment: Mapping[str, str], directory: Path, log: Path, stop: signal.Signals
) -> AsyncIterator[Process]:
    """A program that runs for as long as the block, and is gone afterwards, however the block ends.

    Args:
        arguments: the program and its arguments.
        environment: variables besides PATH, HOME, TMPDIR and the locale.
        directory: working directory, also for temporary files.
        log: file for all that it writes.
        stop: the signal on which it ends.

    Raises:
        ActionError: there is no such program.
    """
    with log.open("wb") as output:
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=DEVNULL,
                stdout=output,
                stderr=output,
                cwd=directory,
                env={**_surroundings(directory), **environment},
            )
        except FileNotFoundError:
            raise _missing(arguments[0]) from None
    try:
        yield process
    finally:
        await _stop(process, stop)


async def _heard(stream: StreamReader | None, said: bytearray) -> None:
    while stream and (piece := await stream.read(_PIECE)):
        said += piece


async def _told(stream: StreamReader | None, line: Callable[[bytes], None]) -> None:
    rest = b""
    while stream and (piece := await stream.read(_PIECE)):
        *lines, rest = (rest + piece).split(b"\n")
        for each in lines:
            line(each)
    line(rest)


def _surroundings(directory: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "LC_ALL": "C.UTF-8",
    }


def _missing(program: str) -> ActionError:
    return ActionError(f"the program {program} is not installed in this image: use the image of this Upkeep version")


async def _stop(process: Process, how: signal.Signals) -> None:
    if process.returncode is not None:
        return
    process.send_signal(how)
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
