import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import zmq

from meterfabric_protocol.limits import Limits
from meterfabric_runtime.zmq_loop import LoopSocket
from meterfabric_runtime.zmq_options import Bounds, open_socket
from meterfabric_sidecar.ingest.credit import CreditBounds
from meterfabric_sidecar.ingest.http import HOST
from meterfabric_sidecar.ingest.intake import Conflict, Full, Unavailable
from meterfabric_sidecar.ingest.zeromq import ZeromqBounds, ZeromqIngest
from tests.sidecar.memory_intake import MemoryIntake, event

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


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(linger=0)


@asynccontextmanager
async def serving(
    context: zmq.Context[zmq.Socket[bytes]], bounds: ZeromqBounds | None = None, limits: Limits | None = None
) -> AsyncIterator[Served]:
    intake = MemoryIntake()
    ingest = ZeromqIngest(context, 0, intake, limits or Limits(), bounds or ZeromqBounds())
    served = Served(context, intake, ingest)
    try:
        yield served
    finally:
        await ingest.close(0.1)
        for sender in served.senders:
            sender.socket.close(0)


@pytest.fixture
async def served(context: zmq.Context[zmq.Socket[bytes]]) -> AsyncIterator[Served]:
    async with serving(context) as made:
        yield made


async def test_records_are_answered_ok_once_the_intake_has_them(served: Served) -> None:
    sender = served.sender()
    assert await sender.hello() == CreditBounds().window
    served.intake.gate.clear()
    await sender.send(b"SEND", tag(7), event(1) + b"\n" + event(2) + b"\n")
    await until(lambda: served.intake.calls == 1)
    assert sender.answers.empty()
    served.intake.gate.set()
    assert await sender.answer() == [b"OK", tag(7)]
    assert served.intake.records == [event(1), event(2)]
    assert (served.ingest.tally.messages, served.ingest.tally.records) == (1, 2)


async def test_many_messages_are_taken_in_order(served: Served) -> None:
    sender = served.sender()
    await sender.hello()
    for turn in range(300):
        await sender.send(b"SEND", tag(turn), event(turn))
    got = [await sender.answer_but_credit() for _ in range(300)]
    assert got == [[b"OK", tag(turn)] for turn in range(300)]
    assert served.intake.records == [event(turn) for turn in range(300)]


async def test_one_bad_record_refuses_the_whole_message(served: Served) -> None:
    sender = served.sender()
    await sender.hello()
    await sender.send(b"SEND", tag(1), event(1) + b"\n{}\n")
    id, problem = await sender.refusal()
    assert (id, problem["status"], problem["index"]) == (1, 400, 1)
    assert served.intake.calls == 0


async def test_a_conflict_is_named(served: Served) -> None:
    sender = served.sender()
    await sender.hello()
    served.intake.refusal = Conflict(0, "/test", "id-1")
    await sender.send(b"SEND", tag(1), event(1))
    _, problem = await sender.refusal()
    assert (problem["status"], problem["index"], problem["value"]) == (409, 0, "/test id-1")


async def test_a_failure_of_ours_is_500_and_the_next_message_is_served(served: Served) -> None:
    sender = served.sender()
    await sender.hello()
    served.intake.refusal = RuntimeError("bug")
    await sender.send(b"SEND", tag(1), event(1))
    assert (await sender.refusal())[1]["status"] == 500
    served.intake.refusal = None
    await sender.send(b"SEND", tag(2), event(1))
    assert await sender.answer_but_credit() == [b"OK", tag(2)]


@pytest.mark.parametrize("frames", [[b"WHAT"], [b"SEND", b"short", b"{}"], [b"SEND", tag(1)], [b"HELLO"], [b""]])
async def test_what_is_no_command_is_answered_no(served: Served, frames: list[bytes]) -> None:
    sender = served.sender()
    await sender.send(*frames)
    id, problem = await sender.refusal()
    assert (id, problem["status"]) == (0, 400)


async def test_any_frames_are_survived(served: Served) -> None:
    draw = random.Random(3)
    sender = served.sender()
    words = [
        b"HELLO",
        b"SEND",
        b"CREDIT",
        b"OK",
        b"NO",
        b"",
        b"1",
        tag(1),
        event(1),
        bytes(100),
        b"{" * 5000,
        b"\xff\n",
    ]
    for _ in range(500):
        await sender.send(*draw.choices(words, k=draw.randint(1, 5)))
    await sender.send(b"SEND", tag(12345), event(2))
    while number((await sender.answer())[1]) != 12345:
        pass
    await until(lambda: served.ingest.bytes_in_use == 0)


async def test_another_version_is_answered_no(served: Served) -> None:
    sender = served.sender()
    await sender.send(b"HELLO", b"2")
    assert (await sender.refusal())[1]["type"].endswith("/version")


async def test_records_before_hello_are_answered_with_the_remedy(served: Served) -> None:
    sender = served.sender()
    await sender.send(b"SEND", tag(5), event(1))
    id, problem = await sender.refusal()
    assert (id, problem["status"]) == (5, 428)
    assert served.intake.calls == 0


async def test_an_empty_message_is_ok_and_gives_its_credit_back(served: Served) -> None:
    sender = served.sender()
    await sender.hello()
    await sender.send(b"SEND", tag(1), b"\n\n")
    assert await sender.answer_but_credit() == [b"OK", tag(1)]
    assert served.ingest.bytes_in_use == 0


async def test_a_message_beyond_the_credit_is_not_taken(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    async with serving(context, SMALL) as served:
        sender = served.sender()
        credit = await sender.hello()
        await sender.send(b"SEND", tag(1), b" " * (credit + 1))
        _, problem = await sender.refusal()
        assert (problem["status"], problem["retry_after"]) == (429, 1)
        assert served.ingest.bytes_in_use == 0


async def test_credit_used_is_granted_again_and_memory_stays_within_the_total(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    async with serving(context, SMALL) as served:
        sender = served.sender()
        credit = await sender.hello()
        sent = 0
        for turn in range(200):
            while sent + len(event(turn)) > credit:
                got = await sender.answer()
                credit = number(got[1]) if got[0] == b"CREDIT" else credit
            await sender.send(b"SEND", tag(turn), event(turn))
            sent += len(event(turn))
            assert served.ingest.bytes_claimed <= 4000
        await until(lambda: len(served.intake.records) == 200)


async def test_a_full_spool_refuses_and_withholds_credit_until_its_time_is_over(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    async with serving(context, SMALL) as served:
        sender = served.sender()
        credit = await sender.hello()
        served.intake.refusal = Full(0.2)
        body = event(1, subject="s" * 400)
        await sender.send(b"SEND", tag(1), body)
        _, problem = await sender.refusal()
        assert (problem["status"], problem["retry_after"]) == (429, 1)
        served.intake.refusal = None
        # The wait is told in whole seconds; the credit itself comes when it comes.
        command, again = await sender.answer()
        assert command == b"CREDIT"
        assert number(again) == credit + len(body)


async def test_an_intake_that_is_stopping_withholds_credit_too(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    async with serving(context, SMALL) as served:
        sender = served.sender()
        await sender.hello()
        served.intake.refusal = Unavailable(60, "stopping")
        await sender.send(b"SEND", tag(1), event(1, subject="s" * 400))
        assert (await sender.refusal())[1]["status"] == 503
        served.intake.refusal = None
        other = served.sender()
        assert await other.hello() == 0


async def test_clients_beyond_the_places_are_refused_until_one_leaves(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    async with serving(context, SMALL) as served:
        first, second, third = served.sender(), served.sender(), served.sender()
        await first.hello()
        await second.hello()
        await third.send(b"HELLO", b"1")
        assert (await third.refusal())[1]["status"] == 503
        first.socket.close(0)
        await until(lambda: served.ingest.connections == 2)
        assert await third.hello() >= 500


async def test_a_client_that_leaves_its_answers_unread_is_forgotten(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    async with serving(context, ZeromqBounds(answers=1)) as served:
        sender = served.sender(queued=2)
        await sender.hello()
        sender.socket.pause()
        sent = 0

        async def until_forgotten() -> None:
            nonlocal sent
            while served.ingest.clients:
                await sender.send(b"SEND", tag(sent), b"{" + b"x" * 100)
                sent += 1

        async with asyncio.timeout(WAIT):
            await until_forgotten()
        assert served.ingest.bytes_claimed == 0


async def test_a_client_that_went_away_is_noticed_by_the_sweep(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    async with serving(context, ZeromqBounds(sweep_seconds=0.02)) as served:
        sender = served.sender()
        await sender.hello()
        assert served.ingest.clients == 1
        sender.socket.close(0)
        await until(lambda: served.ingest.clients == 0)
        assert served.ingest.bytes_claimed == 0


async def test_a_client_that_went_away_keeps_its_records_and_frees_its_memory(served: Served) -> None:
    sender = served.sender()
    await sender.hello()
    served.intake.gate.clear()
    await sender.send(b"SEND", tag(1), event(1))
    await until(lambda: served.intake.calls == 1)
    sender.socket.close(0)
    await until(lambda: served.ingest.connections == 0)
    served.intake.gate.set()
    await until(lambda: served.ingest.bytes_in_use == 0)
    assert served.intake.records == [event(1)]
    assert served.ingest.clients == 0


async def test_a_second_hello_starts_the_count_anew(served: Served) -> None:
    sender = served.sender()
    first = await sender.hello()
    await sender.send(b"SEND", tag(1), event(1))
    assert await sender.answer() == [b"OK", tag(1)]
    assert await sender.answer() == [b"CREDIT", tag(first + len(event(1)))]
    assert await sender.hello() == first
    assert served.ingest.clients == 1


async def test_beyond_the_messages_in_service_nothing_is_read(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    async with serving(context, ZeromqBounds(in_service=3)) as served:
        sender = served.sender()
        await sender.hello()
        served.intake.gate.clear()
        for turn in range(10):
            await sender.send(b"SEND", tag(turn), event(turn))
        await until(lambda: served.intake.calls >= 3)
        for _ in range(50):
            await asyncio.sleep(0)
        assert served.intake.calls == 3
        served.intake.gate.set()
        assert [await sender.answer_but_credit() for _ in range(10)] == [[b"OK", tag(turn)] for turn in range(10)]


async def test_a_connection_beyond_the_cap_is_dropped_and_let_in_when_another_has_ended(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    async with serving(context, ZeromqBounds(connections=2)) as served:
        first, second = served.sender(), served.sender()
        await first.hello()
        await second.hello()
        third = served.sender()
        await third.send(b"HELLO", b"1")
        await until(lambda: served.ingest.connections_refused > 0)
        assert third.answers.empty()
        first.socket.close(0)
        assert (await third.answer())[0] == b"CREDIT"
        await second.send(b"SEND", tag(1), event(1))
        assert await second.answer_but_credit() == [b"OK", tag(1)]


async def test_a_frame_beyond_every_limit_ends_the_connection(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    async with serving(context, limits=Limits(batch_bytes=1000)) as served:
        sender = served.sender()
        await sender.hello()
        await sender.send(b"SEND", tag(1), bytes(2 * 1024 * 1024))
        await until(lambda: served.ingest.connections == 0)
        assert served.intake.calls == 0
        assert served.ingest.connections_ended > 0


async def test_closing_answers_what_is_in_service(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    async with serving(context) as served:
        sender = served.sender()
        await sender.hello()
        served.intake.gate.clear()
        await sender.send(b"SEND", tag(1), event(1))
        await until(lambda: served.intake.calls == 1)
        closing = asyncio.create_task(served.ingest.close(WAIT))
        await asyncio.sleep(0)
        served.intake.gate.set()
        await closing
        assert await sender.answer_but_credit() == [b"OK", tag(1)]


async def test_closing_does_not_wait_for_ever(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    async with serving(context) as served:
        sender = served.sender()
        await sender.hello()
        served.intake.gate.clear()
        await sender.send(b"SEND", tag(1), event(1))
        await until(lambda: served.intake.calls == 1)
        async with asyncio.timeout(WAIT):
            await served.ingest.close(0.01)


async def test_a_port_that_is_taken_is_an_error(served: Served) -> None:
    other: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with pytest.raises(zmq.ZMQError, match="in use"):
        ZeromqIngest(other, served.ingest.port, served.intake, Limits(), ZeromqBounds())
    other.term()
