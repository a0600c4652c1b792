"""Start-up, main loop and shutdown of a relay."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from dataclasses import replace
from datetime import UTC, datetime

import zmq
from aiohttp import web

from meterfabric_protocol.delivery.relay import RelayCore
from meterfabric_protocol.delivery.settings import RelaySettings
from meterfabric_protocol.hello import Hello, verify_hello
from meterfabric_relay.cpu_limit import CpuLimit
from meterfabric_relay.load import Gauge, LoadMeter
from meterfabric_relay.memory_limit import connections_in, memory_limit
from meterfabric_relay.meters import registry
from meterfabric_relay.server import RelayServer
from meterfabric_relay.settings import Settings
from meterfabric_runtime.curve import CurveKeys, from_user_id
from meterfabric_runtime.descriptors import room_for
from meterfabric_runtime.entry import enter
from meterfabric_runtime.gate import Gate, GateBounds
from meterfabric_runtime.process import Stop, started
from meterfabric_runtime.ready import Ready, write_ready
from meterfabric_runtime.trust import TrustFile
from meterfabric_runtime.web import WebBounds, add_probes, serve
from meterfabric_runtime.zap import ZapHandler
from meterfabric_runtime.zmq_options import Bounds, open_socket, port_of

log = logging.getLogger(__name__)

_TICK = 0.2
_SWEEP = 5.0


class _Health:
    def __init__(self, core: RelayCore) -> None:
        self._core = core

    def unhealthy(self) -> list[str]:
        return []

    def unready(self) -> list[str]:
        return ["draining"] if self._core.draining else []


async def serve_relay(settings: Settings, stop: Stop) -> None:
    """Run one relay until told to stop, then drain."""
    keys = CurveKeys.load_or_create(settings.curve)
    trust = TrustFile(settings.trust)

    def verify(user: str, body: bytes, signature: bytes, chain: bytes) -> Hello:
        return verify_hello(
            body,
            signature,
            chain,
            client_curve=from_user_id(user),
            relay_curve=keys.public,
            verifier=trust.verifier(),
            at=datetime.now(UTC),
            fabric=settings.fabric,
        )

    core = RelayCore(
        RelaySettings(
            settings.name,
            # A largest message must fit for each sink, or the log that holds one would never go on.
            memory=max(settings.memory, settings.sinks * settings.max_message),
            sinks=settings.sinks,
            max_message=settings.max_message,
            sessions=settings.connections,
        ),
        verify,
    )
    gauge = Gauge(CpuLimit())
    load = LoadMeter(gauge.read(0.0))
    bounds = GateBounds(connections=settings.connections)
    standing = room_for(bounds.connections, bounds.waiting)
    if standing < bounds.connections:
        log.warning("fewer connections than asked for: too few file descriptors", extra={"connections": standing})
        bounds = replace(bounds, connections=standing)
    fitting = connections_in(memory_limit(), settings.memory)
    if fitting < bounds.connections:
        log.info("fewer connections than asked for: that is what fits into memory", extra={"connections": fitting})
        bounds = replace(bounds, connections=fitting)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 64)
    socket = open_socket(
        context,
        zmq.ROUTER,
        # What is queued is bounded by credit, in bytes; the mark only has to be above any count that comes to.
        # Peers send heartbeats, which say for how long they may be silent. Ours are only for one that is gone before
        # its first: as many as theirs would be most of what thousands of silent peers cost, since libzmq looks through
        # the timers of all connections at each answer.
        Bounds(message=settings.max_message, queued=100_000, heartbeat=30_000, heartbeat_timeout=6_000),
        curve=keys.server(),
    )
    server: list[RelayServer] = []
    zap = ZapHandler(
        context,
        socket,
        Gate(bounds),
        on_event=lambda event: server[0].on_event(event) if server else None,
    )
    socket.bind(f"tcp://{settings.host}:{settings.port}")
    server.append(RelayServer(core, socket))

    app = web.Application()
    add_probes(app, _Health(core), registry(core, load, zap.gate))

    async def show_load(_: web.Request) -> web.Response:
        return web.json_response(
            {
                "utilization": round(load.utilization, 4),
                "shares": {name: round(share, 4) for name, share in load.shares.items()},
                "window": round(load.covered, 1),
                "cores": load.cores,
                "sessions": core.sessions,
                "producers": core.producers,
                "workers": core.workers,
                "credit": {sink: {"held": held, "limit": limit} for sink, (held, limit) in core.reserved.items()},
                "connections": zap.gate.open,
                "most_connections": bounds.connections,
            }
        )

    app.router.add_get("/load", show_load)
    pages = await serve(app, settings.http_host, settings.http_port, WebBounds())
    write_ready(settings.ready_file, Ready(os.getpid(), port_of(socket), pages.port))
    started()
    ticking = asyncio.create_task(_tick(server[0], load, gauge, zap.gate))
    try:
        await stop.wait()
        await server[0].drain(min(settings.drain, stop.remaining()))
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        await pages.close()
        zap.close()
        server[0].close()
        context.term()


async def _tick(server: RelayServer, load: LoadMeter, gauge: Gauge, gate: Gate) -> None:
    swept = sampled = time.monotonic()
    while True:
        await asyncio.sleep(_TICK)
        now = time.monotonic()
        server.tick()
        load.look(now, server.core.reserved, server.core.answered)
        if now - swept >= _SWEEP:
            swept = now
            server.sweep()
        if now - sampled >= 1.0:
            sampled = now
            load.add(gauge.read(gate.open / gate.bounds.connections))


def main() -> None:
    """The command `meterfabric-relay`."""
    enter("relay", Settings, serve_relay, lambda settings: settings.drain + 5.0)


if __name__ == "__main__":
    main()
