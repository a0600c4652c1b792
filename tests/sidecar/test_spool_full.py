"""A full spool, and a disk that is full or fails: records are refused, none is lost, and it mends itself."""

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from meterfabric_protocol.notice import SinkLeft
from meterfabric_sidecar.ingest.intake import Full
from meterfabric_sidecar.spool import SpoolFull, SpoolSettings
from meterfabric_sidecar.spool.ballast import Ballast
from tests.spools import Rig, leaves_in, only_records, opened, record, records, until

MIB = 1 << 20
TEXT = "x" * 1000


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in (folder / "spool").rglob("*") if path.is_file())


async def fill_up(rig: Rig, start: int = 0, most: int = 10_000) -> int:
    """Submit records, 100 at a time, until they are refused; returns how many were accepted."""
    taken = 0
    while taken < most:
        try:
            await rig.intake.accept(records(range(start + taken, start + taken + 100), TEXT))
        except Full:
            return taken
        taken += 100
    return taken


async def accept(rig: Rig, first: int, count: int = 20) -> None:
    """Submit until taken, as a patient client does."""
    async with asyncio.timeout(20):
        while True:
            try:
                await rig.intake.accept(records(range(first, first + count), TEXT))
                return
            except Full:
                await asyncio.sleep(0.02)


async def test_the_quota_holds_on_the_disk_and_dropping_makes_room_at_once(tmp_path: Path) -> None:
    quota = 8 * MIB
    async with opened(tmp_path, quota=quota) as rig:
        taken = await fill_up(rig, most=50_000)
        assert taken > 4000
        pressure = rig.spool.pressure()
        assert 0.85 * quota < pressure.used <= quota - pressure.reserve // 2
        assert pressure.missing > 0
        assert on_disk(tmp_path) <= quota
        # Notices have their reserve.
        for size in range(1, 20):
            await rig.intake.seal_notices([SinkLeft(log=rig.origin, sink="a", size=size)])
        size = (await rig.spool.log(rig.origin)).size
        rig.spool.drop_to(rig.origin, size // 2)
        while (await rig.spool.log(rig.origin)).dropped_to < size // 2 - 101:
            await rig.spool.flush()
        assert rig.spool.pressure().missing == 0
        more = await fill_up(rig, taken)
        assert more > 1000
        assert on_disk(tmp_path) <= quota
        found = only_records((await leaves_in(rig.spool))[rig.origin])
        assert found[-1] == record(taken + more - 1, TEXT)


async def test_a_spool_that_emptied_gives_its_room_back_to_the_disk(tmp_path: Path) -> None:
    async with opened(tmp_path, quota=16 * MIB) as rig:
        taken = await fill_up(rig, most=30_000)
        rig.spool.drop_to(rig.origin, (await rig.spool.log(rig.origin)).size)
        full = (tmp_path / "spool" / "spool.db").stat().st_size
        async with asyncio.timeout(20):
            while (tmp_path / "spool" / "spool.db").stat().st_size > full // 2:
                await rig.spool.flush()
        await fill_up(rig, taken, 100)


async def test_the_quota_is_refused_before_a_commit_is_tried(tmp_path: Path) -> None:
    async with opened(tmp_path, quota=2 * MIB) as rig:
        taken = await fill_up(rig)
        assert rig.spool.failure is None
        assert len(only_records((await leaves_in(rig.spool))[rig.origin])) == taken


def test_a_quota_that_holds_nothing_is_named() -> None:
    with pytest.raises(ValueError, match="at least"):
        SpoolSettings(quota=1000)


class FailingDisk:
    """The spool's writer meets an error of the disk, as long as it is `broken`."""

    def __init__(self, rig: Rig, error: OSError) -> None:
        self.broken = True
        self._error = error
        self._inner = rig.spool._files._open
        rig.spool._files._open = self.open
        rig.spool._files._write_db = None

    def open(self, failure: str | None) -> Any:
        if self.broken:
            raise self._error
        return self._inner(failure)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
async def test_a_failing_disk_refuses_and_later_goes_on(tmp_path: Path, code: int) -> None:
    async with opened(tmp_path) as rig:
        await rig.fill(2)
        disk = FailingDisk(rig, OSError(code, "the disk"))
        with pytest.raises(Full):
            await rig.intake.accept(records([100]))
        assert rig.spool.failure is not None
        with pytest.raises(Full):
            await rig.intake.seal_notices([SinkLeft(log=rig.origin, sink="a", size=1)])
        # What is there can still be read and delivered.
        assert len(only_records((await leaves_in(rig.spool))[rig.origin])) == 20
        disk.broken = False
        await accept(rig, 100)
        assert rig.spool.failure is None
        expected = [record(n) for n in range(20)] + [record(n, TEXT) for n in range(100, 120)]
        assert only_records((await leaves_in(rig.spool))[rig.origin]) == expected


async def test_without_ballast_nothing_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as rig:
        rig.spool._ballast.release()
        with monkeypatch.context() as patch:
            patch.setattr(Ballast, "take", lambda self: False)
            with pytest.raises(Full):
                await rig.intake.accept(records([1]))
        await accept(rig, 1)


@pytest.mark.fault
async def test_a_full_disk_refuses_records_and_can_be_emptied_again(small_disk: Path) -> None:
    # The quota promises far more than the disk has.
    async with opened(small_disk, settings=SpoolSettings(quota=1024 * MIB, wal=2 * MIB, ballast=3 * MIB)) as rig:
        taken = await fill_up(rig, most=50_000)
        assert taken < 50_000
        await until(lambda: rig.spool.failure is not None or not rig.spool.room_for(1))
        # All that was answered is there, and can be delivered.
        leaves = only_records((await leaves_in(rig.spool))[rig.origin])
        assert leaves[:taken] == [record(n, TEXT) for n in range(taken)]
        # The sink has it: the spool can let go of it on a disk without a free byte, and takes records again.
        async with asyncio.timeout(30):
            while (await rig.spool.log(rig.origin)).dropped_to < taken:
                rig.spool.drop_to(rig.origin, (await rig.spool.log(rig.origin)).size)
                try:
                    await rig.spool.flush()
                except SpoolFull:
                    await asyncio.sleep(0.05)
        await accept(rig, 100_000)
    async with opened(small_disk, settings=SpoolSettings(quota=1024 * MIB, wal=2 * MIB, ballast=3 * MIB)) as rig:
        assert (await rig.everything())[-1].records == 20


@pytest.mark.fault
async def test_a_disk_that_others_filled_is_waited_out(small_disk: Path) -> None:
    async with opened(small_disk, quota=16 * MIB) as rig:
        await rig.fill(3)
        hog = small_disk / "hog"
        with hog.open("wb") as file:
            try:
                while True:
                    file.write(bytes(MIB))
                    file.flush()
            except OSError:
                pass
        taken = await fill_up(rig, 1000)
        hog.unlink()
        await accept(rig, 1000 + taken)
        leaves = only_records((await leaves_in(rig.spool))[rig.origin])
        assert leaves == [record(n) for n in range(30)] + [record(n, TEXT) for n in range(1000, 1020 + taken)]


@pytest.mark.fault
async def test_a_start_on_a_full_disk_is_an_error_that_can_be_tried_again(small_disk: Path) -> None:
    (small_disk / "spool").mkdir()
    (small_disk / "key").mkdir()
    with (small_disk / "hog").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    with pytest.raises((SpoolFull, OSError)):
        async with opened(small_disk):
            pass
    (small_disk / "hog").unlink()
    async with opened(small_disk) as rig:
        await rig.fill(1)
