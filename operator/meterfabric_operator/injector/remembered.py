"""Reads that many share: one serves all who ask within a second, and what was read last serves while none succeeds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

FRESH: Final = 1.0
"""Seconds for which what was read is taken for what is."""
KNOWN: Final = 300.0
"""Seconds for which it is taken where it can't be read again."""
_PATIENCE = 2.0
_KEPT = 4096


@dataclass(frozen=True)
class _Seen(Generic[V]):
    value: V
    at: float


class Remembered(Generic[K, V]):
    """``read(key)`` with a memory of a few thousand keys. `recalled` counts answers of which the read had failed."""

    def __init__(self, read: Callable[[K], Awaitable[V]], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._seen: dict[K, _Seen[V]] = {}
        self._under_way: dict[K, asyncio.Task[V]] = {}
        self.recalled = 0

    async def get(self, key: K) -> V:
        """What it is now. Raises what ``read`` does, or TimeoutError, where nothing is remembered."""
        seen = self._seen.get(key)
        if seen is not None and self._clock() - seen.at <= FRESH:
            return seen.value
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._look(key))
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        try:
            # Who asked first may hang up; others still wait for the answer.
            return await asyncio.shield(task)
        except Exception:
            if seen is None or self._clock() - seen.at > KNOWN:
                raise
            self.recalled += 1
            return seen.value

    async def _look(self, key: K) -> V:
        asked = self._clock()
        async with asyncio.timeout(_PATIENCE):
            value = await self._read(key)
        self._seen.pop(key, None)
        self._seen[key] = _Seen(value, asked)
        while len(self._seen) > _KEPT:
            del self._seen[next(iter(self._seen))]
        return value
