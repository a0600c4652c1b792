import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator

import psycopg
import pytest

from meterfabric_sink.destination import postgres_rows
from meterfabric_sink.destination.base import DestinationDown, DestinationRefused, LogUpdate, PositionMoved
from meterfabric_sink.destination.postgres import PostgresDestination
from meterfabric_sink.evidence import open_evidence
from tests.sink.postgres_server import PostgresServer
from tests.sink.sink_logs import Log, event, hold_together

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 60.0


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.empty_database()


@pytest.fixture
async def sink(url: str) -> AsyncIterator[PostgresDestination]:
    found = PostgresDestination(url)
    await found.open()
    yield found
    await found.close()


def _ask(url: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(sql.encode()).fetchall()


async def test_records_are_queried_by_their_attributes(sink: PostgresDestination, url: str) -> None:
    log = Log()
    await sink.commit([log.add([event(0), event(1, subject=None), b"{", event(3, data="\0")]).next()])
    found = _ask(
        url,
        "SELECT idx, id, subject, data->>'unit', extract(epoch FROM time)::float FROM meterfabric.records ORDER BY idx",
    )
    assert found == [
        (0, "event-0", "customer-0", "s", 1795501992.5),
        (1, "event-1", None, "s", 1795501992.5),
        (2, None, None, None, None),
        (3, "event-3", "customer-3", None, 1795501992.5),
    ]


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_that_keeps_text_otherwise_is_refused_with_a_word_on_what_to_do(
    postgres: PostgresServer, encoding: str
) -> None:
    sink = PostgresDestination(postgres.new_database(encoding=encoding))
    try:
        with pytest.raises(DestinationRefused, match=f"encoding {encoding}.*ENCODING 'UTF8'"):
            await sink.open()
    finally:
        await sink.close()


async def test_what_a_client_says_of_its_own_encoding_changes_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    sink = PostgresDestination(url)
    await sink.open()
    try:
        log = Log()
        await sink.commit([log.add([event(0, subject="é€")]).next()])
        assert (await sink.positions([log.origin]))[log.origin].size == 1
    finally:
        await sink.close()
    assert _ask(url, "SELECT convert_to(subject, 'UTF8') FROM meterfabric.records") == [("é€".encode(),)]


async def test_a_row_the_server_refuses_after_all_costs_only_its_columns(
    sink: PostgresDestination, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the checks missed something: a U+0000 in jsonb, in the second of three batches.
    monkeypatch.setattr(postgres_rows, "_jsonb_holds", lambda data: True)
    log = Log()
    bad = [event(3), event(4, data="\0"), event(5)]
    await sink.commit([log.records(3).add(bad).records(3).next()])
    found = _ask(url, "SELECT idx FROM meterfabric.records WHERE id IS NULL ORDER BY idx")
    assert found == [(3,), (4,), (5,)]
    with open_evidence(url) as evidence:
        assert hold_together(evidence) == {log.origin: 9}


async def test_many_workers_may_start_at_once(url: str) -> None:
    sinks = [PostgresDestination(url) for _ in range(6)]
    await asyncio.gather(*(sink.open() for sink in sinks))
    await asyncio.gather(*(sink.close() for sink in sinks))
    assert _ask(url, "SELECT version FROM meterfabric.schema_version") == [(1,)]


async def test_a_schema_of_a_newer_release_is_refused(sink: PostgresDestination, url: str) -> None:
    await sink.close()
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE meterfabric.schema_version SET version = 99")
    with pytest.raises(DestinationRefused, match="version 99"):
        await sink.open()


async def test_a_user_without_rights_is_refused_with_the_servers_words(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN")
    with pytest.raises(DestinationRefused, match="permission denied"):
        await PostgresDestination(url.replace("meterfabric@", "guest@")).open()


async def test_workers_that_race_for_the_same_logs_write_every_record_exactly_once(url: str) -> None:
    sinks = [PostgresDestination(url) for _ in range(4)]
    await asyncio.gather(*(sink.open() for sink in sinks))
    target, moved = 300, 0

    async def work(number: int) -> None:
        nonlocal moved
        sink, draw = sinks[number], random.Random(number)
        plans = {log.origin: log for log in (Log(f"meter-{n}") for n in range(3))}
        while plans:
            held = await sink.positions(list(plans))
            updates = []
            for origin in draw.sample(list(plans), len(plans)):
                log = plans[origin]
                size = held[origin].size if origin in held else 0
                if size >= target:
                    del plans[origin]
                    continue
                if log.size != size:
                    log = plans[origin] = _log_at(log, size)
                updates.append(log.records(10).next())
            try:
                await sink.commit(updates)
            except PositionMoved:
                moved += 1

    await asyncio.gather(*(work(number) for number in range(len(sinks))))
    await asyncio.gather(*(sink.close() for sink in sinks))
    assert moved
    with open_evidence(url) as evidence:
        sizes = hold_together(evidence)
        assert list(sizes.values()) == [target] * 3
        for origin in sizes:
            leaves = [leaf for each in evidence.leaves(origin) for leaf in each.leaves]
            assert leaves == [event(number) for number in range(target)]


def _log_at(log: Log, size: int) -> Log:
    again = Log(log.origin.split("/")[2])
    while again.size < size:
        again.records(10)
    again.next()
    return again


@pytest.mark.fault
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_server_that_goes_and_comes_back_gets_every_record_exactly_once(
    postgres: PostgresServer, url: str, how: str
) -> None:
    sink = PostgresDestination(url)
    await sink.open()
    log, down, done = Log(), 0, asyncio.Event()

    async def commit_on() -> None:
        nonlocal down, log
        while not done.is_set():
            try:
                held = (await sink.positions([log.origin])).get(log.origin)
                log = _log_at(log, held.size if held else 0)
                for _ in range(20):
                    await sink.commit([log.records(10).next()])
            except DestinationDown:
                down += 1
                await asyncio.sleep(0.02)  # the worker's back-off between two looks

    async def outages() -> None:
        for _ in range(3):
            seen = down
            await asyncio.to_thread(postgres.stop if how == "stop" else postgres.kill)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while down == seen:
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(postgres.start)
            size = log.size
            async with asyncio.timeout(DEADLINE_SECONDS):
                while log.size < size + 100:
                    await asyncio.sleep(0.01)
        done.set()

    await asyncio.gather(commit_on(), outages())
    await sink.close()
    assert down >= 3
    with open_evidence(url) as evidence:
        ((origin, size),) = hold_together(evidence).items()
        assert [leaf for each in evidence.leaves(origin) for leaf in each.leaves] == [
            event(number) for number in range(size)
        ]


async def test_a_session_ended_by_the_server_is_down_once_and_then_goes_on(sink: PostgresDestination, url: str) -> None:
    log = Log()
    await sink.commit([log.records(3).next()])
    _ask(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'meterfabric'")
    update = log.records(3).next()
    with pytest.raises(DestinationDown):
        await sink.commit([update])
    await sink.commit([update])
    assert (await sink.positions([log.origin]))[log.origin].size == 6


@pytest.mark.fault
async def test_a_server_that_hangs_is_down_after_a_stated_time(url: str) -> None:
    sink = PostgresDestination(url, seconds=2)
    await sink.open()
    log = Log()
    await sink.commit([log.records(3).next()])
    update = log.records(3).next()
    ((pid,),) = _ask(url, "SELECT pid FROM pg_stat_activity WHERE application_name = 'meterfabric'")
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(DestinationDown, match="no answer in 2 s"):
            await sink.commit([update])
    finally:
        os.kill(pid, signal.SIGCONT)
    await sink.commit([update])
    assert (await sink.positions([log.origin]))[log.origin].size == 6
    await sink.close()


async def test_a_cancelled_commit_leaves_the_destination_usable(sink: PostgresDestination, url: str) -> None:
    log = Log()
    await sink.commit([log.records(3).next()])
    update = log.records(2000).next()
    task = asyncio.create_task(sink.commit([update]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await sink.positions([log.origin]))[log.origin].size == 3
    await sink.commit([update])
    with open_evidence(url) as evidence:
        assert hold_together(evidence) == {log.origin: 2003}


async def test_a_session_is_durable_even_where_the_server_says_otherwise(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER ROLE meterfabric SET synchronous_commit = off")
    sink = PostgresDestination(url)
    try:
        await sink.open()
        async with sink._connected() as connection_of_sink:
            cursor = await connection_of_sink.execute("SHOW synchronous_commit")
            assert await cursor.fetchone() == ("on",)
    finally:
        await sink.close()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER ROLE meterfabric RESET synchronous_commit")


async def test_no_updates_are_no_work(sink: PostgresDestination) -> None:
    await sink.commit([])


async def test_a_head_alone_needs_no_copy(sink: PostgresDestination) -> None:
    log = Log()
    await sink.commit([LogUpdate(log.origin, None, log.held)])
    assert await sink.positions([log.origin]) == {log.origin: log.held}
