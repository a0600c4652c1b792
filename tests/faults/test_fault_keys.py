"""Spools and keys that are lost or go back in time: a new log says what it continues, nothing is delivered twice."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from meterfabric_protocol.notice import Continues, Damaged
from tests.faults import books
from tests.faults.fabric import Fabric
from tests.faults.load import Load
from tests.faults.process import wait_until

pytestmark = pytest.mark.fault


@pytest.fixture
def pair(fabric: Fabric) -> Fabric:
    """One relay, one sidecar, two sinks."""
    fabric.add_relay("relay-0")
    fabric.add_sink("archive", "file")
    fabric.add_sink("billing", "sqlite")
    fabric.add_sidecar("pod")
    return fabric.start()


def accept(fabric: Fabric, records: int) -> Load:
    """Have some more records accepted."""
    with fabric.load("pod") as load:
        wait_until(lambda: load.count >= records, f"{records} records accepted")
    return load


def reasons(found: books.SinkBooks) -> list[str]:
    """Why logs continue others."""
    return [notice.reason for notice in found.of(Continues)]


def go_back(fabric: Fabric, folders: list[Path], meanwhile: Callable[[], None]) -> None:
    """Copy folders of a dead sidecar, let it run and do something, kill it, and put the copies in their places."""
    sidecar = fabric.sidecars["pod"]
    sidecar.kill()
    for folder in folders:
        shutil.copytree(folder, folder.with_suffix(".earlier"))
    sidecar.start()
    sidecar.ready()
    meanwhile()
    sidecar.kill()
    for folder in folders:
        shutil.rmtree(folder)
        folder.with_suffix(".earlier").rename(folder)
    sidecar.start()
    sidecar.ready()


@pytest.mark.parametrize("delivered", [True, False], ids=["delivered", "undelivered"])
def test_a_spool_from_an_earlier_moment_under_a_living_key_begins_a_log_that_continues(
    pair: Fabric, delivered: bool
) -> None:
    accept(pair, 200)
    pair.settle()

    def meanwhile() -> None:
        if delivered:
            accept(pair, 200)
            pair.settle()
            return
        for sink in pair.sinks.values():
            sink.worker.kill()
        accept(pair, 200)
        for sink in pair.sinks.values():
            sink.worker.start()
            sink.worker.ready()

    go_back(pair, [pair.spool("pod")], meanwhile)
    accept(pair, 200)
    pair.settle()
    for found in books.check(pair).values():
        assert reasons(found) == ["rollback"]
        assert not found.equivocations
        assert not delivered or not found.passed


@pytest.mark.parametrize(("together", "forked"), [(True, False), (True, True), (False, True)])
def test_a_spool_and_key_from_an_earlier_moment_fork_no_log_unseen_and_double_nothing(
    pair: Fabric, together: bool, forked: bool
) -> None:
    accept(pair, 200)
    pair.settle()
    forgotten: list[Load] = []

    def meanwhile() -> None:
        if not together:
            pair.sinks["billing"].worker.kill()
        forgotten.append(accept(pair, 200))
        pair.settle("archive")
        if forked:
            for sink in pair.sinks.values():
                sink.worker.kill()

    go_back(pair, [pair.spool("pod"), pair.key_folder("pod")], meanwhile)
    if forked:
        # A second root is signed for sizes that a sink has already.
        accept(pair, 60)
        pair.start()
    else:
        wait_until(lambda: len(pair.status("pod")["logs"]) == 2, "the sink's position alone ends the log")
    accept(pair, 200)
    pair.settle()
    found = books.check(pair, unknowable={} if together else {"billing": forgotten[0].count})
    assert "forked" in reasons(found["archive"])
    assert not found["archive"].passed, "what repeats was never taken"
    assert found["billing"].passed.keys() <= {"repeated"}
    assert (found["archive"].equivocations > 0) == forked
    assert pair.alarms("pod", "equivocation") + pair.alarms("pod", "spool-behind") > 0


@pytest.mark.parametrize("lost", ["producer.key", "head.json", "both"])
def test_a_lost_key_ends_its_log_which_is_still_delivered_whole(pair: Fabric, lost: str) -> None:
    accept(pair, 200)
    for sink in pair.sinks.values():
        sink.worker.kill()
    accept(pair, 200)
    sidecar = pair.sidecars["pod"]
    sidecar.kill()
    for name in ("producer.key", "head.json") if lost == "both" else (lost,):
        (pair.key_folder("pod") / name).unlink()
    pair.start()
    accept(pair, 100)
    pair.settle()
    for found in books.check(pair).values():
        assert reasons(found) == ["head-lost" if lost == "head.json" else "key-lost"]
        assert not found.passed
        assert len(found.logs) == 2


def test_a_log_that_was_never_enrolled_is_vouched_for_by_the_one_that_continues_it(pair: Fabric) -> None:
    pair.enrolling.clear()
    other = pair.add_sidecar("other")
    other.start()
    other.ready()
    with pair.load("other") as load:
        wait_until(lambda: load.count >= 100, "records are accepted without a certificate")
    other.kill()
    shutil.rmtree(pair.key_folder("other"))
    pair.enrolling.set()
    other.start()
    other.ready()
    accept(pair, 100)
    pair.settle()
    for found in books.check(pair).values():
        assert reasons(found) == ["key-lost"]
        assert sum(held.vouched_by != "" for held in found.held.values()) == 1


def test_a_spool_from_before_its_keys_log_still_delivers_its_last_one_though_never_enrolled(pair: Fabric) -> None:
    pair.enrolling.clear()
    other = pair.add_sidecar("other")
    other.start()
    other.ready()
    with pair.load("other") as load:
        wait_until(lambda: load.count >= 100, "records are accepted without a certificate")
    other.kill()
    spool, copy = pair.spool("other"), pair.spool("other").with_suffix(".earlier")
    shutil.copytree(spool, copy)
    (pair.key_folder("other") / "producer.key").unlink()
    other.start()
    other.ready()
    # Another log has signed something, and its key lives on beside a spool that knows nothing of it.
    other.kill()
    shutil.rmtree(spool)
    copy.rename(spool)
    pair.enrolling.set()
    other.start()
    other.ready()
    accept(pair, 100)
    pair.settle()
    for found in books.check(pair).values():
        assert reasons(found) == ["rollback", "rollback"]
        assert not found.passed
        assert all(record in found.records for record in load.accepted)
        assert sum(held.vouched_by != "" for held in found.held.values()) == 2


def test_a_batch_that_a_fork_can_not_repeat_is_told_of_as_damaged(pair: Fabric) -> None:
    accept(pair, 200)
    pair.settle()

    def meanwhile() -> None:
        accept(pair, 200)
        pair.settle()
        for sink in pair.sinks.values():
            sink.worker.kill()

    pair.sidecars["pod"].settings["compression"] = "none"
    go_back(pair, [pair.spool("pod"), pair.key_folder("pod")], meanwhile)
    # A second root is signed for sizes that the sinks have already, and part of what stands under it rots.
    branch = accept(pair, 200)
    pair.sidecars["pod"].kill()
    victim = branch.accepted[len(branch.accepted) // 2]
    with sqlite3.connect(pair.spool("pod") / "spool.db") as database:
        rotten = database.execute(
            "UPDATE payloads SET body = replace(body, ?, ?) WHERE instr(body, ?)",
            (victim.decode(), victim.replace(b"xxx", b"xxy", 1).decode(), victim.decode()),
        )
        assert rotten.rowcount == 1
    database.close()
    pair.start()
    accept(pair, 100)
    pair.settle()
    wait_until(lambda: pair.status("pod") and pair.alarms("pod", "damaged") == 1, "the damage is found")
    wait_until(lambda: told(pair), "a notice of it is with every sink")
    for found in books.check(pair).values():
        assert "forked" in reasons(found)
        assert victim not in found.records
        missed = sum(record not in found.records for record in branch.accepted)
        (notice,) = found.of(Damaged)
        assert sum(size - first for first, size in notice.ranges) == missed <= 20


def told(fabric: Fabric) -> bool:
    """Whether no damage is left that no notice tells of, and all are with every sink."""
    database = sqlite3.connect(f"file:{fabric.spool('pod')}/spool.db?mode=ro", uri=True)
    try:
        found = database.execute("SELECT told FROM batches WHERE damaged IS NOT NULL").fetchall()
    finally:
        database.close()
    return found == [(1,)] and fabric.settled()


def test_a_lost_spool_is_told_of_by_the_log_that_follows(pair: Fabric) -> None:
    accept(pair, 200)
    pair.settle()
    pair.sidecars["pod"].kill()
    shutil.rmtree(pair.spool("pod"))
    pair.sidecars["pod"].start()
    pair.sidecars["pod"].ready()
    accept(pair, 100)
    pair.settle()
    for found in books.check(pair).values():
        assert reasons(found) == ["spool-lost"]
        (notice,) = found.of(Continues)
        assert notice.heard == found.held[notice.previous].size
