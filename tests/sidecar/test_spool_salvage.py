"""A damaged database never keeps a sidecar from starting, and what can be read of it is delivered."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from meterfabric_protocol.delivery.effects import CursorRow
from meterfabric_protocol.notice import Continues, Damaged
from meterfabric_sidecar.ingest.intake import Full
from meterfabric_sidecar.spool import SpoolFull, SpoolSettings, StoredBatch
from tests.spools import Rig, leaves_of, only_notices, only_records, opened, record, verified

PAGE = 16_384
TEXT = "x" * 300


def database(folder: Path) -> Path:
    return folder / "spool" / "spool.db"


async def build(folder: Path, batches: int = 12, each: int = 100) -> str:
    async with opened(folder) as rig:
        await rig.fill(batches, each, text=TEXT)
        rig.spool.save_cursor(rig.origin, "a", CursorRow(1))
        return rig.origin


async def deliverable(rig: Rig) -> list[bytes]:
    """Everything that a sink could get of all logs, each verified up to where it ends for delivery."""
    told = [(each.origin, each.first, each.size, each.cause) for each in await rig.spool.untold()]
    rig.spool.on_damaged = lambda *damage: told.append(damage)
    leaves: list[bytes] = []
    for log in await rig.spool.logs():
        end = log.size if log.superseded_at is None else log.superseded_at
        found: list[StoredBatch] = []
        first = 0
        while first < end:
            some = await rig.spool.fetch(log.origin, first, 1 << 20, 10)
            while told:
                origin, at, size, cause = told.pop()
                await rig.intake.seal_notices([Damaged(log=origin, ranges=((at, size),), cause=cause)])
            found += [batch for batch in some if batch.size <= end]
            first = some[-1].size if some else first
        verified(found, log.public_key)
        leaves += [leaf for batch in found for leaf in leaves_of(batch)]
    return leaves


async def starts(folder: Path, at_least: int) -> None:
    async with asyncio.timeout(8):
        await _starts(folder, at_least)


async def _starts(folder: Path, at_least: int) -> None:
    """The sidecar starts, delivers what is left, nothing twice and nothing altered, and takes more."""
    found: list[bytes] = []
    for _ in range(3):
        try:
            async with opened(folder) as rig:
                found = only_records(await deliverable(rig))
                break
        except (SpoolFull, sqlite3.Error, Full):
            # Found only now: the sidecar ends, and is started again.
            assert (folder / "spool" / "salvage").exists()
    async with opened(folder) as rig:
        assert only_records(await deliverable(rig)) == found
        assert len(found) == len(set(found))
        everything = [record(n, TEXT) for n in range(1200)]
        assert set(found) <= set(everything)
        assert len(found) >= at_least
        await rig.fill(1, 10, start=5000)
        assert len(only_records(await deliverable(rig))) == len(found) + 10
    # And starts again, with nothing left to mend.
    async with opened(folder) as rig:
        assert len(only_records(await deliverable(rig))) == len(found) + 10
        assert not (folder / "spool" / "salvage").exists()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
async def test_a_truncated_database_is_read_as_far_as_it_goes(tmp_path: Path, share: float) -> None:
    await build(tmp_path)
    size = database(tmp_path).stat().st_size
    with database(tmp_path).open("r+b") as file:
        file.truncate(int(size * share))
    await starts(tmp_path, int(1200 * (share - 0.3)))


@pytest.mark.parametrize("ruin", [lambda b: b"", lambda b: b"not a database" * 5000, lambda b: b"\0" * len(b)])
async def test_where_nothing_is_readable_a_new_log_begins(tmp_path: Path, ruin: Callable[[bytes], bytes]) -> None:
    origin = await build(tmp_path)
    whole = database(tmp_path).read_bytes()
    database(tmp_path).write_bytes(ruin(whole))
    async with opened(tmp_path) as rig:
        assert rig.origin != origin
        leaves = verified(await rig.everything(), (await rig.spool.log(rig.origin)).public_key)
        (first,) = only_notices(leaves)
        assert isinstance(first, Continues)
        assert (first.previous, first.heard, first.reason) == (origin, 1201, "spool-lost")
        await rig.fill(1)


async def test_rows_lost_in_the_middle_end_the_log_there_and_the_rest_is_repeated(tmp_path: Path) -> None:
    origin = await build(tmp_path)
    db = sqlite3.connect(database(tmp_path))
    with db:
        db.execute("DELETE FROM batches WHERE first BETWEEN 301 AND 499")
        db.execute("PRAGMA user_version = 1")
    db.close()
    # Lost rows show only to salvage, which a page that every start reads brings about.
    db = sqlite3.connect(database(tmp_path))
    (page,) = db.execute("SELECT pageno FROM dbstat WHERE name = 'cursors'").fetchone()
    db.close()
    with database(tmp_path).open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xff" * PAGE)
    async with opened(tmp_path) as rig:
        old = await rig.spool.log(origin)
        assert (old.state, old.superseded_at, old.broken_at) == ("dead", 301, None)
        leaves = verified(await rig.everything(), (await rig.spool.log(rig.origin)).public_key)
        (first,) = only_notices(leaves)
        assert isinstance(first, Continues)
        assert (first.previous, first.size, first.heard) == (origin, 301, 1201)
        assert [again.first for again in first.again] == list(range(501, 1201, 100))
        assert only_records(leaves) == [record(n, TEXT) for n in range(500, 1200)]
    await starts(tmp_path, 1000)


@pytest.mark.parametrize("grown", [False, True])
async def test_what_a_fork_repeated_is_repeated_again_where_the_row_of_its_new_log_is_lost(
    tmp_path: Path, grown: bool
) -> None:
    async with opened(tmp_path) as rig:
        batches = await rig.fill(4)
        origin = rig.origin
        await rig.intake.fork(origin, batches[1].size)
        lost = rig.origin
        if grown:
            await rig.log.turn_over()
    db = sqlite3.connect(database(tmp_path))
    with db:
        db.execute("DELETE FROM logs WHERE origin = ?", (lost,))
    db.close()
    (tmp_path / "spool" / "salvage").mkdir()
    for _ in range(2):
        async with opened(tmp_path) as rig:
            old = await rig.spool.log(origin)
            assert (old.superseded_at, old.broken_at) == (batches[1].size, None)
            found = [batch for log in await rig.spool.logs() for batch in await rig.everything(log.origin)]
            leaves = [leaf for batch in found for leaf in leaves_of(batch)]
            assert only_records(leaves) == [record(n) for n in range(40)]
            named = [each for each in only_notices(leaves) if isinstance(each, Continues) and each.again]
            assert [(each.previous, [again.first for again in each.again]) for each in named] == [
                (origin, [batch.first for batch in batches[2:]])
            ]


@pytest.mark.parametrize("seed", range(12))
async def test_pages_ruined_anywhere_never_keep_it_from_starting(tmp_path: Path, seed: int) -> None:
    await build(tmp_path)
    dice = random.Random(seed)
    pages = database(tmp_path).stat().st_size // PAGE
    with database(tmp_path).open("r+b") as file:
        for _ in range(dice.choice([1, 1, 2, 5])):
            file.seek(dice.randrange(pages) * PAGE + dice.choice([0, 0, 100, 4000]))
            file.write(dice.randbytes(dice.choice([16, 2000, 12_000])))
    await starts(tmp_path, 0)


@pytest.mark.parametrize("where", ["spool.db-wal", "spool.db-shm"])
async def test_a_ruined_wal_is_a_rollback_at_worst(tmp_path: Path, where: str) -> None:
    async with opened(tmp_path) as rig:
        await rig.fill(12, 100, text=TEXT)
        # As a kill would leave it: the WAL not folded back.
        shutil.copytree(tmp_path / "spool", tmp_path / "copy")
    shutil.rmtree(tmp_path / "spool")
    (tmp_path / "copy").rename(tmp_path / "spool")
    path = tmp_path / "spool" / where
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xa5" * 5000)
    await starts(tmp_path, 0)


async def test_a_salvage_cut_short_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await build(tmp_path)
    with database(tmp_path).open("r+b") as file:
        file.truncate(database(tmp_path).stat().st_size * 9 // 10)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("meterfabric_sidecar.spool.salvage._mark_broken", cut)
        with pytest.raises(KeyboardInterrupt):
            async with opened(tmp_path):
                pass
    assert (tmp_path / "spool" / "salvage" / "spool.db").exists()
    await starts(tmp_path, 600)


async def test_the_window_of_repeats_is_salvaged_too(tmp_path: Path) -> None:
    await build(tmp_path)
    db = sqlite3.connect(database(tmp_path))
    (page,) = db.execute("SELECT pageno FROM dbstat WHERE name = 'cursors'").fetchone()
    db.close()
    with database(tmp_path).open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xff" * PAGE)
    async with opened(tmp_path) as rig:
        size = (await rig.spool.log(rig.origin)).size
        await rig.fill(3, 100, text=TEXT)
        assert (await rig.spool.log(rig.origin)).size == size


@pytest.mark.parametrize("column", ["note", "roots", "size", "kind"])
async def test_a_row_that_would_make_a_bad_stub_ends_the_log_before_it(tmp_path: Path, column: str) -> None:
    origin = await build(tmp_path)
    db = sqlite3.connect(database(tmp_path))
    change = {"note": "replace(note, 'first', 'frist')", "roots": "zeroblob(length(roots))", "size": "size + 1"}
    with db:
        db.execute(f"UPDATE batches SET {column} = {change.get(column, repr('x'))} WHERE first = 501")
    db.close()
    async with opened(tmp_path) as rig:
        with pytest.raises(sqlite3.DatabaseError, match="row of the batch at 501"):
            await rig.spool.fetch(origin, 501, 1, 1)
        assert "501" in await rig.spool.ruined()
        with pytest.raises(Full):
            await rig.fill(1)
    async with opened(tmp_path) as rig:
        assert (await rig.spool.log(origin)).superseded_at == 501
        found = only_records(await deliverable(rig))
        assert found == [record(n, TEXT) for n in (*range(500), *range(600, 1200))]


@pytest.mark.fault
async def test_on_a_disk_too_small_for_both_the_stubs_are_saved(small_disk: Path) -> None:
    small = SpoolSettings(quota=128 << 20, wal=1 << 20, ballast=1 << 20)
    async with opened(small_disk, settings=small) as rig:
        await rig.fill(14, 100, text="x" * 10_000)
        size = (await rig.spool.log(rig.origin)).size
    (small_disk / "spool" / "salvage").mkdir()
    async with opened(small_disk, settings=small) as rig:
        assert (await rig.spool.log(rig.origin)).size == size
        found = only_records(await deliverable(rig))
        assert found == [record(n, "x" * 10_000) for n in range(len(found))]
