"""The page that says how much a sink holds."""

from pathlib import Path

import aiohttp
from aiohttp import web

from meterfabric_runtime.web import WebBounds, serve
from meterfabric_sink.books_page import add_books
from meterfabric_sink.destination.base import DestinationDown
from meterfabric_sink.destination.sqlite import SqliteDestination
from tests.sink.sink_logs import Log


class Away(SqliteDestination):
    """A destination whose disk fails."""

    away = False

    async def summary(self):  # type: ignore[no-untyped-def]
        if self.away:
            raise DestinationDown("the disk fails")
        return await super().summary()


async def test_the_books_are_shown_or_why_not(tmp_path: Path) -> None:
    store = Away(tmp_path / "records.db")
    await store.open()
    await store.commit([Log("one").records(3).next()])
    app = web.Application()
    add_books(app, store)
    server = await serve(app, "127.0.0.1", 0, WebBounds())
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        async with session.get("/books") as response:
            assert await response.json() == {"logs": 1, "records": 3, "stubbed": 0, "pending": 0, "since": 0}
        store.away = True
        async with session.get("/books") as response:
            assert (response.status, await response.json()) == (503, {"reason": "the disk fails"})
    await server.close()
    await store.close()
