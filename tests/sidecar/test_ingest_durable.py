"""Client, ingest, intake and spool together: what is answered is on the disk, once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import zmq
from aiohttp import web

from meterfabric_client import AsyncMeter, Options, RecordsRejected
from meterfabric_protocol.limits import Limits
from meterfabric_protocol.record import Split
from meterfabric_runtime.web import WebBounds, serve
from meterfabric_sidecar.ingest.http import HOST, PATH, HttpBounds, HttpIngest
from meterfabric_sidecar.ingest.zeromq import ZeromqBounds, ZeromqIngest
from tests.sidecar.memory_intake import event
from tests.spools import Rig, leaves_in, only_records, opened

QUICK = Options(delay=0.01, retry=0.01, retry_max=0.05, request=5.0)


class Fabric:
    def __init__(self, rig: Rig, http: str, tcp: str) -> None:
        self.rig = rig
        self.http = http
        self.tcp = tcp

    def url(self, scheme: str) -> str:
        return self.http if scheme == "http" else self.tcp

    async def records(self) -> list[bytes]:
        return only_records((await leaves_in(self.rig.spool))[self.rig.origin])


class SilentAtFirst:
    """Lets the real intake keep the first submission and never says so."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.silent = 0

    async def accept(self, split: Split) -> None:
        await self._rig.intake.accept(split)
        if self.silent:
            self.silent -= 1
            await asyncio.Event().wait()


@asynccontextmanager
async def fabric(folder: Path, silent: int = 0) -> AsyncIterator[Fabric]:
    async with opened(folder) as rig:
        intake = SilentAtFirst(rig)
        intake.silent = silent
        app = web.Application()
        HttpIngest(intake, Limits(), HttpBounds()).add_to(app)
        server = await serve(app, HOST, 0, WebBounds(), shutdown=0.05)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        ingest = ZeromqIngest(context, 0, intake, Limits(), ZeromqBounds())
        try:
            yield Fabric(rig, f"http://{HOST}:{server.port}", f"tcp://{HOST}:{ingest.port}")
        finally:
            await ingest.close(0.05)
            await server.close()
            context.destroy(linger=0)


@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_what_a_client_was_told_is_accepted_is_in_the_spool(tmp_path: Path, scheme: str) -> None:
    async with fabric(tmp_path) as made, AsyncMeter(made.url(scheme), options=QUICK) as meter:
        await meter.send_many(event(number) for number in range(2500))
        await meter.flush(20)
        assert await made.records() == [event(number) for number in range(2500)]


@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_what_a_client_sends_again_after_a_timeout_is_logged_once(tmp_path: Path, scheme: str) -> None:
    async with fabric(tmp_path, silent=1) as made:
        async with AsyncMeter(made.url(scheme), options=replace(QUICK, request=0.3)) as meter:
            await meter.send_many(event(number) for number in range(10))
            await meter.flush(20)
            assert meter.stats.retries >= 1
        assert await made.records() == [event(number) for number in range(10)]


@pytest.mark.parametrize("scheme", ["http", "tcp"])
async def test_the_same_id_with_other_bytes_is_refused_and_the_rest_of_the_batch_kept(
    tmp_path: Path, scheme: str
) -> None:
    async with fabric(tmp_path) as made:
        meter = AsyncMeter(made.url(scheme), options=replace(QUICK, delay=3600))
        await meter.send(event(1))
        await meter.flush(20)
        await meter.send_many([event(0), event(1, subject="other"), event(2)])
        with pytest.raises(RecordsRejected) as caught:
            await meter.close(20)
        [error] = caught.value.errors
        assert (error.record, error.problem["status"]) == (event(1, subject="other"), 409)
        assert await made.records() == [event(1), event(0), event(2)]


async def test_a_refused_batch_leaves_nothing_in_the_spool(tmp_path: Path) -> None:
    async with fabric(tmp_path) as made, aiohttp.ClientSession() as session:
        body = b"[" + event(1) + b"," + event(2, type=7) + b"]"
        async with session.post(made.http + PATH, data=body, headers={"Content-Type": "application/json"}) as answer:
            assert answer.status == 400
            assert (await answer.json(content_type=None))["index"] == 1
        assert await made.records() == []


async def test_a_record_is_kept_as_it_came_but_for_newlines_between_tokens(tmp_path: Path) -> None:
    text = b'{ "specversion" : "1.0",\r\n "id":"a", "source":"s","type":"t", "data": {"n": 1.50,\n "s":"\\u00e9\\n"} }'
    async with fabric(tmp_path) as made, aiohttp.ClientSession() as session:
        headers = {"Content-Type": "application/cloudevents+json"}
        async with session.post(made.http + PATH, data=text, headers=headers) as answer:
            assert answer.status == 204
        assert await made.records() == [text.replace(b"\r\n", b"  ").replace(b"\n", b" ")]
