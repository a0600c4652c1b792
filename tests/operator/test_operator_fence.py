"""The fence: what was decided while the lease was held is not written once it isn't."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from meterfabric_operator.api.fence import NotActing, fence


class Server:
    """An HTTP server that counts what is written to it."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.url = ""
        self.may = True
        self.asked, self.goes_on = asyncio.Event(), asyncio.Event()
        self.goes_on.set()

    async def answer(self, request: web.Request) -> web.Response:
        if request.method != "GET":
            self.written.append(request.method)
        self.asked.set()
        await self.goes_on.wait()
        return web.Response(text="{}")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield made
    await runner.cleanup()


@pytest.fixture
async def session(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trace_configs=[fence(lambda: server.may)]) as made:
        yield made


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("connected", [True, False])
async def test_a_write_doesnt_leave_while_nothing_may_be_written(
    server: Server, session: aiohttp.ClientSession, method: str, connected: bool
) -> None:
    if connected:
        async with session.get(server.url) as answer:
            assert answer.status == 200
    server.may = False
    with pytest.raises(NotActing):
        await session.request(method, server.url)
    assert not server.written
    # Reading goes on, and so does writing once it may.
    async with session.get(server.url) as answer:
        assert answer.status == 200
    server.may = True
    async with session.request(method, server.url) as answer:
        assert answer.status == 200
    assert server.written == [method]


async def test_what_waited_for_a_connection_is_judged_when_it_gets_one(server: Server) -> None:
    connector = aiohttp.TCPConnector(limit=1)
    trace = fence(lambda: server.may)
    async with aiohttp.ClientSession(connector=connector, trace_configs=[trace]) as session:
        server.goes_on.clear()
        first = asyncio.create_task(session.get(server.url))
        await server.asked.wait()
        waiting = asyncio.create_task(session.patch(server.url))
        await asyncio.sleep(0)
        server.may = False
        server.goes_on.set()
        (await first).release()
        with pytest.raises(NotActing):
            await waiting
    assert not server.written
