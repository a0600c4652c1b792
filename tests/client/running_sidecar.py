"""A sidecar's ingest, real sockets and all, in a thread beside the client under test."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

import zmq
from aiohttp import web

from meterfabric_protocol.limits import Limits
from meterfabric_protocol.record import Split
from meterfabric_runtime.web import WebBounds, WebServer, serve
from meterfabric_sidecar.ingest.http import HOST, HttpBounds, HttpIngest
from meterfabric_sidecar.ingest.zeromq import ZeromqBounds, ZeromqIngest

T = TypeVar("T")


class Log:
    """An intake that keeps each (source, id) once, as the real one does. Its knobs are turned by tests at any time.

    `trouble` is called with every split before it is kept and may raise; `hang` lets that many calls be kept but
    never answered.
    """

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.calls = 0
        self.trouble: Callable[[Split], None] = lambda split: None
        self.hang = 0

    async def accept(self, split: Split) -> None:
        self.calls += 1
        self.trouble(split)
        self.records.update(zip(split.keys, split.records, strict=True))
        if self.hang:
            self.hang -= 1
            await asyncio.Event().wait()


class RunningSidecar:
    """Serves `log` over HTTP and ZeroMQ until the end of the `with`."""

    def __init__(
        self, log: Log | None = None, port: int = 0, zeromq_port: int = 0, zeromq: ZeromqBounds | None = None
    ) -> None:
        self.log = log or Log()
        self._ports = port, zeromq_port
        self._zeromq_bounds = zeromq or ZeromqBounds()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def http(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def tcp(self) -> str:
        return f"tcp://{HOST}:{self.zeromq_port}"

    def url(self, scheme: str) -> str:
        return self.http if scheme == "http" else self.tcp

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        app = web.Application()
        HttpIngest(self.log, Limits(), HttpBounds()).add_to(app)
        self._server: WebServer = await serve(app, HOST, self._ports[0], WebBounds(), shutdown=0.05)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._zeromq = ZeromqIngest(self._context, self._ports[1], self.log, Limits(), self._zeromq_bounds)
        self.port = self._server.port
        self.zeromq_port = self._zeromq.port

    async def _stop(self) -> None:
        await self._zeromq.close(0.05)
        await self._server.close()
        self._context.destroy(linger=0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition that another thread or process brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.005)
