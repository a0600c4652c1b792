"""What a sidecar shows: probes, metrics, its status. On loopback beside ingest, on the pod's address without it.

The kubelet and whoever scrapes metrics aren't in the pod; who sends records must be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from meterfabric_runtime.web import Health, WebBounds, WebServer, add_probes, serve

_OUTSIDE = WebBounds(connections=32)


class Pages:
    """/healthz, /readyz, /metrics, /status."""

    def __init__(self, health: Health, registry: CollectorRegistry, status: Callable[[], dict[str, Any]]) -> None:
        self._health = health
        self._registry = registry
        self._status = status

    def add_to(self, app: web.Application) -> None:
        """Serve them with what ``app`` serves already."""
        add_probes(app, self._health, self._registry)

        async def show_status(_: web.Request) -> web.Response:
            return web.json_response(self._status())

        app.router.add_get("/status", show_status)

    async def serve(self, host: str, port: int) -> WebServer:
        """Serve them alone. Raises OSError."""
        app = web.Application()
        self.add_to(app)
        return await serve(app, host, port, _OUTSIDE)
