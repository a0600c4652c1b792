import os
import sqlite3
from pathlib import Path

from meterfabric_sink.destination.sqlite import SqliteDestination
from meterfabric_sink.evidence import open_evidence
from tests.sink.sink_logs import Log, event


async def _commit(path: Path, log: Log) -> None:
    sink = SqliteDestination(path)
    await sink.open()
    await sink.commit([log.next()])
    await sink.close()


async def test_records_are_queried_by_their_attributes(tmp_path: Path) -> None:
    path = tmp_path / "sink.db"
    log = Log()
    await _commit(path, log.add([event(0), event(1, subject=None), b"{", event(3, data="text \ud800")]))
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT idx, id, type, subject, time, data FROM records ORDER BY idx").fetchall()
    time = "2026-11-24T06:33:12.5Z"
    assert found == [
        (0, "event-0", "cpu.seconds", "customer-0", time, '{"value":0,"unit":"s"}'),
        (1, "event-1", "cpu.seconds", None, time, '{"value":1,"unit":"s"}'),
        (2, None, None, None, None, None),
        (3, "event-3", "cpu.seconds", "customer-3", time, None),
    ]
    (total,) = connection.execute("SELECT sum(data ->> 'value') FROM records").fetchone()
    assert total == 1
    connection.close()


async def test_erased_bytes_are_nowhere_in_the_files(tmp_path: Path) -> None:
    path = tmp_path / "sink.db"
    log = Log().add([event(number, data=f"secret-{number}") for number in range(200)])
    await _commit(path, log)
    with open_evidence(f"sqlite:{path}") as evidence:
        for number in (7, 150):
            (found,) = evidence.find("//meter", f"event-{number}")
            evidence.erase(found, reason="asked", erased_at=1)
        content = b"".join((tmp_path / name).read_bytes() for name in os.listdir(tmp_path))
    assert b"secret-8" in content
    assert b'secret-7"' not in content
    assert b"secret-150" not in content
    assert b"event-150" not in content
