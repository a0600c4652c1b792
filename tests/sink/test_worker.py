"""The worker on a real destination: positions that moved, a store that is away, and what waits meanwhile."""

import time
from collections.abc import Sequence
from pathlib import Path

from meterfabric_protocol.delivery.stored import LogUpdate
from meterfabric_sink.destination.base import DestinationDown
from meterfabric_sink.destination.sqlite import SqliteDestination
from tests.sink.worker_bench import Log, running


class Flaky(SqliteDestination):
    """A destination that is away when told so."""

    away = False

    async def commit(self, updates: Sequence[LogUpdate]) -> None:
        if self.away:
            raise DestinationDown("unplugged")
        await super().commit(updates)


async def test_batches_in_order_get_receipts_in_order(tmp_path: Path) -> None:
    async with running(tmp_path, SqliteDestination(tmp_path / "records.db")) as bench:
        log = Log(bench.authority, "web-0")
        items = [log.seal(3) for _ in range(20)]
        for item in items:
            bench.worker.take(item)
        await bench.until(lambda: len(bench.answers) == 20)
        assert bench.kinds() == ["receipt"] * 20
        assert [item for item, _ in bench.answers] == items
        assert (await bench.store.positions([log.origin]))[log.origin].size == 60
        await bench.until(lambda: bench.worker.idle)


class Counting(SqliteDestination):
    """A destination that remembers how many batches each commit had."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.commits: list[int] = []

    async def commit(self, updates: Sequence[LogUpdate]) -> None:
        self.commits.append(sum(len(update.batches) for update in updates))
        await super().commit(updates)


async def test_many_small_batches_are_answered_some_at_a_time(tmp_path: Path) -> None:
    store = Counting(tmp_path / "records.db")
    async with running(tmp_path, store) as bench:
        log = Log(bench.authority, "web-0")
        for _ in range(200):
            bench.worker.take(log.seal(1))
        await bench.until(lambda: len(bench.answers) == 200)
        assert bench.kinds() == ["receipt"] * 200
        assert sum(store.commits) == 200
        assert max(store.commits) == 64


async def test_a_batch_beyond_the_position_is_answered_with_that_position(tmp_path: Path) -> None:
    async with running(tmp_path, SqliteDestination(tmp_path / "records.db")) as bench:
        log = Log(bench.authority, "web-0")
        first, lost, beyond = log.seal(2), log.seal(2), log.seal(2)
        bench.worker.take(first)
        bench.worker.take(beyond)
        await bench.until(lambda: len(bench.answers) == 2)
        assert bench.kinds() == ["receipt", "position"]
        assert bench.answers[1][1].size == 2
        bench.worker.take(lost)
        bench.worker.take(beyond)
        await bench.until(lambda: len(bench.answers) == 4)
        assert bench.kinds()[2:] == ["receipt", "receipt"]


async def test_a_batch_that_is_held_already_gets_its_receipt_again_and_is_not_stored_twice(tmp_path: Path) -> None:
    async with running(tmp_path, SqliteDestination(tmp_path / "records.db")) as bench:
        log = Log(bench.authority, "web-0")
        item = log.seal(5)
        for _ in range(3):
            bench.worker.take(item)
        await bench.until(lambda: len(bench.answers) == 3)
        assert bench.kinds() == ["receipt"] * 3
        assert len({answer.cosignature for _, answer in bench.answers}) == 1
        assert (await bench.store.positions([log.origin]))[log.origin].records == 5


async def test_a_position_that_another_worker_moved_is_read_again_before_a_no(tmp_path: Path) -> None:
    async with running(tmp_path, SqliteDestination(tmp_path / "records.db")) as bench:
        log = Log(bench.authority, "web-0")
        first, second, third = log.seal(1), log.seal(1), log.seal(1)
        bench.worker.take(first)
        await bench.until(lambda: len(bench.answers) == 1)
        # What another worker of the sink would do, behind this one's back.
        held = await bench.store.positions([log.origin])
        verdict = bench.worker._core.judge([second], held, held.keys(), int(time.time()))
        await bench.store.commit(list(verdict.updates.values()))
        bench.worker.take(third)
        await bench.until(lambda: len(bench.answers) == 2)
        assert bench.kinds() == ["receipt", "receipt"]


async def test_nothing_is_answered_while_the_destination_is_away_and_all_is_once_it_is_back(tmp_path: Path) -> None:
    store = Flaky(tmp_path / "records.db")
    async with running(tmp_path, store) as bench:
        logs = [Log(bench.authority, f"web-{number}") for number in range(3)]
        store.away = True
        for log in logs:
            for _ in range(4):
                bench.worker.take(log.seal(2))
        await bench.until(lambda: bench.worker.down is not None)
        assert bench.answers == []
        assert not bench.worker.idle
        store.away = False
        await bench.until(lambda: len(bench.answers) == 12)
        assert set(bench.kinds()) == {"receipt"}
        held = await bench.store.positions([log.origin for log in logs])
        assert [held[log.origin].records for log in logs] == [8, 8, 8]
        assert bench.worker.down is None
