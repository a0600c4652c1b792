"""The page /books: all that the sink holds in one line, for whoever sums the books of a fabric."""

from __future__ import annotations

import msgspec
from aiohttp import web

from meterfabric_sink.destination.base import Destination, DestinationDown, DestinationRefused


def add_books(app: web.Application, store: Destination) -> None:
    """Serve /books: `destination.base.Summary` as JSON, or 503 with the reason. It reads a row of every log."""

    async def show(_: web.Request) -> web.Response:
        try:
            found = await store.summary()
        except (DestinationDown, DestinationRefused) as error:
            return web.json_response({"reason": str(error)}, status=503)
        return web.json_response(msgspec.to_builtins(found))

    app.router.add_get("/books", show)
