"""The frame of a long-running process: start, run until told to stop, stop within a bound.

A component's `main` is one coroutine that is given a `Stop`:

    async def main(stop: Stop) -> None:
        ...start...
        started()
        await stop.wait()
        ...drain, at most stop.remaining() seconds...
"""

import asyncio
import gc
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

from meterfabric_runtime import memory

log = logging.getLogger(__name__)

EXIT_CLEAN = 0
EXIT_FAILED = 1
EXIT_SETTINGS = 2
EXIT_OVERDUE = 3

# Objects made between two collections once a process runs: its traffic makes few cycles, so look rarely.
_COLLECT_AFTER = 50_000
# What a cancelled main may still take, so that `finally` blocks close files and sockets.
_LAST_SECONDS = 5.0


class Stop:
    """The wish to stop: set by SIGTERM, SIGINT or `request`, and the time left from then on."""

    def __init__(self, grace: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._event = asyncio.Event()
        self._grace = grace
        self._clock = clock
        self._deadline: float | None = None
        self.reason = ""
        self.listen: Callable[[], None] = lambda: None
        """Takes SIGTERM and SIGINT again, for who uses a library that takes them for itself."""

    def request(self, reason: str) -> None:
        """Ask for the stop; asking again changes nothing."""
        if self._deadline is None:
            self._deadline = self._clock() + self._grace
            self.reason = reason
            self._event.set()

    @property
    def requested(self) -> bool:
        return self._deadline is not None

    async def wait(self) -> None:
        await self._event.wait()

    def remaining(self) -> float:
        """Seconds until main is cancelled; the whole grace while no stop was requested."""
        if self._deadline is None:
            return self._grace
        return max(0.0, self._deadline - self._clock())


Main = Callable[[Stop], Awaitable[None]]


def started() -> None:
    """Call once everything is built: what lives now lives to the end, so the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 100)


def run(main: Main, *, grace: float = 30.0) -> int:
    """Run `main` on uvloop and return the process's exit code.

    The first SIGTERM or SIGINT requests the stop; main then has `grace` seconds, after which, or at a second
    signal, it is cancelled. Codes: 0 main returned; 1 main raised; 3 main had to be cancelled.
    """
    memory.settle()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(supervise(main, grace))


def run_and_exit(main: Main, *, grace: float = 30.0) -> None:
    """`run`, then leave with its code."""
    sys.exit(run(main, grace=grace))


async def supervise(main: Main, grace: float) -> int:
    """`run`, inside a loop that is there already; takes over the loop's SIGTERM and SIGINT while it lasts."""
    loop = asyncio.get_running_loop()
    stop = Stop(grace)
    hurry = asyncio.Event()

    def on_signal(name: str) -> None:
        if stop.requested:
            log.warning("second signal: stopping at once", extra={"signal": name})
            hurry.set()
        else:
            log.info("stopping", extra={"signal": name, "grace_seconds": grace})
            stop.request(name)

    signals = (signal.SIGTERM, signal.SIGINT)

    def listen() -> None:
        for number in signals:
            loop.add_signal_handler(number, on_signal, number.name)

    stop.listen = listen
    listen()
    work = asyncio.ensure_future(_awaited(main(stop)))
    overdue = asyncio.ensure_future(_overdue(stop, hurry))
    try:
        await asyncio.wait({work, overdue}, return_when=asyncio.FIRST_COMPLETED)
        late = not work.done()
        if late:
            work.cancel()
            await asyncio.wait({work}, timeout=_LAST_SECONDS)
        return _outcome(work, late)
    finally:
        overdue.cancel()
        for number in signals:
            loop.remove_signal_handler(number)


async def _awaited(work: Awaitable[None]) -> None:
    await work


async def _overdue(stop: Stop, hurry: asyncio.Event) -> None:
    await stop.wait()
    try:
        async with asyncio.timeout(stop.remaining()):
            await hurry.wait()
    except TimeoutError:
        log.error("not stopped in time: cancelling", extra={"reason": stop.reason})


def _outcome(work: asyncio.Future[None], late: bool) -> int:
    if not work.done():
        log.error("the main task ignored its cancellation")
        return EXIT_OVERDUE
    if not work.cancelled() and (error := work.exception()) is not None:
        log.error("failed: %s", error, exc_info=error)
        return EXIT_FAILED
    if late or work.cancelled():
        return EXIT_OVERDUE
    log.info("stopped")
    return EXIT_CLEAN
