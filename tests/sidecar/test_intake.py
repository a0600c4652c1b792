"""Group commit: what is answered is durable, all or nothing, once."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meterfabric_protocol.limits import Limits
from meterfabric_protocol.notice import Closed, SinkLeft
from meterfabric_protocol.record import Split, split_lines
from meterfabric_sidecar.ingest.intake import Conflict, Full, TooLarge, Unavailable
from meterfabric_sidecar.intake import Intake, IntakeSettings
from meterfabric_sidecar.spool import SpoolFull
from tests.spools import Rig, leaves_in, leaves_of, only_notices, only_records, opened, record, records, until


async def accepted(rig: Rig) -> list[bytes]:
    return only_records((await leaves_in(rig.spool))[rig.origin])


class Gate:
    """Holds the spool's writer back, so that a test sees what gathers meanwhile."""

    def __init__(self, rig: Rig) -> None:
        self._open = threading.Event()
        self._commit = rig.spool.commit
        self.waiting = 0
        rig.spool.commit = self.commit  # type: ignore[method-assign]

    async def commit(self, *args: Any) -> None:
        self.waiting += 1
        await asyncio.to_thread(self._open.wait)
        await self._commit(*args)

    def open(self) -> None:
        self._open.set()


async def test_what_is_answered_is_in_the_spool(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.intake.accept(records(range(3)))
        assert await accepted(rig) == [record(0), record(1), record(2)]
        head = rig.keys.head()
        assert head is not None
        assert (head.origin, head.size) == (rig.origin, 4)
        assert head.root == await rig.spool.root_at(rig.origin, 4)


async def test_an_empty_submission_is_answered_and_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.intake.accept(Split(b"", [], b""))
        assert len(rig.sealed) == 1


async def test_submissions_gather_while_the_batch_before_is_fsynced(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        gate = Gate(rig)
        tasks = [asyncio.create_task(rig.intake.accept(records([0])))]
        await until(lambda: gate.waiting == 1)
        tasks += [asyncio.create_task(rig.intake.accept(records([n]))) for n in range(1, 50)]
        gate.open()
        await asyncio.gather(*tasks)
        assert [batch.records for batch in rig.sealed] == [0, 1, 49]
        assert await accepted(rig) == [record(n) for n in range(50)]


async def test_a_full_batch_is_sealed_while_the_one_before_is_fsynced(tmp_path: Path) -> None:
    async with opened(tmp_path, intake=IntakeSettings(max_records=10)) as rig:
        gate = Gate(rig)
        tasks = [asyncio.create_task(rig.intake.accept(records(range(n, n + 5)))) for n in range(0, 40, 5)]
        await until(lambda: gate.waiting == 1)
        await until(lambda: rig.log.sealer.frontier.size == 21)
        gate.open()
        await asyncio.gather(*tasks)
        assert [batch.records for batch in rig.sealed[1:]] == [10, 10, 10, 10]


async def test_senders_that_come_together_share_a_batch(tmp_path: Path) -> None:
    async with opened(tmp_path, intake=IntakeSettings(max_delay=5.0)) as rig:
        await asyncio.gather(*(rig.intake.accept(records([n])) for n in range(3)))

        async def later() -> None:
            await asyncio.sleep(0)
            await rig.intake.accept(records([12]))

        # Three were here last time: the first two wait for the third.
        await asyncio.gather(rig.intake.accept(records([10])), rig.intake.accept(records([11])), later())
        assert [batch.records for batch in rig.sealed[1:]] == [3, 3]


async def test_who_waits_for_company_in_vain_goes_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, intake=IntakeSettings(max_delay=0.01)) as rig:
        await asyncio.gather(*(rig.intake.accept(records([n])) for n in range(3)))
        await rig.intake.accept(records([10]))
        await rig.intake.accept(records([11]))
        assert [batch.records for batch in rig.sealed[1:]] == [3, 1, 1]


async def test_a_repeat_is_answered_and_not_logged_twice(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.intake.accept(records(range(5)))
        await rig.intake.accept(records(range(5)))
        await rig.intake.accept(records(range(3, 8)))
        assert await accepted(rig) == [record(n) for n in range(8)]


async def test_a_repeat_within_one_submission_is_logged_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.intake.accept(records([1, 2, 1]))
        assert await accepted(rig) == [record(1), record(2)]


async def test_repeats_in_one_batch_and_of_the_batch_on_its_way_are_logged_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        gate = Gate(rig)
        tasks = [asyncio.create_task(rig.intake.accept(records([1])))]
        await until(lambda: gate.waiting == 1)
        tasks += [asyncio.create_task(rig.intake.accept(records([1, n]))) for n in (2, 3, 2)]
        gate.open()
        await asyncio.gather(*tasks)
        assert await accepted(rig) == [record(1), record(2), record(3)]


async def test_a_repeat_is_not_answered_before_what_it_repeats_is_durable(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        gate = Gate(rig)
        first = asyncio.create_task(rig.intake.accept(records([1])))
        await until(lambda: gate.waiting == 1)
        again = asyncio.create_task(rig.intake.accept(records([1])))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not again.done()
        gate.open()
        await asyncio.gather(first, again)


@pytest.mark.parametrize("settled", [True, False])
async def test_other_bytes_under_a_known_id_are_refused_with_all_that_came_along(tmp_path: Path, settled: bool) -> None:
    async with opened(tmp_path) as rig:
        first = asyncio.create_task(rig.intake.accept(records(range(5))))
        await (first if settled else asyncio.sleep(0))
        with pytest.raises(Conflict) as refused:
            await rig.intake.accept(split_lines(record(9) + b"\n" + record(3, "other")))
        await first
        assert (refused.value.index, refused.value.source, refused.value.id) == (1, "/meter", "3")
        assert await accepted(rig) == [record(n) for n in range(5)]
        # What was refused is not known either.
        await rig.intake.accept(records([9]))
        assert (await accepted(rig))[-1] == record(9)


async def test_the_window_survives_a_restart_and_the_payloads_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        sealed = await rig.fill(3)
        rig.spool.drop_to(rig.origin, sealed[-1].size)
        await rig.spool.flush()
    async with opened(tmp_path) as rig:
        await rig.intake.accept(records(range(30)))
        with pytest.raises(Conflict):
            await rig.intake.accept(records([7], "other"))
        assert rig.sealed == []


async def test_the_windows_table_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meterfabric_sidecar.spool.writer.STEP_BATCHES", 7)
    async with opened(tmp_path, dedup_records=100) as rig:
        await rig.fill(60)
        while rig.spool._upkeep:
            await rig.spool.flush()
        rows = await rig.spool.recent_after(0, 1000)
        assert sum(len(row.keys) for row in rows) <= 120
        await rig.intake.accept(records(range(560, 600)))
        assert len(await accepted(rig)) == 600


async def test_limits_are_named_before_anything_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        intake = Intake(rig.log, rig.dedup, limits=Limits(batch_records=3, batch_bytes=1000))
        with pytest.raises(TooLarge) as refused:
            await intake.accept(records(range(4)))
        assert (refused.value.limit, refused.value.value) == (3, 4)
        with pytest.raises(TooLarge):
            await intake.accept(records([1], "x" * 2000))


async def test_more_than_may_wait_is_refused_until_the_disk_has_caught_up(tmp_path: Path) -> None:
    size = len(record(1)) + 1
    async with opened(tmp_path, intake=IntakeSettings(waiting_bytes=size)) as rig:
        gate = Gate(rig)
        first = asyncio.create_task(rig.intake.accept(records([1])))
        await until(lambda: gate.waiting == 1)
        with pytest.raises(Full) as refused:
            await rig.intake.accept(records([2]))
        assert refused.value.retry_after > 0
        gate.open()
        await first
        assert rig.intake.waiting_bytes == 0
        await rig.intake.accept(records([2]))


async def test_notices_are_batches_of_their_own(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        told = SinkLeft(log=rig.origin, sink="a", size=1)
        done = await asyncio.gather(
            rig.intake.accept(records([1])), rig.intake.seal_notices([told]), rig.intake.accept(records([2]))
        )
        batch = done[1]
        assert batch.kind == "notices"
        assert only_notices(leaves_of(batch)) == [told]
        assert await accepted(rig) == [record(1), record(2)]


async def test_closing_finishes_what_was_taken_and_ends_the_log(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        taken = [asyncio.create_task(rig.intake.accept(records([n]))) for n in range(20)]
        await asyncio.sleep(0)
        last = await rig.intake.close()
        await asyncio.gather(*taken)
        assert last is not None
        assert only_notices(leaves_of(last)) == [Closed(log=rig.origin, records=20)]
        row = await rig.spool.log(rig.origin)
        assert (row.state, row.size) == ("closed", last.size)
        with pytest.raises(Unavailable):
            await rig.intake.accept(records([99]))
        with pytest.raises(Unavailable):
            await rig.intake.seal_notices([Closed(log=rig.origin, records=20)])


def failing(rig: Rig, times: int, *, stored: bool) -> Callable[[], int]:
    """Let commits fail, with or without having stored the batch: an fsync that fails can mean either."""
    commit, seen = rig.spool.commit, 0

    async def fail(*args: Any) -> None:
        nonlocal seen
        seen += 1
        if seen > times:
            return await commit(*args)
        if stored:
            await commit(*args)
        raise SpoolFull("the disk is away", 0.01)

    rig.spool.commit = fail  # type: ignore[method-assign]
    return lambda: seen


@pytest.mark.parametrize("stored", [True, False])
async def test_after_a_failed_commit_the_log_goes_on_from_what_the_disk_holds(tmp_path: Path, stored: bool) -> None:
    async with opened(tmp_path, intake=IntakeSettings(max_records=10)) as rig:
        failing(rig, 1, stored=stored)
        tasks = [asyncio.create_task(rig.intake.accept(records(range(n, n + 10)))) for n in range(0, 40, 10)]
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, Full) for each in done)
        assert rig.intake.waiting_bytes == 0
        for n in range(0, 40, 10):
            async with asyncio.timeout(10):
                while True:
                    try:
                        await rig.intake.accept(records(range(n, n + 10)))
                        break
                    except Full:
                        await asyncio.sleep(0.01)
        assert await accepted(rig) == [record(n) for n in range(40)]


async def test_an_error_nobody_expected_refuses_and_does_not_hang(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as rig:
        commit = rig.spool.commit

        async def odd(*args: Any) -> None:
            rig.spool.commit = commit  # type: ignore[method-assign]
            raise RuntimeError("odd")

        rig.spool.commit = odd  # type: ignore[method-assign, assignment]
        with pytest.raises(Full):
            await rig.intake.accept(records([1]))
        assert "odd" in caplog.text
        await until(lambda: rig.intake._mending is False)
        await rig.intake.accept(records([1]))
        assert await accepted(rig) == [record(1)]


async def test_closing_while_the_disk_is_away_leaves_the_log_to_the_next_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        failing(rig, 1000, stored=False)
        with pytest.raises(Full):
            await rig.intake.accept(records([1]))
        assert await rig.intake.close() is None
        origin = rig.origin
    async with opened(tmp_path) as rig:
        assert rig.origin == origin


async def test_a_head_that_cannot_be_written_refuses_and_the_retry_is_known(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        write_head = rig.keys.write_head

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        rig.keys.write_head = full  # type: ignore[method-assign]
        with pytest.raises(Full):
            await rig.intake.accept(records([1]))
        rig.keys.write_head = write_head  # type: ignore[method-assign]
        async with asyncio.timeout(10):
            while True:
                try:
                    await rig.intake.accept(records([1]))
                    break
                except Full:
                    await asyncio.sleep(0.02)
        await rig.intake.accept(records([2]))
        assert await accepted(rig) == [record(1), record(2)]
        head = rig.keys.head()
        assert head is not None
        assert head.size == 3
