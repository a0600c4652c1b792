import os
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import duckdb
import pytest

from meterfabric_sink import evidence_file
from meterfabric_sink.destination import erasure, segments
from meterfabric_sink.destination.base import (
    DestinationDown,
    DestinationError,
    DestinationInUse,
    DestinationRefused,
    LogUpdate,
)
from meterfabric_sink.destination.embedded import Embedded
from meterfabric_sink.destination.file import FileDestination
from meterfabric_sink.destination.sqlite import SqliteDestination
from meterfabric_sink.destination.sqlite_tables import EVIDENCE, SEGMENTS, connect
from meterfabric_sink.evidence import Found, open_evidence
from tests.sink.sink_logs import Log, event, hold_together


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sink"


@pytest.fixture
async def sink(folder: Path) -> AsyncIterator[FileDestination]:
    found = FileDestination(folder)
    await found.open()
    yield found
    await found.close()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB; mounting it needs root."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def _jq(program: str, path: Path) -> str:
    return subprocess.run(["jq", "-s", program, path], check=True, capture_output=True, text=True).stdout


def _duckdb(query: str) -> object:
    return duckdb.connect().execute(query).fetchone()


async def _commit_until_down(sink: Embedded, log: Log) -> tuple[int, LogUpdate]:
    """Commit until the destination is down; returns the size committed and the update that failed."""
    for _ in range(200):
        committed = log.size
        update = log.records(300).next()
        try:
            await sink.commit([update])
        except DestinationDown:
            return committed, update
    raise AssertionError("the disk never filled up")


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.glob("*.ndjson"))}


async def test_a_segment_holds_the_records_byte_for_byte(sink: FileDestination, folder: Path) -> None:
    log = Log()
    await sink.commit([log.records(3).records(2).next()])
    assert (folder / "records-000001.ndjson").read_bytes() == b"".join(leaf + b"\n" for leaf in log.leaves)


async def test_a_commit_that_would_outgrow_the_segment_begins_the_next(folder: Path) -> None:
    sink = FileDestination(folder, segment_bytes=5000)
    await sink.open()
    log = Log()
    for _ in range(6):
        await sink.commit([log.records(10).next()])
    await sink.commit([log.records(50).next()])
    await sink.close()
    sizes = _sizes(folder)
    assert list(sizes) == [f"records-{number:06d}.ndjson" for number in range(1, len(sizes) + 1)]
    assert all(size <= 5000 for size in list(sizes.values())[:-1])
    assert list(sizes.values())[-1] > 5000
    again = FileDestination(folder, segment_bytes=5000)
    await again.open()
    await again.commit([log.records(1).next()])
    await again.close()
    with open_evidence(f"file:{folder}") as evidence:
        assert hold_together(evidence) == {log.origin: 111}
        assert evidence.find("//meter", "event-55") == [Found(log.origin, 55)]


async def test_segments_are_read_by_jq_and_duckdb(sink: FileDestination, folder: Path) -> None:
    log = Log()
    await sink.commit([log.records(100).next()])
    with open_evidence(f"file:{folder}") as evidence:
        evidence.erase(Found(log.origin, 7), reason="asked", erased_at=1)
    assert _jq("map(.data.value // 0) | add", folder / "records-000001.ndjson") == f"{sum(range(100)) - 7}\n"
    assert _duckdb(f"SELECT count(*), sum(data.value), count(id) FROM '{folder}/*.ndjson'") == (
        100,
        sum(range(100)) - 7,
        99,
    )


async def test_a_torn_end_is_cut_at_start(sink: FileDestination, folder: Path) -> None:
    log = Log()
    await sink.commit([log.records(3).next()])
    await sink.close()
    path = folder / "records-000001.ndjson"
    whole = path.read_bytes()
    path.write_bytes(whole + event(4)[:50])
    again = FileDestination(folder)
    await again.open()
    assert path.read_bytes() == whole
    await again.commit([log.records(2).next()])
    await again.close()
    with open_evidence(f"file:{folder}") as evidence:
        assert hold_together(evidence) == {log.origin: 5}


async def test_a_segment_that_a_crash_left_before_the_index_knew_it_is_removed(
    sink: FileDestination, folder: Path
) -> None:
    log = Log()
    await sink.commit([log.records(3).next()])
    await sink.close()
    stray = folder / "records-000002.ndjson"
    stray.write_bytes(event(4))
    again = FileDestination(folder)
    await again.open()
    assert not stray.exists()
    await again.close()


async def test_an_older_index_takes_the_segments_back_to_its_position(sink: FileDestination, folder: Path) -> None:
    log = Log()
    await sink.commit([log.records(3).next()])
    before = log.held
    await sink.close()
    backup = (folder / "index.db").read_bytes()
    again = FileDestination(folder)
    await again.open()
    await again.commit([log.records(3).next()])
    await again.close()
    (folder / "index.db").write_bytes(backup)
    restored = FileDestination(folder)
    await restored.open()
    assert await restored.positions([log.origin]) == {log.origin: before}
    await restored.close()
    with open_evidence(f"file:{folder}") as evidence:
        assert hold_together(evidence) == {log.origin: 3}


@pytest.mark.parametrize("lost", ["index.db", "records-000001.ndjson", "the end of it"])
async def test_what_is_missing_is_refused_with_what_to_do(sink: FileDestination, folder: Path, lost: str) -> None:
    await sink.commit([Log().records(3).next()])
    await sink.close()
    if lost == "the end of it":
        os.truncate(folder / "records-000001.ndjson", 10)
    else:
        (folder / lost).unlink()
    with pytest.raises(DestinationRefused, match="restore"):
        await FileDestination(folder).open()


async def test_an_index_of_a_newer_release_or_another_program_is_refused(folder: Path) -> None:
    await (first := FileDestination(folder)).open()
    await first.close()
    connection = connect(folder / "index.db", EVIDENCE + SEGMENTS)
    connection.execute("PRAGMA user_version=99")
    with pytest.raises(DestinationRefused, match="newer release"):
        await FileDestination(folder).open()
    connection.execute("PRAGMA user_version=0")
    connection.execute("PRAGMA application_id=0")
    with pytest.raises(DestinationRefused, match="another program"):
        await FileDestination(folder).open()
    connection.execute("PRAGMA application_id=5")
    with pytest.raises(DestinationRefused, match="another program"):
        await FileDestination(folder).open()
    connection.close()
    (folder / "index.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(DestinationRefused, match="not a database"):
        await FileDestination(folder).open()


@pytest.mark.parametrize("kind", [FileDestination, SqliteDestination])
async def test_a_second_worker_is_kept_out_until_the_first_is_gone(tmp_path: Path, kind: type[Embedded]) -> None:
    one, two = (kind(tmp_path / "sink") for _ in range(2))  # type: ignore[call-arg]
    await one.open()
    with pytest.raises(DestinationInUse):
        await two.open()
    await one.close()
    await two.open()
    await two.close()


@pytest.mark.fault
@pytest.mark.parametrize("kind", ["file", "sqlite"])
async def test_a_full_disk_loses_nothing_and_passes(full_disk: Path, kind: str) -> None:
    ballast = full_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    path = full_disk / "sink"
    sink = FileDestination(path) if kind == "file" else SqliteDestination(path)
    await sink.open()
    log = Log()
    committed, update = await _commit_until_down(sink, log)
    assert committed
    with pytest.raises(DestinationDown):
        await sink.commit([update])
    ballast.unlink()
    assert (await sink.positions([log.origin]))[log.origin].size == committed
    await sink.commit([update])
    await sink.close()
    with open_evidence(f"{kind}:{path}") as evidence:
        assert hold_together(evidence) == {log.origin: log.size}


@pytest.mark.parametrize("segment_bytes", [256 << 20, 1])
async def test_a_segment_that_cannot_be_written_leaves_no_trace(
    folder: Path, monkeypatch: pytest.MonkeyPatch, segment_bytes: int
) -> None:
    sink = FileDestination(folder, segment_bytes=segment_bytes)
    await sink.open()
    log = Log()
    await sink.commit([log.records(3).next()])
    sizes = _sizes(folder)
    update = log.records(3).next()

    def fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fails)
        with pytest.raises(DestinationDown, match="Input/output"):
            await sink.commit([update])
    assert {name: size for name, size in _sizes(folder).items() if size} == sizes
    await sink.commit([update])
    await sink.close()
    with open_evidence(f"file:{folder}") as evidence:
        assert hold_together(evidence) == {log.origin: 6}


class _Doubtful:
    """A connection whose COMMIT says that it failed, though it happened or not."""

    def __init__(self, real: sqlite3.Connection, *, happened: bool) -> None:
        self._real = real
        self._happened = happened

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        if sql != "COMMIT":
            return self._real.execute(sql, *parameters)  # type: ignore[arg-type]
        self._real.execute("COMMIT" if self._happened else "ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize("happened", [True, False])
async def test_a_commit_in_doubt_is_settled_by_what_is_on_the_disk(
    sink: FileDestination, folder: Path, happened: bool
) -> None:
    log = Log()
    await sink.commit([log.records(3).next()])
    update = log.records(3).next()
    assert sink._live is not None
    sink._live = _Doubtful(sink._live, happened=happened)  # type: ignore[assignment]
    with pytest.raises(DestinationDown, match="disk I/O"):
        await sink.commit([update])
    assert (await sink.positions([log.origin]))[log.origin].size == (6 if happened else 3)
    if not happened:
        await sink.commit([update])
    await sink.commit([log.records(1).next()])
    with open_evidence(f"file:{folder}") as evidence:
        assert hold_together(evidence) == {log.origin: 7}


async def test_an_erasure_cut_short_by_a_crash_is_finished_at_start(
    sink: FileDestination, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    await sink.commit([log.records(3).next()])
    await sink.close()
    path = folder / "records-000001.ndjson"
    before = path.read_bytes()

    def crashes(*_: object) -> None:
        raise KeyboardInterrupt

    with open_evidence(f"file:{folder}") as evidence, monkeypatch.context() as patched:
        patched.setattr(erasure, "finish", crashes)
        with pytest.raises(KeyboardInterrupt):
            evidence.erase(Found(log.origin, 1), reason="asked", erased_at=1)
    assert path.read_bytes() == before
    again = FileDestination(folder)
    await again.open()
    await again.close()
    after = path.read_bytes()
    assert len(after) == len(before)
    assert b"event-1" not in after
    with open_evidence(f"file:{folder}") as evidence:
        assert hold_together(evidence) == {log.origin: 3}


@pytest.mark.parametrize("length", [1, 2, 14, 15, 16, 500])
def test_the_filler_is_valid_json_of_the_same_length(length: int) -> None:
    filler = erasure.filler(length)
    assert len(filler) == length
    assert _duckdb(f"SELECT json_valid('{filler.decode()}')") == (True,)


def test_a_short_write_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, chunk, at: written(fd, [b"".join(chunk)[:7]], at))
    descriptor = segments.create(tmp_path, 1)
    payloads = [bytes([number % 256]) * (number % 23) for number in range(1500)]
    segments.append(descriptor, 0, payloads)
    os.close(descriptor)
    assert (tmp_path / segments.name(1)).read_bytes() == b"".join(payloads)


async def test_a_folder_gone_bad_is_reported_as_its_leaves_missing(sink: FileDestination, folder: Path) -> None:
    log = Log()
    await sink.commit([log.records(3).next()])
    await sink.close()
    (folder / "records-000001.ndjson").unlink()
    with open_evidence(f"file:{folder}") as evidence:
        assert [each.leaves for each in evidence.leaves(log.origin)] == [[]]
        assert evidence.find("//meter", "event-1") == []


async def test_a_head_alone_writes_no_segment(sink: FileDestination, folder: Path) -> None:
    log = Log()
    await sink.commit([LogUpdate(log.origin, None, log.held)])
    assert _sizes(folder) == {}


def test_no_sink_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match="no sink is here"):
        open_evidence(f"file:{tmp_path}")
    shutil.rmtree(tmp_path)
    with pytest.raises(DestinationError, match="no sink is here"):
        open_evidence(f"sqlite:{tmp_path}")


async def test_every_record_is_found_wherever_a_window_of_the_search_ends(
    sink: FileDestination, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log().records(7).add([event(7, data="x" * 900)]).records(5)
    await sink.commit([log.next()])
    with open_evidence(f"file:{folder}") as evidence:
        for size in (64, 150, 1_000):
            monkeypatch.setattr(evidence_file, "_WINDOW_BYTES", size)
            for number in range(13):
                assert evidence.find("//meter", f"event-{number}") == [Found(log.origin, number)]
            assert evidence.find("//meter", "event-13") == []
