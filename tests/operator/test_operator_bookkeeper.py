"""Asking for books: a worker that is ready, once a minute, and who is gone only after a live read."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aiohttp import web

from meterfabric_operator import names, objects
from meterfabric_operator.api.cluster import ApiError, Cluster
from meterfabric_operator.objects import Key
from meterfabric_operator.status.bookkeeper import Bookkeeper, address
from meterfabric_operator.watching.observed import Child, Observed
from meterfabric_runtime.web import WebBounds, serve
from tests.operator.memory_api import MemoryApi

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LONG_AGO = int(NOW.timestamp()) - 90
CHILD = Child("s", "d", "metering.demo", "billing", 1, 1, settled=True)
SINK, FABRIC = Key("MeteringSink", "metering", "billing"), Key("MeteringFabric", "metering", "demo")


def worker(address: str | None, ready: str = "True") -> dict[str, Any]:
    return {"status": {"podIP": address, "phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}}


def log_of(pod: str, uid: str, records: int, since: int = LONG_AGO) -> dict[str, Any]:
    return {"namespace": "shop", "pod": pod, "uid": uid, "pending": records, "since": since}


def test_a_worker_that_is_ready_is_asked_or_else_one_that_runs() -> None:
    pods = [worker("10.0.0.1", "False"), worker(None), worker("10.0.0.2")]
    assert address(pods) == f"http://10.0.0.2:{names.SINK_PAGES}"
    assert address([worker("fd00::1")]) == f"http://[fd00::1]:{names.SINK_PAGES}"
    assert address([worker("10.0.0.1", "False")]) == f"http://10.0.0.1:{names.SINK_PAGES}"
    assert address([]) is None


class Asked:
    """A sink that serves `page`, and a bookkeeper that asks it."""

    def __init__(self) -> None:
        self.page: dict[str, Any] = {"records": {"delivered": 9}, "open": []}
        self.asked = 0
        self.looked: list[Key] = []
        self.api = MemoryApi()
        self.observed = Observed()
        self.observed.sinks[SINK] = {"spec": {"fabric": "demo"}}
        self.keeper = Bookkeeper(cast(Cluster, self.api), self.observed, lambda: NOW, self.looked.append)

    async def serve(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response(self.page)

    def ready(self, workers: int = 1) -> None:
        child = dataclasses.replace(CHILD, ready=workers)
        self.observed.children[Key("Deployment", "metering", names.sink("billing"))] = child

    def pod(self, name: str, uid: str, phase: str = "Running") -> None:
        metadata = {"namespace": "shop", "name": name, "uid": uid}
        self.api.held[Key("Pod", "shop", name)] = {"kind": "Pod", "metadata": metadata, "status": {"phase": phase}}

    async def run(self, times: int = 1) -> None:
        """Until it was asked so often more."""
        wanted = self.asked + times
        may = asyncio.Event()
        may.set()
        task = asyncio.create_task(self.keeper.run(may))
        async with asyncio.timeout(10):
            while self.asked < wanted or (times and SINK not in self.observed.books):
                await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    made = Asked()
    app = web.Application()
    app.router.add_get("/books", made.serve)
    server = await serve(app, "127.0.0.1", 0, WebBounds())
    monkeypatch.setattr(names, "SINK_PAGES", server.port)
    monkeypatch.setattr("meterfabric_operator.status.bookkeeper.EVERY", 0.02)
    monkeypatch.setattr("meterfabric_operator.status.bookkeeper.TICK", 0.01)
    labels = objects.labels("metering.demo", "sink", **{objects.SINK: "billing"})
    metadata = {"namespace": "metering", "name": "w", "labels": labels}
    await made.api.create({"kind": "Pod", "metadata": metadata, **worker("127.0.0.1")})
    yield made
    await server.close()


async def test_changed_books_have_sink_and_fabric_looked_at_once(asked: Asked) -> None:
    asked.ready()
    await asked.run(times=3)
    assert asked.observed.books[SINK].count("delivered") == 9
    assert asked.looked == [SINK, FABRIC]


@pytest.mark.parametrize("workers", [None, 0])
async def test_a_sink_is_first_asked_when_it_has_a_worker_that_is_ready(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, workers: int | None
) -> None:
    """Or in a minute: what isn't ready may be a destination that refuses one log."""
    monkeypatch.setattr("meterfabric_operator.status.bookkeeper.EVERY", 3600.0)
    asked.api.away = True  # so that the first round asks nobody
    if workers is not None:
        asked.ready(workers)
    running = asyncio.create_task(asked.run())
    await asyncio.sleep(0.05)
    asked.api.away = False
    await asyncio.sleep(0.05)
    assert asked.asked == 0
    asked.ready()
    await running
    assert asked.asked == 1


async def test_a_page_that_cant_be_read_changes_nothing(asked: Asked) -> None:
    asked.ready()
    await asked.run()
    held = asked.observed.books[SINK]
    asked.page = {"reason": "the destination is away"}
    await asked.run(times=2)
    assert asked.observed.books[SINK] is held


async def test_only_a_pod_that_is_no_more_has_abandoned_what_waits(asked: Asked) -> None:
    asked.ready()
    asked.observed.set_pod(
        {
            "metadata": {
                "namespace": "shop",
                "name": "watched",
                "uid": "u-1",
                "labels": {"meterfabric.io/inject": "true"},
            },
            "spec": {},
        },
        gone=False,
    )
    asked.pod("unlabelled", "u-2")
    asked.pod("anew", "u-4")
    asked.pod("ended", "u-5", "Failed")
    asked.pod("nameless", "u-6")
    asked.page["records"]["pending"] = 1 + 10 + 100 + 1_000 + 10_000 + 100_000 + 1_000_000
    asked.page["open"] = [
        log_of("watched", "u-1", 1),
        log_of("unlabelled", "u-2", 10),
        log_of("gone", "u-3", 100),
        log_of("anew", "u-3", 1_000),  # made again under its name: another pod, with another disk
        log_of("ended", "u-5", 10_000),
        log_of("nameless", "", 100_000),
        log_of("just-gone", "u-7", 1_000_000, since=int(NOW.timestamp()) - 5),  # its last batches may be on their way
    ]
    await asked.run()
    books = asked.observed.books[SINK]
    assert books.count("abandoned") == 11_100
    assert books.count("pending") == 1_100_011
    assert books.unclosed == 3
    assert books.abandoned_by == {"shop/ended": 10_000, "shop/anew": 1_000, "shop/gone": 100}


async def test_who_may_not_be_read_lives(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    asked.ready()

    async def forbidden(_: Key) -> None:
        raise ApiError(403, "Forbidden", "not in this namespace")

    monkeypatch.setattr(asked.api, "get", forbidden)
    asked.page = {"records": {"pending": 1}, "open": [log_of("web", "u-1", 1)]}
    await asked.run()
    assert asked.observed.books[SINK].count("pending") == 1
