"""A destination that says no for good: the log concerned gets no receipt, the others go on, a person is told."""

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from meterfabric_sink.destination.base import DestinationRefused
from meterfabric_sink.destination.open import destination, local_path
from meterfabric_sink.meters import Meters
from meterfabric_sink.refusals import Refusals
from tests.sink.postgres_server import PostgresServer
from tests.sink.worker_bench import Log, running


def change(url: str, sql: str, *parameters: object) -> None:
    """Alter what is stored behind the worker's back."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(local_path(url))) as database, database:
            assert database.execute(sql, parameters).rowcount == 1
    else:
        with psycopg.connect(url, options="-c search_path=meterfabric") as server:
            assert server.execute(sql.replace("?", "%s").encode(), parameters).rowcount == 1


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def table_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty destination with a table of records."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'records.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.empty_database()


async def test_one_logs_conflict_costs_no_other_log_and_ends_when_it_is_mended(table_url: str, tmp_path: Path) -> None:
    async with running(tmp_path, destination(table_url)) as bench:
        logs = [Log(bench.authority, f"web-{number}") for number in range(4)]
        bad = logs[1]
        # A row that no batch of the log brought stands where its fourth record is to go.
        change(table_url, "INSERT INTO records(origin, idx) VALUES(?, 3)", bad.origin)
        items = {log.origin: [log.seal(2) for _ in range(3)] for log in logs}
        for number in range(3):
            for log in logs:
                bench.worker.take(items[log.origin][number])
        await bench.until(lambda: len(bench.answers) == 12)
        kinds = {
            log.origin: [answer.kind for item, answer in bench.answers if item.origin == log.origin] for log in logs
        }
        assert kinds.pop(bad.origin) == ["receipt", "refused", "position"]
        assert all(each == ["receipt"] * 3 for each in kinds.values())
        (refusal,) = [answer for _, answer in bench.answers if answer.kind == "refused"]
        assert (refusal.reason, refusal.size, refusal.cosignature) == ("destination", 0, "")
        held = await bench.store.positions([log.origin for log in logs])
        assert [held[log.origin].size for log in logs] == [6, 2, 6, 6]
        (told,) = bench.worker.refusals.reasons()
        assert told.startswith(f"destination refuses {bad.origin}: ")
        assert "\n" not in told
        change(table_url, "DELETE FROM records WHERE origin = ? AND idx = 3", bad.origin)
        for item in items[bad.origin][1:]:
            bench.worker.take(item)
        await bench.until(lambda: len(bench.answers) == 14)
        assert bench.kinds()[-2:] == ["receipt", "receipt"]
        assert bench.worker.refusals.reasons() == []


async def test_a_row_that_is_damaged_stops_its_own_log_alone(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'records.db'}"
    async with running(tmp_path, destination(url)) as bench:
        one, two = Log(bench.authority, "web-0"), Log(bench.authority, "web-1")
        bench.worker.take(one.seal(1))
        bench.worker.take(two.seal(1))
        await bench.until(lambda: len(bench.answers) == 2)
        change(url, "UPDATE logs SET closed = 7 WHERE origin = ?", one.origin)
        # What is remembered of both is forgotten, as at a start.
        bench.worker._view.clear()
        bench.worker.take(one.seal(1))
        bench.worker.take(two.seal(1))
        await bench.until(lambda: len(bench.answers) == 4)
        assert {(item.origin, answer.kind) for item, answer in bench.answers[2:]} == {
            (one.origin, "refused"),
            (two.origin, "receipt"),
        }


@pytest.mark.integration
async def test_a_privilege_that_is_missing_refuses_every_log_until_it_is_granted(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.empty_database()
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("DROP OWNED BY writer" if _has_role(server) else "CREATE ROLE writer LOGIN")
        server.execute("GRANT CREATE ON DATABASE postgres TO writer")
        async with running(tmp_path, destination(url.replace("meterfabric@", "writer@"))) as bench:
            server.execute("REVOKE INSERT ON meterfabric.records FROM writer")
            logs = [Log(bench.authority, f"web-{number}") for number in range(3)]
            items = [log.seal(2) for log in logs]
            for item in items:
                bench.worker.take(item)
            await bench.until(lambda: len(bench.answers) == 3)
            assert bench.kinds() == ["refused"] * 3
            assert bench.worker.refusals.reasons() == [
                "destination refuses 3 logs: PostgreSQL: permission denied for table records"
            ]
            assert not await bench.store.positions([log.origin for log in logs])
            server.execute("GRANT INSERT ON meterfabric.records TO writer")
            for item in items:
                bench.worker.take(item)
            await bench.until(lambda: len(bench.answers) == 6)
            assert bench.kinds()[3:] == ["receipt"] * 3
            assert bench.worker.refusals.reasons() == []


def _has_role(server: psycopg.Connection[tuple[object, ...]]) -> bool:
    return server.execute("SELECT 1 FROM pg_roles WHERE rolname = 'writer'").fetchone() is not None


def test_a_refusal_of_a_log_that_never_comes_again_is_not_told_for_ever() -> None:
    now = 0.0
    refusals = Refusals(Meters(), lambda: now)
    refusals.add("one", DestinationRefused("no\nroom"))
    assert refusals.reasons() == ["destination refuses one: no room"]
    now = 1_000.0
    assert refusals.reasons() == []


def test_causes_are_told_in_few_lines_whatever_their_number() -> None:
    refusals = Refusals(Meters(), lambda: 0.0)
    for number in range(50):
        refusals.add(f"log-{number}", DestinationRefused(f"cause {number % 10 if number < 40 else 0}"))
    told = refusals.reasons()
    assert told[0] == "destination refuses 14 logs: cause 0"
    assert told[-1] == "and 7 causes more"
    assert len(told) == 4
