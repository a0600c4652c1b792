"""What the ZeroMQ ingest holds at most: credit, clients, connections, messages in service, answers unread."""

import asyncio

from meterfabric_protocol.limits import Limits
from meterfabric_sidecar.ingest.intake import Full, Unavailable
from meterfabric_sidecar.ingest.zeromq import ZeromqBounds
from tests.sidecar.memory_intake import event
from tests.sidecar.zeromq_rig import SMALL, WAIT, number, serving, tag, until


async def test_a_message_beyond_the_credit_is_not_taken() -> None:
    async with serving(SMALL) as served:
        sender = served.sender()
        credit = await sender.hello()
        await sender.send(b"SEND", tag(1), b" " * (credit + 1))
        _, problem = await sender.refusal()
        assert (problem["status"], problem["retry_after"]) == (429, 1)
        assert served.ingest.bytes_in_use == 0


async def test_credit_used_is_granted_again_and_memory_stays_within_the_total() -> None:
    async with serving(SMALL) as served:
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


async def test_a_full_spool_refuses_and_withholds_credit_until_its_time_is_over() -> None:
    async with serving(SMALL) as served:
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


async def test_an_intake_that_is_stopping_withholds_credit_too() -> None:
    async with serving(SMALL) as served:
        sender = served.sender()
        await sender.hello()
        served.intake.refusal = Unavailable(60, "stopping")
        await sender.send(b"SEND", tag(1), event(1, subject="s" * 400))
        assert (await sender.refusal())[1]["status"] == 503
        served.intake.refusal = None
        other = served.sender()
        assert await other.hello() == 0


async def test_clients_beyond_the_places_are_refused_until_one_leaves() -> None:
    async with serving(SMALL) as served:
        first, second, third = served.sender(), served.sender(), served.sender()
        await first.hello()
        await second.hello()
        await third.send(b"HELLO", b"1")
        assert (await third.refusal())[1]["status"] == 503
        first.socket.close(0)
        await until(lambda: served.ingest.connections == 2)
        assert await third.hello() >= 500


async def test_a_client_that_leaves_its_answers_unread_is_forgotten() -> None:
    async with serving(ZeromqBounds(answers=1)) as served:
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


async def test_a_client_that_went_away_is_noticed_by_the_sweep() -> None:
    async with serving(ZeromqBounds(sweep_seconds=0.02)) as served:
        sender = served.sender()
        await sender.hello()
        assert served.ingest.clients == 1
        sender.socket.close(0)
        await until(lambda: served.ingest.clients == 0)
        assert served.ingest.bytes_claimed == 0


async def test_beyond_the_messages_in_service_nothing_is_read() -> None:
    async with serving(ZeromqBounds(in_service=3)) as served:
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


async def test_a_connection_beyond_the_cap_is_dropped_and_let_in_when_another_has_ended() -> None:
    async with serving(ZeromqBounds(connections=2)) as served:
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


async def test_a_frame_beyond_every_limit_ends_the_connection() -> None:
    async with serving(limits=Limits(batch_bytes=1000)) as served:
        sender = served.sender()
        await sender.hello()
        await sender.send(b"SEND", tag(1), bytes(2 * 1024 * 1024))
        await until(lambda: served.ingest.connections == 0)
        assert served.intake.calls == 0
        assert served.ingest.connections_ended > 0
