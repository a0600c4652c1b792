"""A queue of things to look at: each stands in it once, has one worker at a time, and waits after failing."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

_PAUSES = (0.2, 60.0)


class Queue(Generic[K]):
    """Level-triggered work. ``work(key)`` is called until it succeeds; ``may`` is set while anything may be done."""

    def __init__(self, work: Callable[[K], Awaitable[None]], may: asyncio.Event) -> None:
        self._work = work
        self._may = may
        self._waiting: dict[K, None] = {}
        self._again: set[K] = set()
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._later: dict[K, asyncio.TimerHandle] = {}
        self._some = asyncio.Event()
        self.failed = 0
        """Failures since the start."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Look at it soon."""
        timer = self._later.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._busy:
            self._again.add(key)
        else:
            self._waiting[key] = None
            self._some.set()

    def add_later(self, key: K, seconds: float) -> None:
        """Look at it then, if nothing makes it sooner."""
        if key in self._later or key in self._waiting:
            return
        self._later[key] = asyncio.get_running_loop().call_later(seconds, self.add, key)

    async def run(self, workers: int) -> None:
        """Work for ever; cancel to end."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._serve())

    async def _serve(self) -> None:
        while True:
            await self._may.wait()
            if not self._waiting:
                self._some.clear()
                await self._some.wait()
                continue
            key = next(iter(self._waiting))
            del self._waiting[key]
            self._busy.add(key)
            try:
                await self._work(key)
                self._failures.pop(key, None)
            except Exception as error:
                self._failed(key, error)
            finally:
                self._busy.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    def _failed(self, key: K, error: Exception) -> None:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        self.failed += 1
        pause = min(_PAUSES[0] * 2**count, _PAUSES[1]) * (0.75 + random.random() / 2)  # noqa: S311 - jitter
        log.warning("not done, tried again", extra={"what": str(key), "in_seconds": pause, "reason": str(error)})
        log.debug("how it failed", exc_info=error)
        self.add_later(key, pause)
