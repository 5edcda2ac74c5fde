"""The bare client: posts Jobs as fast as the transport goes, and does nothing else. `python -m bench.bare`.

It is a process of its own, as the other contestants are, with the same transport, event loop and number of connections
as Upkeep. It prints when it began, as an RFC 3339 instant, and the CPU seconds that it took from then on.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime

import uvloop

from bench.objects import bare_job, names
from upkeep.cluster.client import Client
from upkeep.cluster.resources import JOBS


async def post(namespace: str, count: int) -> tuple[datetime, float]:
    """Create the Jobs; returns when the first request was made, and the CPU seconds since."""
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    bodies = [bare_job(name, namespace, minute) for name in names(count)]
    async with await Client.connect(timeout=60.0) as client:
        begun, spent = datetime.now(UTC), time.process_time()
        await asyncio.gather(*(client.create(JOBS, body) for body in bodies))
        return begun, time.process_time() - spent


def main() -> None:
    """Post, and say when it began."""
    namespace, count = sys.argv[1], int(sys.argv[2])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        begun, cpu = runner.run(post(namespace, count))
    sys.stdout.write(f"{begun.isoformat()} {cpu:.2f}\n")


if __name__ == "__main__":
    main()
