"""Bytes of request bodies in memory at once: a request waits for its share before its body is read."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """`total` bytes, handed out in the order of asking, so that a large request is not starved by small ones."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @asynccontextmanager
    async def share(self, size: int, patience: float) -> AsyncIterator[None]:
        """Hold `size` bytes while inside. Raises TimeoutError when they don't come free in `patience` seconds."""
        size = min(size, self.total)
        if self._queue or self.used + size > self.total:
            await self._turn(size, patience)
        else:
            self.used += size
        try:
            yield
        finally:
            self._release(size)

    async def _turn(self, size: int, patience: float) -> None:
        entry = (size, asyncio.get_running_loop().create_future())
        self._queue.append(entry)
        try:
            async with asyncio.timeout(patience):
                await entry[1]
        except BaseException:
            if entry in self._queue:
                self._queue.remove(entry)
                self._serve()
            elif entry[1].done() and not entry[1].cancelled():
                # The share came in the same moment as the end of patience.
                self._release(size)
            raise

    def _release(self, size: int) -> None:
        self.used -= size
        self._serve()

    def _serve(self) -> None:
        while self._queue and self.used + self._queue[0][0] <= self.total:
            size, future = self._queue.popleft()
            if not future.done():
                self.used += size
                future.set_result(None)
