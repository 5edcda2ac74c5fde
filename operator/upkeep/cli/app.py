"""Entry point. Commands import what they need when they are called, so that a run starts quickly."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from upkeep import __version__


def _run() -> int:
    from upkeep.runner.start import loaded  # noqa: PLC0415 - a run must not load the operator

    return loaded()()


def _page() -> int:
    from upkeep.web.page import main as command  # noqa: PLC0415 - a page must not load the operator

    return command()


def _status_page() -> int:
    from upkeep.web.status.server import main as command  # noqa: PLC0415 - only this command needs it

    return command()


def _operator() -> int:
    from upkeep.controller.operator import main as command  # noqa: PLC0415 - only the operator loads Kopf

    return command()


def _restore() -> int:
    from upkeep.cli.restore import main as command  # noqa: PLC0415 - only this command needs it

    return command(sys.argv[2:])


def _retire() -> int:
    from upkeep.cli.retire import main as command  # noqa: PLC0415 - only this command needs it

    return command(sys.argv[2:])


def _approve() -> int:
    from upkeep.cli.approve import approve  # noqa: PLC0415 - only this command needs it

    return approve(sys.argv[2:])


def _tick() -> int:
    from upkeep.cli.approve import tick  # noqa: PLC0415 - only this command needs it

    return tick(sys.argv[2:])


def _ask() -> int:
    from upkeep.cli.ask import main as command  # noqa: PLC0415 - only these commands need it

    return command(sys.argv[1], sys.argv[2:])


def _upcoming() -> int:
    from upkeep.cli.upcoming import main as command  # noqa: PLC0415 - only this command needs it

    return command(sys.argv[2:])


def _backup() -> int:
    from upkeep.cli.backup import main as command  # noqa: PLC0415 - only this command needs it

    return command(sys.argv[2:])


def _runbook() -> int:
    from upkeep.cli.runbook import main as command  # noqa: PLC0415 - only this command needs it

    return command(sys.argv[2:])


def _actions() -> int:
    from upkeep.cli.actions import main as command  # noqa: PLC0415 - only this command needs it

    return command(sys.argv[2:])


def _version() -> int:
    sys.stdout.write(f"upkeep {__version__}\n")
    return 0


COMMANDS: Final[Mapping[str, tuple[Callable[[], int], str]]] = {
    "operator": (_operator, "run the operator (needs UPKEEP_IMAGE and UPKEEP_NAMESPACE)"),
    "run": (_run, "execute the steps of a run inside a Job's Pod"),
    "page": (_page, "serve a maintenance page inside its Pod"),
    "status-page": (_status_page, "serve the status page inside its Pod"),
    "restore": (_restore, "take everything off its maintenance page without the operator"),
    "retire": (_retire, "stop the operator and put everything back, before it is uninstalled"),
    "approve": (_approve, "approve an opening of a window, in your own name"),
    "tick": (_tick, "tick off an item of a window's checklist, in your own name"),
    "start": (_ask, "open a window now"),
    "end": (_ask, "end a window that is open"),
    "extend": (_ask, "let a window that is open end later"),
    "cancel": (_ask, "call off the next opening of a window, or the one under way"),
    "upcoming": (_upcoming, "show when windows open in any range of time, and when not and why"),
    "backup": (_backup, "list backups; make one, prove one or restore one now"),
    "runbook": (_runbook, "print what a task is for, and what to do by hand"),
    "actions": (_actions, "print what a step can do: parameters, privileges, locks and findings"),
    "version": (_version, "print the version"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first argument names, and exit with its code."""
    name = (list(arguments) if arguments is not None else sys.argv[1:] or ["help"])[0]
    if name in COMMANDS:
        sys.exit(COMMANDS[name][0]())
    width = max(map(len, COMMANDS))
    lines = [f"  {command:<{width}}  {meaning}" for command, (_, meaning) in COMMANDS.items()]
    sys.stdout.write("\n".join(["usage: upkeep COMMAND", "", *lines, ""]))
    sys.exit(0 if name in {"help", "-h", "--help"} else 2)
