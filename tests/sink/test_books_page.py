"""The page that says how much a sink holds."""

from pathlib import Path

import aiohttp
from aiohttp import web

from meterfabric_runtime.web import WebBounds, serve
from meterfabric_sink.books_page import add_books
from meterfabric_sink.destination.sqlite import SqliteDestination
from tests.sink.sink_logs import Log

NOW = 1000.0


async def test_the_books_are_shown_or_why_not(tmp_path: Path) -> None:
    app, path = web.Application(), tmp_path / "records.db"
    add_books(app, "billing", f"sqlite:{path}")
    server = await serve(app, "127.0.0.1", 0, WebBounds())
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        async with session.get("/books") as response:
            assert response.status == 503
            assert str(path) in (await response.json())["reason"]
        store = SqliteDestination(path, clock=lambda: NOW)
        await store.open()
        await store.commit([Log("one").records(3).next()])
        async with session.get("/books") as response:
            assert await response.json() == {
                "logs": 1,
                "records": {"delivered": 3},
                "open": [{"namespace": "team-a", "pod": "one", "uid": "", "pending": 0, "since": int(NOW)}],
            }
    await server.close()
    await store.close()
