"""Starts operators by fork, so that a hundred starts cost the time of one: the imports happen once.

It exists because each start from scratch burns more than a second of CPU. What it forks is the real thing: the same
entry point, an environment of its own, its own process, its own log. It must never outlive whoever started it.

It reads requests and writes answers, one JSON object a line:
    {"id": 1, "argv": ["operator"], "environment": {…}, "log": "/…"}
    {"id": 1, "pid": 42}, and when it has ended {"id": 1, "code": -9}
"""

import contextlib
import gc
import json
import os
import select
import signal
import sys
import traceback
from typing import Any, Final

from kubernetes.aio.config import kube_config

from upkeep.cli.app import main
from upkeep.controller import operator as imported_once

_REQUESTS: Final = 0
_ANSWERS: Final = 1


def serve() -> None:
    """Fork as asked until nobody can ask any more; then kill what still runs."""
    assert imported_once
    # What is there now is shared with all children for ever; collecting it would copy every page.
    gc.collect()
    gc.freeze()
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    running: dict[int, int] = {}
    rest = b""
    while True:
        ready, _, _ = select.select([_REQUESTS, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            _bury(running)
        if _REQUESTS not in ready:
            continue
        data = os.read(_REQUESTS, 1 << 16)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            pid = _bear(request, inherited=(wake, woken))
            running[pid] = request["id"]
            _answer({"id": request["id"], "pid": pid})
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _bear(request: dict[str, Any], *, inherited: tuple[int, int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        for descriptor in (log, nothing, *inherited):
            os.close(descriptor)
        _move_in(request["environment"], request["argv"])
        main(request["argv"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - whatever it is, this copy of the nursery must not go on as a second one
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _move_in(environment: dict[str, str], argv: list[str]) -> None:
    """Make the process look as if it had been started with this environment and these arguments."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["upkeep", *argv]
    # The library reads the variable when it is imported.
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = environment.get("KUBECONFIG", "")


def _bury(running: dict[int, int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _answer({"id": running.pop(pid), "code": os.waitstatus_to_exitcode(status)})


def _answer(answer: dict[str, int]) -> None:
    os.write(_ANSWERS, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    serve()
