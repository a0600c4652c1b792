"""The pod's log across keys, restarts, rollbacks and forks."""

import shutil
import sqlite3
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest

from meterfabric_protocol.merkle import EMPTY_ROOT
from meterfabric_protocol.notice import Again, Closed, Continues, Damaged, Opened
from meterfabric_sidecar.intake import IntakeSettings
from meterfabric_sidecar.keys import KEY_FILE
from meterfabric_sidecar.spool import SpoolFull, StoredBatch
from tests.spools import Rig, leaves_in, only_notices, only_records, opened, record, records, until


async def first_notice(rig: Rig, origin: str | None = None) -> Any:
    return only_notices((await leaves_in(rig.spool))[origin or rig.origin][:1])[0]


async def test_after_a_crash_the_same_log_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.fill(2)
        origin = rig.origin
    async with opened(tmp_path) as rig:
        assert rig.origin == origin
        await rig.fill(1, start=20)
        assert only_records((await leaves_in(rig.spool))[origin]) == [record(n) for n in range(30)]


async def test_after_a_clean_end_a_new_log_continues(tmp_path: Path) -> None:
    async with opened(tmp_path, close=True) as rig:
        await rig.fill(2)
        origin = rig.origin
    async with opened(tmp_path) as rig:
        old = await rig.spool.log(origin)
        assert old.state == "closed"
        assert await first_notice(rig) == Continues(
            log=rig.origin, previous=origin, size=old.size, root=old.frontier.root(), reason="restart"
        )
        assert only_notices((await leaves_in(rig.spool))[origin])[-1] == Closed(log=origin, records=20)


async def test_a_deleted_key_means_a_new_log_and_the_old_one_is_dead(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.fill(1)
        origin = rig.origin
    (tmp_path / "key" / KEY_FILE).unlink()
    async with opened(tmp_path) as rig:
        old = await rig.spool.log(origin)
        assert old.state == "dead"
        assert (await first_notice(rig)).reason == "key-lost"
        assert (await first_notice(rig)).size == old.size == 11
        assert len([log for log in await rig.spool.logs() if log.state == "active"]) == 1


async def test_a_spool_copied_back_from_before_never_signs_a_second_root(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.fill(1)
        origin = rig.origin
    shutil.copytree(tmp_path / "spool", tmp_path / "copy")
    async with opened(tmp_path) as rig:
        await rig.fill(1, start=10)
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "copy").rename(tmp_path / "spool")
    async with opened(tmp_path) as rig:
        assert rig.origin != origin
        notice = await first_notice(rig)
        assert (notice.previous, notice.size, notice.heard, notice.reason) == (origin, 11, 21, "rollback")


@pytest.mark.parametrize("closed", [True, False])
async def test_a_spool_copied_back_from_before_the_keys_log_keeps_what_it_still_has_to_deliver(
    tmp_path: Path, closed: bool
) -> None:
    async with opened(tmp_path, close=closed) as rig:
        await rig.fill(1)
        earlier = rig.origin
    shutil.copytree(tmp_path / "spool", tmp_path / "copy")
    if not closed:
        (tmp_path / "key" / KEY_FILE).unlink()
    async with opened(tmp_path) as rig:
        await rig.fill(1, start=10)
        lost = rig.origin
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "copy").rename(tmp_path / "spool")
    async with opened(tmp_path) as rig:
        leaves = await leaves_in(rig.spool)
        assert only_records(leaves[earlier]) == [record(n) for n in range(10)]
        old = await rig.spool.log(earlier)
        assert old.state == "closed" if closed else "dead"
        assert only_notices(leaves[rig.origin]) == [
            Continues(log=rig.origin, previous=lost, size=0, root=EMPTY_ROOT, heard=11, reason="rollback"),
            Continues(log=rig.origin, previous=earlier, size=old.size, root=old.frontier.root(), reason="rollback"),
        ]
        await rig.fill(1, start=20)


async def test_a_deleted_spool_with_its_key_alive_is_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.fill(1)
        origin = rig.origin
    shutil.rmtree(tmp_path / "spool")
    async with opened(tmp_path) as rig:
        assert await first_notice(rig) == Continues(
            log=rig.origin, previous=origin, size=0, root=EMPTY_ROOT, heard=11, reason="spool-lost"
        )


async def test_a_key_made_in_vain_does_no_harm(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        open_log = rig.spool.open_log

        async def full(*_: object) -> None:
            raise SpoolFull("no room", 1.0)

        rig.spool.open_log = full  # type: ignore[method-assign, assignment]
        await rig.log.close()
        with pytest.raises(SpoolFull):
            await rig.log.open()
        rig.spool.open_log = open_log  # type: ignore[method-assign]
        await rig.log.open()
        assert (await first_notice(rig)).reason == "restart"
        await rig.fill(1)


async def test_forking_the_active_log_repeats_what_lies_past_the_common_size(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        batches = await rig.fill(4)
        origin, common = rig.origin, batches[1].size
        await rig.intake.fork(origin, common)
        roots = [await rig.spool.root_at(origin, batch.size) for batch in batches]
        assert await first_notice(rig) == Continues(
            log=rig.origin,
            previous=origin,
            size=common,
            root=roots[1] or b"",
            heard=batches[3].size,
            reason="forked",
            again=(
                Again(at=1, first=batches[2].first, size=batches[2].size, root=roots[2] or b""),
                Again(at=11, first=batches[3].first, size=batches[3].size, root=roots[3] or b""),
            ),
        )
        old = await rig.spool.log(origin)
        assert (old.state, old.superseded_at, old.broken_at) == ("dead", common, None)
        await rig.fill(1, start=40)
        assert only_records((await leaves_in(rig.spool))[rig.origin]) == [record(n) for n in range(20, 50)]
        # Known all the same.
        await rig.fill(1, start=30)
        assert (await rig.spool.log(rig.origin)).size == 31


async def test_forking_an_older_log_closes_the_active_one_first(tmp_path: Path) -> None:
    async with opened(tmp_path, close=True) as rig:
        older, batches = rig.origin, await rig.fill(2)
    async with opened(tmp_path) as rig:
        await rig.fill(1, start=100)
        active = rig.origin
        await rig.intake.fork(older, batches[0].size)
        leaves = await leaves_in(rig.spool)
        assert only_notices(leaves[active])[-1] == Closed(log=active, records=10)
        # The old log's `closed` is not repeated: it was said of that log.
        # The log that grew is vouched for as well: it may never have got a certificate.
        of_older, of_active = only_notices(leaves[rig.origin])
        assert isinstance(of_older, Continues)
        assert isinstance(of_active, Continues)
        assert (of_older.previous, of_older.again[0].at) == (older, 2)
        ended = await rig.spool.log(active)
        assert (of_active.previous, of_active.size, of_active.root) == (active, ended.size, ended.frontier.root())
        assert only_records(leaves[rig.origin]) == [record(n) for n in range(10, 20)]


async def test_a_log_ended_once_is_ended_earlier_for_a_sink_that_knows_less_of_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        batches = await rig.fill(4)
        origin = rig.origin
        await rig.intake.fork(origin, batches[2].size)
        second = rig.origin
        await rig.intake.fork(origin, batches[0].size, 1_000)
        # What is ended early already is not ended again.
        await rig.intake.fork(origin, batches[1].size)
        leaves = await leaves_in(rig.spool)
        assert only_records(leaves[second]) == [record(n) for n in range(30, 40)]
        assert only_records(leaves[rig.origin]) == [record(n) for n in range(10, 30)]
        old = await rig.spool.log(origin)
        assert (old.superseded_at, old.broken_at) == (batches[0].size, None)
        notice = await first_notice(rig)
        assert (notice.previous, notice.size, notice.heard) == (origin, batches[0].size, 1_000)


async def test_a_fork_leaves_out_what_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        batches = await rig.fill(3)
        told = await rig.intake.seal_notices([Damaged(log=rig.origin, ranges=((1, 2),), cause="hash")])
        rig.spool.drop_to(rig.origin, batches[1].size)
        await rig.spool.flush()
        origin = rig.origin
        await rig.intake.fork(origin, 0)
        notice = await first_notice(rig)
        assert [(a.at, a.first) for a in notice.again] == [(1, batches[2].first), (11, told.first)]
        assert (notice.size, notice.root) == (0, EMPTY_ROOT)
        leaves = (await leaves_in(rig.spool))[rig.origin]
        assert not any(isinstance(each, Opened) for each in only_notices(leaves))


async def test_what_a_fork_finds_damaged_is_put_aside_and_told_of(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        batches = await rig.fill(4)
        origin = rig.origin
    bad = batches[2]
    db = sqlite3.connect(tmp_path / "spool" / "spool.db")
    with db:
        db.execute("UPDATE payloads SET body = replace(body, 'usage', 'usagf') WHERE first = ?", (bad.first,))
    db.close()
    async with opened(tmp_path) as rig:
        found: list[tuple[str, int, int, str]] = []
        rig.spool.on_damaged = lambda *damage: found.append(damage)
        await rig.intake.fork(origin, batches[0].size)
        assert found == [(origin, bad.first, bad.size, "hash")]
        assert [(each.first, each.size) for each in await rig.spool.untold()] == [(bad.first, bad.size)]
        again = (await first_notice(rig)).again
        assert [(each.at, each.first) for each in again] == [(1, batches[1].first), (11, batches[3].first)]
        leaves = (await leaves_in(rig.spool))[rig.origin]
        assert only_records(leaves) == [record(n) for n in (*range(10, 20), *range(30, 40))]
        assert len(list((tmp_path / "spool" / "quarantine").iterdir())) == 1


@pytest.mark.parametrize("failures", range(1, 6))
async def test_a_fork_cut_short_at_any_step_is_finished_by_the_next_start(tmp_path: Path, failures: int) -> None:
    async with opened(tmp_path) as rig:
        batches = await rig.fill(4)
        origin = rig.origin
        write, count = rig.spool._files.write, 0

        async def cut(work: Any) -> Any:
            nonlocal count
            count += 1
            if count >= failures:
                raise SpoolFull("cut", 1.0)
            return await write(work)

        rig.spool._files.write = cut  # type: ignore[method-assign]
        with pytest.raises(SpoolFull):
            await rig.log.fork(origin, batches[0].size)
    async with opened(tmp_path) as rig:
        leaves = await leaves_in(rig.spool)
        if failures == 1:
            assert rig.origin == origin
            return
        assert only_records(leaves[rig.origin]) == [record(n) for n in range(10, 40)]
        old = await rig.spool.log(origin)
        assert (old.superseded_at, old.broken_at) == (batches[0].size, None)


async def test_a_batch_damaged_after_it_was_named_is_filled_so_that_all_stand_where_they_should(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        batches = await rig.fill(3)
        origin = rig.origin
        leaves = rig.spool.leaves

        async def gone(log: str, first: int) -> list[bytes] | None:
            row = await rig.spool.log(origin)
            began = row.superseded_at is not None
            return None if began and log == origin and first == batches[1].first else await leaves(log, first)

        rig.spool.leaves = gone  # type: ignore[method-assign]
        await rig.intake.fork(origin, batches[0].size)
        rig.spool.leaves = leaves  # type: ignore[method-assign]
        found = (await leaves_in(rig.spool))[rig.origin]
        assert [(a.at, a.first) for a in (await first_notice(rig)).again] == [
            (1, batches[1].first),
            (11, batches[2].first),
        ]
        fill = Damaged(log=origin, ranges=((batches[1].first, batches[1].size),), cause="hash")
        assert only_notices(found)[1:] == [fill] * 10
        assert found[11:] == [record(n) for n in range(20, 30)]


@pytest.mark.parametrize("repeated", [0, 1])
async def test_a_fork_whose_first_notices_rot_before_all_is_repeated_names_the_rest_anew(
    tmp_path: Path, repeated: int
) -> None:
    async with opened(tmp_path) as rig:
        batches = await rig.fill(4)
        origin = rig.origin
        write, count = rig.spool._files.write, 0

        async def cut(work: Any) -> Any:
            nonlocal count
            count += 1
            # The mark, the new log, then a batch each.
            if count > 2 + repeated:
                raise SpoolFull("cut", 1.0)
            return await write(work)

        rig.spool._files.write = cut  # type: ignore[method-assign]
        with pytest.raises(SpoolFull):
            await rig.log.fork(origin, batches[0].size)
        rotten = rig.origin
    db = sqlite3.connect(tmp_path / "spool" / "spool.db")
    with db:
        db.execute("UPDATE payloads SET body = replace(body, 'forked', 'forged') WHERE kind = 'notices'")
    db.close()
    async with opened(tmp_path) as rig:
        assert [(each.origin, each.first) for each in await rig.spool.untold()] == [(rotten, 0)]
        await rig.intake.seal_notices([Damaged(log=rotten, ranges=((0, 1),), cause="hash")])
        old = await rig.spool.log(origin)
        assert (old.superseded_at, old.broken_at) == (batches[0].size, None)
        leaves = await leaves_in(rig.spool)
        of_forked, of_rotten, _ = only_notices(leaves[rig.origin])
        assert isinstance(of_forked, Continues)
        assert isinstance(of_rotten, Continues)
        assert (of_forked.previous, of_forked.size, of_rotten.previous) == (origin, batches[0].size, rotten)
        assert [(each.at, each.first) for each in of_forked.again] == [
            (2 + 10 * number, batch.first) for number, batch in enumerate(batches[1 + repeated :])
        ]
        assert only_records(leaves[rig.origin]) == [record(n) for n in range(10 + 10 * repeated, 40)]
        assert only_records(chain(*leaves.values())) == [record(n) for n in range(40)]
    async with opened(tmp_path) as rig:
        assert await leaves_in(rig.spool) == leaves


async def test_damage_is_told_again_where_the_notice_of_it_is_damaged_past_a_fork(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        batches = await rig.fill(3)
        origin, bad = rig.origin, batches[1]
    rot = "UPDATE payloads SET body = replace(body, 'usage', 'usagf') WHERE first = ?"
    change(tmp_path, rot, bad.first)
    async with opened(tmp_path) as rig:
        assert await rig.spool.leaves(origin, bad.first) is None
        told = await rig.intake.seal_notices([Damaged(log=origin, ranges=((bad.first, bad.size),), cause="hash")])
        assert await rig.spool.untold() == []
    change(tmp_path, "UPDATE payloads SET body = replace(body, 'damaged', 'damagef') WHERE first = ?", told.first)
    async with opened(tmp_path) as rig:
        found: list[tuple[str, int, int, str]] = []
        rig.spool.on_damaged = lambda *damage: found.append(damage)
        await rig.intake.fork(origin, batches[0].size)
        assert sorted(found) == [(origin, bad.first, bad.size, "hash"), (origin, told.first, told.size, "hash")]
        assert [each.first for each in await rig.spool.untold()] == [bad.first, told.first]
        again = [Damaged(log=origin, ranges=((first, size),), cause=cause) for _, first, size, cause in found]
        await rig.intake.seal_notices(again)
        assert await rig.spool.untold() == []


def change(folder: Path, statement: str, first: int) -> None:
    db = sqlite3.connect(folder / "spool" / "spool.db")
    with db:
        db.execute(statement, (first,))
    db.close()


async def test_a_log_that_is_long_enough_is_continued_by_a_new_one(tmp_path: Path) -> None:
    async with opened(tmp_path, intake=IntakeSettings(log_batches=5)) as rig:
        for number in range(0, 120, 10):
            await rig.intake.accept(records(range(number, number + 10)))
        await until(lambda: rig.intake._turning is None)
        logs = await rig.spool.logs()
        assert [log.state for log in logs][:-1] == ["closed"] * (len(logs) - 1)
        assert len(logs) >= 3
        leaves = await leaves_in(rig.spool)
        assert only_records(chain(*leaves.values())) == [record(n) for n in range(120)]
        for before, log in pairwise(logs):
            first = await first_notice(rig, log.origin)
            assert (first.previous, first.size, first.reason) == (before.origin, before.size, "restart")
        # All that was sealed was handed on, in order: the ends and beginnings of logs too.
        assert [batch.size - batch.first for batch in rig.sealed].count(10) == 12
        assert {batch.origin for batch in rig.sealed} == {log.origin for log in logs}


async def test_delivery_that_fails_to_take_a_batch_over_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as rig:

        def fails(batch: StoredBatch) -> None:
            raise RuntimeError("no delivery")

        rig.intake.on_sealed = fails
        await rig.fill(3)
        assert "no delivery" in caplog.text
