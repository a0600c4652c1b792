"""Bytes that change on the disk: found by the hashes already there, put aside, told, and nothing else harmed."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meterfabric_protocol.batch import decode_header, unpack
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.notice import Damaged
from meterfabric_sidecar.spool import StoredBatch
from meterfabric_sidecar.spool.load import decompress
from meterfabric_sidecar.spool.schema import row_id
from tests.spools import Rig, only_records, opened, record, verified


def alter(folder: Path, statement: str, *values: object) -> None:
    db = sqlite3.connect(folder / "spool" / "spool.db")
    with db:
        assert db.execute(statement, values).rowcount == 1
    db.close()


async def public_key(rig: Rig) -> bytes:
    return (await rig.spool.log(rig.origin)).public_key


def says_the_same(body: bytes, batch: StoredBatch) -> bool:
    header = decode_header(batch.header)
    try:
        return unpack(body, header, decompress) == unpack(batch.payload or b"", header, decompress)
    except Malformed:
        return False


async def delivered_around(rig: Rig, first: int, cause: str, expected: list[bytes]) -> None:
    """Fetch all of the log as the shipper does: up to the damage, then past it once the notice is sealed."""
    told: list[tuple[str, int, int, str]] = []
    rig.spool.on_damaged = lambda *damage: told.append(damage)
    before = await rig.spool.fetch(rig.origin, 0, 1 << 20, 100)
    assert before[-1].size == first if before else first == 0
    assert await rig.spool.fetch(rig.origin, first, 1 << 20, 100) == []
    ((origin, at, size, why),) = told
    assert (origin, at, why) == (rig.origin, first, cause)
    assert [(each.first, each.cause) for each in await rig.spool.untold()] == [(first, cause)]
    await rig.intake.seal_notices([Damaged(log=origin, ranges=((at, size),), cause=why)])
    assert await rig.spool.untold() == []
    everything = await rig.everything()
    (stub,) = [batch for batch in everything if batch.payload is None]
    assert (stub.first, stub.damaged, stub.parcel.damaged) == (first, cause, True)
    assert only_records(verified(everything, await public_key(rig))) == expected
    assert len(told) == 1


async def test_an_altered_payload_is_put_aside_and_the_rest_delivered(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        batches = await rig.fill(3)
    bad = batches[1]
    altered = (bad.payload or b"").replace(b"usage", b"usagf", 1).decode()
    alter(tmp_path, "UPDATE payloads SET body = ? WHERE first = ?", altered, bad.first)
    async with opened(tmp_path) as rig:
        expected = [record(n) for n in (*range(10), *range(20, 30))]
        await delivered_around(rig, bad.first, "hash", expected)
    (kept,) = (tmp_path / "spool" / "quarantine").iterdir()
    assert kept.read_text() == altered


async def test_damage_that_two_reads_find_at_once_is_told_of_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        bad = (await rig.fill(2))[0]
    alter(tmp_path, "UPDATE payloads SET body = 'x' WHERE first = ?", bad.first)
    async with opened(tmp_path) as rig:
        told: list[tuple[str, int, int, str]] = []
        rig.spool.on_damaged = lambda *damage: told.append(damage)
        reads = (rig.spool.fetch(rig.origin, bad.first, 1 << 20, 100) for _ in range(4))
        await asyncio.gather(*reads, rig.spool.leaves(rig.origin, bad.first))
        assert len(told) == 1
    assert len(list((tmp_path / "spool" / "quarantine").iterdir())) == 1


@pytest.mark.parametrize("compression", ["none", "zstd"])
@given(data=st.data())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_flipped_bit_of_a_payload_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory, compression: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    async with opened(folder, compression=compression) as rig:  # type: ignore[arg-type]
        (batch,) = await rig.fill(1, 60)
        body = bytearray(batch.payload or b"")
        place = data.draw(st.integers(0, len(body) - 1))
        body[place] ^= 1 << data.draw(st.integers(0, 7))
        alter(folder, "UPDATE payloads SET body = ? WHERE first = ?", bytes(body), batch.first)
        # Some bits of a compressed payload say the same either way: its leaves are those that were sealed, all is well.
        if says_the_same(bytes(body), batch):
            assert only_records(verified(await rig.everything(), await public_key(rig))) == [
                record(n) for n in range(60)
            ]
        else:
            await delivered_around(rig, batch.first, "hash", [])


async def test_a_missing_payload_is_damage_unless_it_was_dropped(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        batches = await rig.fill(2)
    alter(tmp_path, "DELETE FROM payloads WHERE first = ?", batches[0].first)
    async with opened(tmp_path) as rig:
        await delivered_around(rig, batches[0].first, "missing", [record(n) for n in range(10, 20)])


async def test_pages_that_cannot_be_read_cost_their_batch_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        batches = await rig.fill(3, 300, text="x" * 200)
    path = tmp_path / "spool" / "spool.db"
    db = sqlite3.connect(path)
    (page,) = db.execute(
        "SELECT pageno FROM dbstat WHERE name = 'payloads' AND pagetype = 'overflow' AND path LIKE '%+000001'"
        " ORDER BY path LIMIT 1 OFFSET 1"
    ).fetchone()
    db.close()
    with path.open("r+b") as file:
        # The overflow chain now leads out of the file.
        file.seek((page - 1) * 16384)
        file.write(b"\xff\xff\xff\xff")
    async with opened(tmp_path) as rig:
        await delivered_around(
            rig, batches[1].first, "unreadable", [record(n, "x" * 200) for n in (*range(300), *range(600, 900))]
        )
        # It can't be walked, so it can't be freed; that stops nothing either.
        rig.spool.drop_to(rig.origin, batches[2].size)
        await rig.spool.flush()
        assert (await rig.spool.log(rig.origin)).dropped_to == batches[2].size
        assert rig.spool.failure is None


async def test_damage_that_no_notice_tells_of_is_asked_for_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        (batch,) = await rig.fill(1)
        alter(tmp_path, "UPDATE payloads SET body = 'x' WHERE first = ?", batch.first)
        assert len(await rig.spool.fetch(rig.origin, 0, 1 << 20, 10)) == 1
    async with opened(tmp_path) as rig:
        (untold,) = await rig.spool.untold()
        assert (untold.origin, untold.first, untold.size, untold.cause) == (rig.origin, batch.first, batch.size, "hash")


async def test_a_damaged_notice_batch_travels_as_a_stub_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        await rig.fill(1)
        alter(tmp_path, "UPDATE payloads SET body = 'x' WHERE id = ?", row_id(1, 0))
        await delivered_around(rig, 0, "hash", [record(n) for n in range(10)])


async def test_the_quarantine_holds_to_its_bound(tmp_path: Path) -> None:
    async with opened(tmp_path, quota=16 << 20) as rig:
        batches = await rig.fill(8, 100, text="x" * 4000)
        for batch in batches:
            alter(tmp_path, "UPDATE payloads SET body = body || 'x' WHERE first = ?", batch.first)
        for batch in batches:
            assert await rig.spool.fetch(rig.origin, batch.first, 1 << 20, 1) == []
        kept = [path.stat().st_size for path in (tmp_path / "spool" / "quarantine").iterdir()]
        assert 0 < sum(kept) <= 2 << 20
        # The newest are kept.
        assert len(kept) == 5
