"""Disks that fill up, rot and lose their end: what can be delivered is, and the rest is told of."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from meterfabric_protocol.notice import Damaged
from tests.faults import books
from tests.faults.fabric import Fabric
from tests.faults.load import Load
from tests.faults.process import wait_until

pytestmark = pytest.mark.fault

MIB = 1 << 20


def more(load: Load, records: int) -> None:
    """Wait until so many more records are accepted."""
    goal = load.count + records
    wait_until(lambda: load.count >= goal, f"{records} more records accepted")


def test_a_full_disk_under_the_spool_refuses_records_until_there_is_room(
    tmpfs: Callable[[Path, int], None], fabric: Fabric
) -> None:
    fabric.add_relay("relay-0")
    archive = fabric.add_sink("archive")
    fabric.add_sidecar("pod", spool={"quota": 64 * MIB}, compression="none")
    tmpfs(fabric.spool("pod"), 24 * MIB)
    fabric.start()
    archive.worker.kill()
    with fabric.load("pod", per_post=100, pad=2_000) as load:
        wait_until(lambda: load.answers[429] + load.answers[503] > 5, "records are refused")
        assert load.count > 0
        disk = os.statvfs(fabric.spool("pod"))
        print(f"{disk.f_bavail * disk.f_frsize} bytes free of the spool's disk when records are refused")
        # Killed on a full disk, it starts on a full disk.
        fabric.sidecars["pod"].restart()
        fabric.sidecars["pod"].ready()
        archive.worker.start()
        more(load, 1_000)
    fabric.settle()
    found = books.check(fabric)
    assert not found["archive"].passed


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_full_disk_under_a_sink_delays_it_and_not_the_other_one(
    tmpfs: Callable[[Path, int], None], fabric: Fabric, kind: str
) -> None:
    fabric.add_relay("relay-0")
    tmpfs(fabric.folder / "sinks" / "full", 6 * MIB)
    full = fabric.add_sink("full", kind)
    fabric.add_sink("other", "file")
    fabric.add_sidecar("pod", compression="none")
    fabric.start()
    with fabric.load("pod", per_post=100, pad=2_000) as load:
        wait_until(
            lambda: fabric.metric(full.worker, "meterfabric_sink_destination_down_total") > 0, "its disk takes nothing"
        )
        more(load, 1_000)
    fabric.settle("other")
    assert not fabric.settled("full")
    full.worker.restart()
    full.worker.ready()
    tmpfs(fabric.folder / "sinks" / "full", 256 * MIB)
    fabric.settle()
    found = books.check(fabric)
    assert not found["full"].passed


def undelivered(fabric: Fabric, records: int, pad: int = 60) -> Load:
    """A fabric whose sidecar was killed with so many records in its spool that no sink has."""
    fabric.add_relay("relay-0")
    fabric.add_sink("archive", "file")
    fabric.add_sink("billing", "sqlite")
    fabric.add_sidecar("pod", compression="none")
    fabric.start()
    with fabric.load("pod") as first:
        more(first, 100)
    fabric.settle()
    for sink in fabric.sinks.values():
        sink.worker.kill()
    with fabric.load("pod", pad=pad) as load:
        more(load, records)
    fabric.sidecars["pod"].kill()
    with sqlite3.connect(fabric.spool("pod") / "spool.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return load


def test_a_batch_altered_on_disk_is_put_aside_and_told_of_and_the_rest_delivered(fabric: Fabric) -> None:
    load = undelivered(fabric, 400)
    victim = load.accepted[len(load.accepted) // 2]
    path = fabric.spool("pod") / "spool.db"
    content = bytearray(path.read_bytes())
    assert content.count(victim) == 1
    at = content.index(victim) + victim.index(b"xxx")
    content[at] ^= 1
    path.write_bytes(content)
    fabric.start()
    fabric.settle()
    found = books.check(fabric)
    for held in found.values():
        assert held.passed.keys() == {"damaged"}
        assert victim not in held.records
        (notice,) = held.of(Damaged)
        assert sum(size - first for first, size in notice.ranges) == held.passed["damaged"] <= 20
    (aside,) = (fabric.spool("pod") / "quarantine").iterdir()
    assert bytes(content[at - 20 : at + 20]) in aside.read_bytes()
    assert fabric.alarms("pod", "damaged") == 1


@pytest.mark.parametrize("kept", [0.7, 0.4, 0.0])
def test_a_spool_that_lost_its_end_delivers_what_is_left_and_names_the_rest(fabric: Fabric, kept: float) -> None:
    load = undelivered(fabric, 2_000, 1_000)
    path = fabric.spool("pod") / "spool.db"
    os.truncate(path, int(path.stat().st_size * kept))
    fabric.start()
    with fabric.load("pod") as after:
        more(after, 100)
    fabric.settle()
    found = books.check(fabric)
    for held in found.values():
        there = sum(record in held.records for record in load.accepted)
        print(f"{kept:.0%} of the file left: {there} of {load.count} undelivered records came through; {held.passed}")
        assert all(record in held.records for record in after.accepted)
