"""HTTP servers with their bounds set, and the three pages that every component serves.

aiohttp answers any number of connections and waits for a first request for ever. `serve` adds the two limits
that are missing: a cap on connections, refused with a short answer, and a time for the first request's head.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, cast

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 21\r\nConnection: close\r\n\r\ntoo many connections\n"
)


@dataclass(frozen=True)
class WebBounds:
    """Limits of one HTTP server. Times are in seconds, sizes in bytes."""

    connections: int = 128
    head_seconds: float = 5.0  # from connect until the first request's head is whole
    idle_seconds: float = 75.0  # between two requests; a later request's head counts as idle until it is whole
    linger_seconds: float = 1.0  # how long the rest of a refused body is read and dropped, so that the answer arrives
    line_bytes: int = 8190
    header_bytes: int = 8190  # one header's value
    headers: int = 64
    read_buffer_bytes: int = 64 * 1024


class Health(Protocol):
    """What the probes ask. Each answer is a list of plain reasons; an empty one means yes."""

    def unhealthy(self) -> list[str]:
        """Why this process should be restarted."""

    def unready(self) -> list[str]:
        """Why it can't do its work just now."""


def add_probes(app: web.Application, health: Health, registry: CollectorRegistry) -> None:
    """Serve /healthz, /readyz (200, or 503 with the reasons as JSON) and /metrics (Prometheus text or OpenMetrics)."""

    def probe(reasons: Callable[[], list[str]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            found = reasons()
            return web.json_response({"ok": not found, "reasons": found}, status=503 if found else 200)

        return answer

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app.router.add_get("/healthz", probe(health.unhealthy))
    app.router.add_get("/readyz", probe(health.unready))
    app.router.add_get("/metrics", metrics)


class WebServer:
    """A running server; made by `serve`."""

    def __init__(self, runner: web.AppRunner, server: asyncio.Server, counts: "_Counts") -> None:
        self._runner = runner
        self._server = server
        self._counts = counts
        self.port: int = server.sockets[0].getsockname()[1]

    @property
    def connections(self) -> int:
        """Connections that stand now."""
        return _standing(self._runner)

    @property
    def refused(self) -> int:
        """Connections refused at the cap since the start."""
        return self._counts.refused

    @property
    def slow(self) -> int:
        """Connections closed because their first request did not come in time."""
        return self._counts.slow

    async def close(self) -> None:
        """Accept no more, let requests under way end (the `shutdown` of `serve`), close every connection."""
        self._server.close()
        await self._runner.cleanup()


@dataclass
class _Counts:
    refused: int = 0
    slow: int = 0


async def serve(
    app: web.Application,
    host: str,
    port: int,
    bounds: WebBounds,
    *,
    shutdown: float = 5.0,
    auto_decompress: bool = False,
    tls: ssl.SSLContext | None = None,
) -> WebServer:
    """Start `app` on host:port (port 0: any free one) within `bounds`; with `tls` by HTTPS.

    Requests under way get `shutdown` seconds at close. Raises OSError when the address can't be bound.
    """
    unheard: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    @web.middleware
    async def note_the_first_request(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        timer = unheard.pop(request.protocol, None)
        if timer is not None:
            timer.cancel()
        return await handler(request)

    app.middlewares.insert(0, note_the_first_request)
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=shutdown,
        keepalive_timeout=bounds.idle_seconds,
        lingering_time=bounds.linger_seconds,
        max_line_size=bounds.line_bytes,
        max_field_size=bounds.header_bytes,
        max_headers=bounds.headers,
        read_bufsize=bounds.read_buffer_bytes,
        auto_decompress=auto_decompress,
    )
    await runner.setup()
    loop = asyncio.get_running_loop()
    counts = _Counts()

    def too_slow(handler: web.RequestHandler) -> None:
        del unheard[handler]
        if handler.transport is not None:
            counts.slow += 1
            handler.transport.abort()

    def connect() -> asyncio.Protocol:
        if _standing(runner) >= bounds.connections:
            counts.refused += 1
            return _Refusal()
        assert runner.server is not None
        handler = runner.server()
        unheard[handler] = loop.call_later(bounds.head_seconds, too_slow, handler)
        return handler

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=min(bounds.connections, 1024))
    listener.setblocking(False)
    try:
        handshake = bounds.head_seconds if tls is not None else None
        server = await loop.create_server(connect, sock=listener, ssl=tls, ssl_handshake_timeout=handshake)
    except BaseException:
        listener.close()
        await runner.cleanup()
        raise
    return WebServer(runner, server, counts)


def _standing(runner: web.AppRunner) -> int:
    return len(runner.server.connections) if runner.server is not None else 0


class _Refusal(asyncio.Protocol):
    """Says why and hangs up, without reading."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writing = cast(asyncio.Transport, transport)
        writing.write(_REFUSAL)
        writing.close()
