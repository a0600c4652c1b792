import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from meterfabric_runtime.web import WebBounds, WebServer, add_probes, serve

WAIT = 10.0


class FixedHealth:
    def __init__(self) -> None:
        self.down: list[str] = []
        self.waiting: list[str] = []

    def unhealthy(self) -> list[str]:
        return self.down

    def unready(self) -> list[str]:
        return self.waiting


@asynccontextmanager
async def serving(health: FixedHealth, bounds: WebBounds) -> AsyncIterator[WebServer]:
    app = web.Application()
    registry = CollectorRegistry()
    Counter("records", "Records", registry=registry).inc(3)
    add_probes(app, health, registry)
    server = await serve(app, "127.0.0.1", 0, bounds)
    try:
        yield server
    finally:
        await server.close()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the condition never held")


async def ask(port: int, path: str) -> tuple[int, bytes]:
    async with asyncio.timeout(WAIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_probes_answer_yes_without_reasons_and_503_with_them() -> None:
    health = FixedHealth()
    async with serving(health, WebBounds()) as server:
        assert (await ask(server.port, "/healthz"))[0] == 200
        assert (await ask(server.port, "/readyz"))[0] == 200
        health.waiting = ["no relay answers"]
        assert (await ask(server.port, "/healthz"))[0] == 200
        status, body = await ask(server.port, "/readyz")
        assert (status, json.loads(body)) == (503, {"ok": False, "reasons": ["no relay answers"]})
        health.down = ["stuck"]
        assert (await ask(server.port, "/healthz"))[0] == 503


async def test_metrics_are_served() -> None:
    async with serving(FixedHealth(), WebBounds()) as server:
        status, body = await ask(server.port, "/metrics")
    assert status == 200
    assert b"records_total 3.0" in body


async def test_connections_over_the_cap_are_refused_and_counted_and_room_comes_back() -> None:
    async with serving(FixedHealth(), WebBounds(connections=2)) as server, asyncio.timeout(WAIT):
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        await until(lambda: server.connections == 2)
        assert (await ask(server.port, "/healthz"))[0] == 503
        assert server.refused == 1
        for _, writer in held:
            writer.close()
        await until(lambda: server.connections == 0)
        assert (await ask(server.port, "/healthz"))[0] == 200


async def test_a_connection_that_never_finishes_its_first_head_is_closed() -> None:
    async with serving(FixedHealth(), WebBounds(head_seconds=0.05)) as server, asyncio.timeout(WAIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHo")
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert server.slow == 1
        writer.close()


async def test_a_later_head_that_never_ends_is_closed_as_idle() -> None:
    async with serving(FixedHealth(), WebBounds(idle_seconds=0.05)) as server, asyncio.timeout(WAIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /healthz HTTP/1.1\r\nHo")
        await reader.read()
        assert server.slow == 0
        writer.close()


async def test_an_oversized_header_is_refused() -> None:
    async with serving(FixedHealth(), WebBounds(header_bytes=1000)) as server, asyncio.timeout(WAIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 2000 + b"\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.0 400")
        writer.close()
