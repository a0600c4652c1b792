"""Power loss: the memory-backed key is gone, and of the WAL whatever had not been fsynced."""

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from meterfabric_protocol.notice import Continues
from tests.spools import leaves_in, only_notices, only_records, opened, record


async def snapshot(folder: Path) -> str:
    async with opened(folder / "live") as rig:
        await rig.fill(8)
        shutil.copytree(folder / "live", folder / "copy")
        return rig.origin


@pytest.mark.parametrize("cut", [0.0, 0.35, 0.77, 0.999, 1.0])
@pytest.mark.parametrize("garbage", [False, True])
async def test_what_is_left_is_a_whole_log_up_to_some_batch(tmp_path: Path, cut: float, garbage: bool) -> None:
    origin = await snapshot(tmp_path)
    folder = tmp_path / "copy"
    wal = folder / "spool" / "spool.db-wal"
    whole = wal.stat().st_size
    with wal.open("r+b") as file:
        file.truncate(int(whole * cut))
        if garbage:
            # Blocks that were given to the file, and never written.
            file.seek(0, 2)
            file.write(random.Random(1).randbytes(whole - int(whole * cut)))
    shutil.rmtree(folder / "key")
    async with opened(folder) as rig:
        leaves = await leaves_in(rig.spool)
        kept = only_records(leaves.get(origin, []))
        assert len(kept) % 10 == 0
        assert kept == [record(n) for n in range(len(kept))]
        assert cut < 1.0 or len(kept) == 80
        (first,) = only_notices(leaves[rig.origin])
        if origin in leaves:
            assert isinstance(first, Continues)
            assert (first.previous, first.reason) == (origin, "key-lost")
            assert first.size == (await rig.spool.log(origin)).size
        # What was lost was never answered as durable; what was not can be sent again.
        await rig.fill(8)
        found = [record_ for log in (await leaves_in(rig.spool)).values() for record_ in only_records(log)]
        assert sorted(found) == sorted(record(n) for n in range(80))


async def test_an_answer_means_that_the_wal_was_synced(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:

        def modes(db: sqlite3.Connection) -> tuple[object, object]:
            return db.execute("PRAGMA synchronous").fetchone()[0], db.execute("PRAGMA journal_mode").fetchone()[0]

        # 2 is FULL: with a WAL, one fsync after every commit (sqlite.org/pragma.html#pragma_synchronous).
        assert await rig.spool._files.write(modes) == (2, "wal")
