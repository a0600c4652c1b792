"""What clients send over ZeroMQ is taken, answered, refused: one message at a time."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import zmq

from meterfabric_protocol.limits import Limits
from meterfabric_sidecar.ingest.credit import CreditBounds
from meterfabric_sidecar.ingest.intake import Conflict
from meterfabric_sidecar.ingest.zeromq import ZeromqBounds, ZeromqIngest
from tests.sidecar.memory_intake import event
from tests.sidecar.zeromq_rig import WAIT, Served, number, serving, tag, until


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as made:
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


async def test_closing_answers_what_is_in_service() -> None:
    async with serving() as served:
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


async def test_closing_does_not_wait_for_ever() -> None:
    async with serving() as served:
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
