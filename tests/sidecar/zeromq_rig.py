"""The ZeroMQ ingest before an intake in memory, and clients that send what a test decides."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import zmq

from meterfabric_protocol.limits import Limits
from meterfabric_runtime.zmq_loop import LoopSocket
from meterfabric_runtime.zmq_options import Bounds, open_socket
from meterfabric_sidecar.ingest.credit import CreditBounds
from meterfabric_sidecar.ingest.http import HOST
from meterfabric_sidecar.ingest.zeromq import ZeromqBounds, ZeromqIngest
from tests.sidecar.memory_intake import MemoryIntake

WAIT = 10.0
SMALL = ZeromqBounds(credit=CreditBounds(total=4000, window=2000, floor=500, clients=2))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the condition never held")


class Sender:
    """A client that keeps no credit of its own, so that tests decide what it sends."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], port: int, queued: int) -> None:
        self.answers: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self.writable = asyncio.Event()
        socket = open_socket(
            context, zmq.DEALER, Bounds(queued=queued, reconnect=10, reconnect_max=20), immediate=False
        )
        socket.connect(f"tcp://{HOST}:{port}")
        self.socket = LoopSocket(socket, on_message=self.answers.put_nowait, on_writable=self.writable.set)

    async def send(self, *frames: bytes) -> None:
        async with asyncio.timeout(WAIT):
            while not self.socket.send(frames):
                await self.writable.wait()
                self.writable.clear()

    async def answer(self) -> list[bytes]:
        async with asyncio.timeout(WAIT):
            return await self.answers.get()

    async def answer_but_credit(self) -> list[bytes]:
        while (got := await self.answer())[0] == b"CREDIT":
            pass
        return got

    async def hello(self) -> int:
        await self.send(b"HELLO", b"1")
        command, credit = await self.answer()
        assert command == b"CREDIT"
        return int.from_bytes(credit, "big")

    async def refusal(self) -> tuple[int, dict[str, Any]]:
        command, id, text = await self.answer_but_credit()
        assert command == b"NO"
        return number(id), json.loads(text)


def tag(value: int) -> bytes:
    return value.to_bytes(8, "big")


def number(frame: bytes) -> int:
    return int.from_bytes(frame, "big")


class Served:
    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], intake: MemoryIntake, ingest: ZeromqIngest) -> None:
        self.context = context
        self.intake = intake
        self.ingest = ingest
        self.senders: list[Sender] = []

    def sender(self, queued: int = 1000) -> Sender:
        self.senders.append(Sender(self.context, self.ingest.port, queued))
        return self.senders[-1]


@asynccontextmanager
async def serving(bounds: ZeromqBounds | None = None, limits: Limits | None = None) -> AsyncIterator[Served]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    intake = MemoryIntake()
    ingest = ZeromqIngest(context, 0, intake, limits or Limits(), bounds or ZeromqBounds())
    served = Served(context, intake, ingest)
    try:
        yield served
    finally:
        await ingest.close(0.1)
        for sender in served.senders:
            sender.socket.close(0)
        context.destroy(linger=0)
