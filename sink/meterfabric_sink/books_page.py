"""The page /books: all that the sink holds in one object, for whoever sums the books of a fabric."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from meterfabric_sink.destination.base import DestinationDown, DestinationRefused
from meterfabric_sink.evidence import open_evidence
from meterfabric_sink.fates import Counting, SinkBooks


def add_books(app: web.Application, name: str, url: str) -> None:
    """Serve /books: `fates.SinkBooks` as JSON, or 503 with the reason. ``name``, ``url``: the sink's.

    It reads by a connection of its own, in a thread, one at a time: no commit waits because somebody asks.
    """
    counting, turn = Counting(name), asyncio.Lock()

    def count() -> SinkBooks:
        with open_evidence(url) as evidence:
            return counting.count(evidence)

    async def show(_: web.Request) -> web.Response:
        try:
            async with turn:
                found = await asyncio.to_thread(count)
        except (DestinationDown, DestinationRefused) as error:
            return web.json_response({"reason": str(error)}, status=503)
        return web.json_response(msgspec.to_builtins(found))

    app.router.add_get("/books", show)
