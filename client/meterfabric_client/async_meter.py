"""`AsyncMeter`: the same meter for asyncio. Only the waiting differs: no call holds the event loop up."""

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from . import event
from .meter import Event
from .recorder import Recorder


class AsyncMeter(Recorder):
    """See `Meter`; a thread does the work here too, and `on_error` is called from it.

    async with AsyncMeter("http://127.0.0.1:8280") as m:
        await m.record(type="cpu", subject="customer-1", data={"seconds": 1.5})
    """

    async def record(
        self,
        *,
        type: str,
        data: Any = None,
        subject: str | None = None,
        id: str | None = None,
        source: str | None = None,
        time: datetime | None = None,
        **extensions: str | int | bool,
    ) -> None:
        """Record one usage event; see `Meter.record`."""
        await self._put(event.compose(source or self._source, type, subject, data, id, time, extensions))

    async def send(self, ready: Event) -> None:
        """Send a ready CloudEvent; see `Meter.send`."""
        await self._put(event.line(ready, self._source))

    async def send_many(self, ready: Iterable[Event]) -> None:
        """`send` each in turn; at an error those before it are taken."""
        for each in ready:
            await self._put(event.line(each, self._source))

    async def flush(self, seconds: float | None = None) -> None:
        """See `Meter.flush`."""
        await asyncio.to_thread(self._pipeline.flush, seconds)

    async def close(self, seconds: float | None = None) -> None:
        """See `Meter.close`."""
        await asyncio.to_thread(self._pipeline.close, seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._pipeline.close_after, error)

    async def _put(self, line: bytes) -> None:
        if self._pipeline.offer(line):
            return
        try:
            async with asyncio.timeout(self._pipeline.options.block):
                while not self._pipeline.offer(line):
                    await self._room()
        except TimeoutError:
            raise self._pipeline.back_pressure() from None

    async def _room(self) -> None:
        loop = asyncio.get_running_loop()
        room = asyncio.Event()

        def tell() -> None:
            # The loop may have ended while the buffer stayed full.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(room.set)

        self._pipeline.when_room(tell)
        await room.wait()
