import asyncio
import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from meterfabric_client import AsyncMeter, BackPressure, Options, RecordsRejected, Undelivered
from meterfabric_protocol.record import Split
from meterfabric_sidecar.ingest.intake import Full
from tests.client.running_sidecar import RunningSidecar

QUICK = Options(delay=0.01, retry=0.01, retry_max=0.05, request=5.0)


@pytest.fixture
def sidecar() -> Iterator[RunningSidecar]:
    with RunningSidecar() as running:
        yield running


@pytest.fixture(params=["http", "tcp"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_what_is_recorded_arrives(sidecar: RunningSidecar, scheme: str) -> None:
    async with AsyncMeter(sidecar.url(scheme), source="/app", options=QUICK) as meter:
        await meter.record(type="cpu", id="a", subject="customer-1")
        await meter.send({"type": "ram", "id": "b"})
        await meter.send_many([{"type": "net", "id": "c"}])
        await meter.flush(10)
        assert [json.loads(record)["id"] for record in sidecar.log.records.values()] == ["a", "b", "c"]
    assert meter.stats.accepted == 3


async def test_waiting_for_room_leaves_the_loop_free(sidecar: RunningSidecar, scheme: str) -> None:
    def full(split: Split) -> None:
        raise Full(0.01)

    sidecar.log.trouble = full
    meter = AsyncMeter(sidecar.url(scheme), options=replace(QUICK, buffer_records=2))
    await meter.record(type="cpu")
    await meter.record(type="cpu")
    waiting = asyncio.create_task(meter.record(type="cpu"))
    turns = 0
    while turns < 50:
        await asyncio.sleep(0)
        turns += 1
    assert not waiting.done()
    assert meter.pending == 2
    sidecar.log.trouble = lambda split: None
    async with asyncio.timeout(10):
        await waiting
    await meter.close(10)
    assert len(sidecar.log.records) == 3


async def test_back_pressure_is_raised_after_the_wait(sidecar: RunningSidecar) -> None:
    def full(split: Split) -> None:
        raise Full(0.01)

    sidecar.log.trouble = full
    meter = AsyncMeter(sidecar.http, options=replace(QUICK, buffer_records=1, block=0.2))
    await meter.record(type="cpu")
    with pytest.raises(BackPressure, match="429"):
        await meter.record(type="cpu")
    with pytest.raises(Undelivered):
        await meter.close(0.05)


async def test_a_bad_record_is_raised_at_the_end(sidecar: RunningSidecar) -> None:
    with pytest.raises(RecordsRejected):
        async with AsyncMeter(sidecar.http, options=QUICK) as meter:
            await meter.send(b"{}")


async def test_a_failing_application_fails_with_its_own_error() -> None:
    async def application(meter: AsyncMeter) -> None:
        async with meter:
            await meter.record(type="cpu")
            raise LookupError("the application's own")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(LookupError):
            await application(AsyncMeter(url, options=replace(QUICK, close=0.05)))
