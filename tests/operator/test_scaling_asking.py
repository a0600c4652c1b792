"""Which relays count, and as what; relays that answer, that answer nonsense, and that don't answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from meterfabric_operator import names
from meterfabric_operator.scaling.asking import ask, standing_of
from meterfabric_operator.scaling.recommending import Told
from meterfabric_runtime.web import WebBounds, serve

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def text(ago: float) -> str:
    return (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(
    *,
    started: float = 3_600,
    ready: bool | None = True,
    since: float = 3_500,
    phase: str = "Running",
    ip: str = "",
    name: str = "relay",
    ending: bool = False,
) -> dict[str, Any]:
    """A relay's pod; times are seconds ago."""
    metadata = {"name": name, "namespace": "metering"} | ({"deletionTimestamp": text(1)} if ending else {})
    conditions = [] if ready is None else [{"type": "Ready", "status": str(ready), "lastTransitionTime": text(since)}]
    status = {"phase": phase, "startTime": text(started), "conditions": conditions}
    return {"metadata": metadata, "status": status | ({"podIP": ip} if ip else {})}


@pytest.mark.parametrize(
    ("made", "told", "standing"),
    [
        (pod(), True, "Reporting"),
        (pod(), False, "Missing"),
        (pod(ending=True), True, None),
        (pod(phase="Failed"), True, None),
        (pod(phase="Pending"), False, "Unready"),
        (pod(ready=None), True, "Unready"),
        # It starts: not ready yet, or not long enough for its shares to be of its work.
        (pod(started=20, ready=False, since=20), True, "Unready"),
        (pod(started=20, since=10), True, "Unready"),
        (pod(started=40, since=15), True, "Reporting"),
        # Long after its start it was never ready, or was and is too busy to say so.
        (pod(started=3_600, ready=False, since=3_590), True, "Unready"),
        (pod(started=3_600, ready=False, since=60), True, "Reporting"),
    ],
)
def test_how_a_relay_counts(made: dict[str, Any], told: bool, standing: str | None) -> None:
    assert standing_of(made, told=told, now=NOW) == standing


@asynccontextmanager
async def relays(monkeypatch: pytest.MonkeyPatch, *pages: Any) -> AsyncIterator[list[str]]:
    """Relays that show these pages, at addresses of their own; an exception's number is the status instead."""
    port, addresses = 0, []
    async with AsyncExitStack() as stack:
        for number, page in enumerate(pages):

            async def load(_: web.Request, page: Any = page) -> web.Response:
                return web.Response(status=page) if isinstance(page, int) else web.json_response(page)

            app = web.Application()
            app.router.add_get("/load", load)
            addresses.append(f"127.0.0.{number + 2}")
            served = await serve(app, addresses[-1], port, WebBounds())
            stack.push_async_callback(served.close)
            port = served.port
        monkeypatch.setattr(names, "RELAY_PAGES", port)
        yield addresses


async def asked(pods: list[dict[str, Any]]) -> list[Told]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        return await ask(session, asyncio.Semaphore(2), pods, NOW)


async def test_each_relay_is_asked_and_one_that_cant_be_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"utilization": 0.75}, {"utilization": 7}, {"shares": {}}, 500, [], {"utilization": 0.1}
    async with relays(monkeypatch, *pages) as addresses:
        pods = [pod(ip=address) for address in addresses]
        found = await asked([*pods, pod(ip="127.0.0.99"), pod(phase="Pending"), pod(ip=addresses[0], ending=True)])
    missing = Told("Missing")
    assert found == [Told("Reporting", 7_500), *[missing] * 4, Told("Reporting", 1_000), missing, Told("Unready")]
