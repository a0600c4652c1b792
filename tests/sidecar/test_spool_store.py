"""The spool keeps batches as they were sealed, and what else it knows of logs, across restarts."""

import os
import sqlite3
from itertools import chain
from pathlib import Path

import pytest

from meterfabric_protocol import batch as batches
from meterfabric_protocol.delivery.effects import CursorRow
from meterfabric_protocol.notice import Opened, SinkLeft
from meterfabric_sidecar.spool import Spool, SpoolLocked, SpoolSettings, SpoolUnusable
from tests.spools import (
    Clock,
    everything,
    leaves_in,
    only_notices,
    only_records,
    opened,
    record,
    records,
    until,
    verified,
)

SETTINGS = SpoolSettings(quota=64 << 20)


async def test_what_was_accepted_comes_back_verified_in_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.fill(5, 7)
        leaves = verified(await rig.everything(), (await rig.spool.log(rig.origin)).public_key)
    assert only_notices(leaves) == [Opened(log=rig.origin)]
    assert only_records(leaves) == [record(number) for number in range(35)]


async def test_a_fetched_batch_is_the_sealed_one_to_the_byte(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        sealed = await rig.fill(3)
        assert (await rig.everything())[1:] == sealed


@pytest.mark.parametrize("compression", ["none", "zstd"])
async def test_a_restart_finds_the_same_batches(tmp_path: Path, compression: "str") -> None:
    async with opened(tmp_path, compression=compression) as rig:  # type: ignore[arg-type]
        await rig.fill(3, 100, text="x" * 50)
        before = await rig.everything()
    async with opened(tmp_path) as rig:
        assert await rig.everything() == before
    codecs = {batches.decode_header(batch.header).codec for batch in before[1:]}
    assert codecs == {compression}


async def test_a_fetch_holds_to_its_bounds_but_never_comes_back_empty(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        sealed = await rig.fill(6)
        first = sealed[0].first
        assert len(await rig.spool.fetch(rig.origin, first, 1 << 20, 4)) == 4
        assert len(await rig.spool.fetch(rig.origin, first, 1, 4)) == 1
        assert await rig.spool.fetch(rig.origin, sealed[-1].size, 1 << 20, 4) == []


async def test_dropped_records_travel_as_stubs_and_notices_stay(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.fill(2)
        told = await rig.intake.seal_notices([Opened(log=rig.origin)])
        sealed = await rig.fill(2, start=100)
        rig.spool.drop_to(rig.origin, sealed[0].size)
        await rig.spool.flush()
        row = await rig.spool.log(rig.origin)
        assert row.dropped_to == sealed[0].size
        found = await rig.everything()
        assert [batch.payload is None for batch in found] == [False, True, True, False, True, False]
        assert found[3] == told
        # A stub keeps every later root verifiable.
        assert only_records(verified(found, row.public_key)) == [record(number) for number in range(110, 120)]


async def test_a_drop_inside_a_batch_goes_no_further_than_the_boundary_before(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        sealed = await rig.fill(3)
        rig.spool.drop_to(rig.origin, sealed[1].first + 1)
        await rig.spool.flush()
        assert (await rig.spool.log(rig.origin)).dropped_to == sealed[1].first
        rig.spool.drop_to(rig.origin, sealed[2].size + 1000)
        await rig.spool.flush()
        assert (await rig.spool.log(rig.origin)).dropped_to == sealed[2].size


@pytest.mark.parametrize(("batches", "size"), [(8, 1 << 30), (1 << 30, 2500), (1 << 30, 1)])
async def test_a_long_drop_goes_on_in_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int, size: int
) -> None:
    monkeypatch.setattr("meterfabric_sidecar.spool.writer.STEP_BATCHES", batches)
    monkeypatch.setattr("meterfabric_sidecar.spool.writer.STEP_BYTES", size)
    async with opened(tmp_path) as rig:
        sealed = await rig.fill(20, 1, text="x" * 300)
        rig.spool.drop_to(rig.origin, sealed[-1].size)
        await rig.spool.flush()
        assert (await rig.spool.log(rig.origin)).dropped_to < sealed[-1].size
        for _ in range(20):
            await rig.spool.flush()
        assert (await rig.spool.log(rig.origin)).dropped_to == sealed[-1].size
        assert not rig.spool._upkeep


async def test_boundaries_are_found_by_age_and_by_bytes(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, monotonic=clock) as rig:
        sealed = []
        for start in range(0, 80, 10):
            clock.reading += 10
            sealed += await rig.fill(1, 5, start)
        first, spool = sealed[2].first, rig.spool
        assert await spool.boundary_at(rig.origin, first, sealed[5].sealed_at) == sealed[5].size
        assert await spool.boundary_at(rig.origin, first, sealed[2].sealed_at - 1) == first
        assert await spool.boundary_at(rig.origin, first, spool.clock.now()) == sealed[-1].size
        one = len(sealed[2].payload or b"")
        assert await spool.boundary_after(rig.origin, first, one) == sealed[2].size
        assert await spool.boundary_after(rig.origin, first, one + 1) == sealed[3].size
        assert await spool.boundary_after(rig.origin, first, 1 << 30) == sealed[-1].size
        assert await spool.boundary_after(rig.origin, first, 0) == first


async def test_boundaries_end_on_records_however_many_notices_follow(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, monotonic=clock) as rig:
        spool, told = rig.spool, []
        clock.reading += 10
        for _ in range(5):
            told.append(await rig.intake.seal_notices([SinkLeft(log=rig.origin, sink="a", size=0)]))
        clock.reading += 10
        (records,) = await rig.fill(1)
        for _ in range(5):
            clock.reading += 10
            told.append(await rig.intake.seal_notices([SinkLeft(log=rig.origin, sink="a", size=0)]))
        now = spool.clock.now()
        assert await spool.boundary_at(rig.origin, 0, now) == records.size
        assert await spool.boundary_at(rig.origin, 0, told[-2].sealed_at) == records.size
        assert await spool.boundary_at(rig.origin, 0, told[4].sealed_at) == 0
        assert await spool.boundary_at(rig.origin, records.size, now) == records.size
        # Of notices no room comes, however many bytes they are: the next records must go.
        assert await spool.boundary_after(rig.origin, 0, 1) == records.size
        assert await spool.boundary_after(rig.origin, told[1].first, len(told[1].payload or b"")) == records.size
        assert await spool.boundary_after(rig.origin, 0, 1 << 30) == records.size
        assert await spool.boundary_after(rig.origin, records.size, 1 << 30) == records.size
        (more,) = await rig.fill(1, start=10)
        assert await spool.boundary_after(rig.origin, records.size, 1) == more.size
        assert await spool.boundary_after(rig.origin, 0, 1) == records.size


async def test_pending_is_what_lies_past_a_position(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, monotonic=clock) as rig:
        sealed = await rig.fill(4)
        clock.reading += 30
        pending = await rig.spool.pending(rig.origin, sealed[1].size)
        assert pending.records == 20
        assert pending.bytes == sum(len(batch.payload or b"") for batch in sealed[2:])
        assert pending.oldest == pytest.approx(30)
        assert (await rig.spool.pending(rig.origin, sealed[-1].size)).records == 0


async def test_cursors_come_back_as_saved_last(tmp_path: Path) -> None:
    row = CursorRow(11, b"r" * 32, "— metering.main/sink/a AAAA\n", 3, 11)
    async with opened(tmp_path) as rig:
        await rig.fill(1)
        rig.spool.save_cursor(rig.origin, "a", CursorRow(1))
        rig.spool.save_cursor(rig.origin, "a", row)
        rig.spool.save_cursor(rig.origin, "b", CursorRow(1))
        await rig.spool.flush()
        rig.spool.remove_cursor(rig.origin, "b")
    async with opened(tmp_path) as rig:
        (facts,) = await rig.spool.facts()
        assert facts.cursors == {"a": row}
        assert (facts.origin, facts.size, facts.active) == (rig.origin, 11, True)
        assert facts.note == (await rig.everything())[-1].note
        assert facts.chain.startswith(b"-----BEGIN PUBLIC KEY")


async def test_cursors_and_drops_are_stored_without_being_asked(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        sealed = await rig.fill(1)
        rig.spool.save_cursor(rig.origin, "a", CursorRow(sealed[0].size))
        rig.spool.drop_to(rig.origin, sealed[0].size)
        path = tmp_path / "spool" / "spool.db"
        with sqlite3.connect(path) as db:
            await until(lambda: db.execute("SELECT acked FROM cursors").fetchall() == [(11,)])
            await until(lambda: db.execute("SELECT dropped_to FROM logs").fetchone() == (11,))
        db.close()


async def test_chains_and_notes_are_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.spool.set_chain(rig.origin, b"-----BEGIN CERTIFICATE-----\n")
        await rig.spool.keep_note("sinks", '["a"]')
    async with opened(tmp_path) as rig:
        assert (await rig.spool.log(rig.origin)).chain == b"-----BEGIN CERTIFICATE-----\n"
        assert await rig.spool.note("sinks") == '["a"]'
        assert await rig.spool.note("nothing") is None


async def test_a_finished_log_can_be_forgotten_and_the_active_one_not(tmp_path: Path) -> None:
    async with opened(tmp_path, close=True) as rig:
        await rig.fill(3)
        old = rig.origin
    async with opened(tmp_path) as rig:
        rig.spool.save_cursor(old, "a", CursorRow(1))
        await rig.fill(1, start=500)
        with pytest.raises(ValueError, match="active"):
            await rig.spool.forget(rig.origin)
        await rig.spool.forget(old)
        assert [log.origin for log in await rig.spool.logs()] == [rig.origin]
        with pytest.raises(KeyError):
            await rig.spool.log(old)
        assert len(only_records((await leaves_in(rig.spool))[rig.origin])) == 10
    with sqlite3.connect(tmp_path / "spool" / "spool.db") as db:
        for table in ("batches", "payloads", "cursors"):
            assert db.execute(f"SELECT count(*) FROM {table} WHERE log = 1").fetchone() == (0,)
    db.close()


async def test_a_second_process_is_told_who_has_the_spool(tmp_path: Path) -> None:
    spool = await Spool.open(tmp_path, SETTINGS)
    try:
        with pytest.raises(SpoolLocked, match=f"{tmp_path} is in use by process {os.getpid()}"):
            await Spool.open(tmp_path, SETTINGS)
    finally:
        await spool.close()
    await (await Spool.open(tmp_path, SETTINGS)).close()


async def test_a_person_can_read_the_tables(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.fill(1, 2)
    with sqlite3.connect(tmp_path / "spool" / "spool.db") as db:
        assert db.execute("SELECT body FROM payloads WHERE kind = 'records'").fetchone() == (
            (record(0) + b"\n" + record(1) + b"\n").decode(),
        )
        (note, when) = db.execute("SELECT note, sealed_utc FROM batches WHERE kind = 'records'").fetchone()
        assert note.startswith(f"{rig.origin}\n3\n")
        assert when.endswith("Z")
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


async def test_the_spool_clock_stands_still_while_the_sidecar_does(tmp_path: Path) -> None:
    clock = Clock(50.0)
    async with opened(tmp_path, monotonic=clock) as rig:
        clock.reading += 100
        await rig.fill(1)
        assert rig.spool.clock.now() == pytest.approx(100)
    # The machine was off for a while, and monotonic time begins anew.
    async with opened(tmp_path, monotonic=Clock(7.0)) as rig:
        assert rig.spool.clock.now() == pytest.approx(100)


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute("CREATE TABLE theirs (a)")
    db.close()
    with pytest.raises(SpoolUnusable, match="another program"):
        await Spool.open(tmp_path, SETTINGS)


async def test_a_format_of_a_later_release_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.fill(1)
    path = tmp_path / "spool" / "spool.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 2")
    db.close()
    # The header alone may have been hit by a stray bit.
    async with opened(tmp_path) as rig:
        assert len(await rig.everything()) == 2
    db = sqlite3.connect(path)
    with db:
        db.execute("PRAGMA user_version = 2")
        db.execute("UPDATE meta SET value = 2 WHERE key = 'format'")
    db.close()
    with pytest.raises(SpoolUnusable, match="format 2, this release reads 1"):
        async with opened(tmp_path):
            pass
    assert path.exists()


async def test_every_log_of_the_spool_verifies_after_many_restarts(tmp_path: Path) -> None:
    for start in range(4):
        async with opened(tmp_path, close=start % 2 == 0) as rig:
            await rig.fill(2, 5, start * 10)
    async with opened(tmp_path) as rig:
        found = await leaves_in(rig.spool)
        assert sorted(only_records(chain(*found.values()))) == sorted(record(number) for number in range(40))
        assert len(found) == 3
        assert len(await everything(rig.spool, rig.origin)) > 1
    assert records([1]).keys == ["/meter\x1f1"]


async def test_no_file_is_written_but_in_the_spools_own_folder(tmp_path: Path) -> None:
    """Our containers' other folders are read-only, so what SQLite needs for a moment it keeps in memory."""
    work = "CREATE TEMP TABLE large AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000)"
    text = f"{work} SELECT i, hex(randomblob(500)) AS data FROM n"

    def temporary(db: sqlite3.Connection) -> list[str]:
        db.execute(text)
        held = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
        db.execute("DROP TABLE large")
        return [path for path in held if "etilqs" in path]

    async with opened(tmp_path) as rig:
        assert await rig.spool._files.write(temporary) == []
        assert await rig.spool._files.read(temporary) == []
