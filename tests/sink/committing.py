"""A process that commits one log to a destination until it is killed: `python -m tests.sink.committing URL`.

The log is the same each time, so a new process goes on where the destination stands. Each line it prints is a size
that was acknowledged, that is, that must never be lost again.
"""

import asyncio
import sys

from meterfabric_sink.destination.base import Destination
from meterfabric_sink.destination.file import FileDestination
from meterfabric_sink.destination.open import destination, local_path
from tests.sink.sink_logs import Log

PER_BATCH = 50
BATCHES = 3
SEGMENT_BYTES = 100_000  # a rotation every few commits


def log_at(size: int) -> Log:
    """The log as it was when the destination took it to `size`."""
    log = Log("killed")
    while log.size < size:
        log.records(PER_BATCH)
    log.next()
    return log


async def commit_until_killed(sink: Destination) -> None:
    """Never returns."""
    await sink.open()
    held = (await sink.positions([log_at(0).origin])).get(log_at(0).origin)
    log = log_at(held.size if held else 0)
    print(log.size, flush=True)
    while True:
        for _ in range(BATCHES):
            log.records(PER_BATCH)
        await sink.commit([log.next()])
        print(log.size, flush=True)


if __name__ == "__main__":
    url = sys.argv[1]
    local = url.startswith("file:")
    sink = FileDestination(local_path(url), segment_bytes=SEGMENT_BYTES) if local else destination(url)
    asyncio.run(commit_until_killed(sink))
