"""Books: read of a sink's page, summed, asked of a worker that is ready, and told when they changed."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from aiohttp import web

from meterfabric_operator import names
from meterfabric_operator.books import Bookkeeper, Books, address, read, summed
from meterfabric_operator.cluster import Cluster
from meterfabric_operator.objects import Key
from meterfabric_operator.observed import Observed
from meterfabric_runtime.web import WebBounds, serve
from tests.operator.memory_api import MemoryApi

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PAGE = {"logs": 2, "records": 9, "stubbed": 1, "pending": 3, "since": int(NOW.timestamp()) - 90}


def pod(address: str | None, ready: str = "True") -> dict[str, Any]:
    return {"status": {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]}}


def test_a_page_becomes_books_that_add_up() -> None:
    status = read(PAGE, NOW).status()
    assert status == {"accepted": 13, "delivered": 9, "expired": 1, "pending": 3, "oldestPending": "90s"}


@pytest.mark.parametrize("page", [{}, [], None, {**PAGE, "records": "many"}])
def test_what_are_no_books_is_refused(page: Any) -> None:
    with pytest.raises(ValueError, match=r"books|invalid literal"):
        read(page, NOW)


def test_books_of_sinks_are_summed_and_the_oldest_counts() -> None:
    later = NOW + timedelta(seconds=1)
    both = summed([Books(1, 2, 3, 50, NOW), Books(10, 20, 0, 0, later)])
    assert both == Books(11, 22, 3, 50, later)
    assert summed([]) is None


def test_a_worker_that_is_ready_is_asked() -> None:
    assert address([pod("10.0.0.1", "False"), pod(None), pod("10.0.0.2")]) == f"http://10.0.0.2:{names.SINK_PAGES}"
    assert address([pod("fd00::1")]) == f"http://[fd00::1]:{names.SINK_PAGES}"
    assert address([]) is None


async def test_changed_books_have_sink_and_fabric_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async def books(_: web.Request) -> web.Response:
        return web.json_response(PAGE)

    app = web.Application()
    app.router.add_get("/books", books)
    server = await serve(app, "127.0.0.1", 0, WebBounds())
    monkeypatch.setattr(names, "SINK_PAGES", server.port)
    monkeypatch.setattr("meterfabric_operator.books.EVERY", 0.01)
    api, observed, looked = MemoryApi(), Observed(), []
    key = Key("MeteringSink", "metering", "billing")
    observed.sinks[key] = {"spec": {"fabric": "demo"}}
    labels = {"app.kubernetes.io/component": "sink", "meterfabric.io/sink": "billing"}
    worker = {"kind": "Pod", "metadata": {"namespace": "metering", "name": "w", "labels": labels}, **pod("127.0.0.1")}
    await api.create(worker)
    may = asyncio.Event()
    may.set()
    keeper = Bookkeeper(cast(Cluster, api), observed, lambda: NOW, looked.append)
    task = asyncio.create_task(keeper.run(may))
    async with asyncio.timeout(10):
        while key not in observed.books:
            await asyncio.sleep(0.005)
    api.away = True
    await asyncio.sleep(0.05)
    api.away = False
    task.cancel()
    assert observed.books[key].pending == 3
    assert looked == [key, Key("MeteringFabric", "metering", "demo")]
    await server.close()
