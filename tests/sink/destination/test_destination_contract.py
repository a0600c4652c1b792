"""What every destination promises, held against each of them."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import msgspec
import psycopg
import pytest

from meterfabric_protocol import notice
from meterfabric_sink.destination.base import Certificate, Destination, Equivocation, LogUpdate, PositionMoved
from meterfabric_sink.destination.open import destination
from meterfabric_sink.evidence import Found, open_evidence
from tests.sink.sink_logs import Log, event, hold_together

pytestmark = pytest.mark.integration


@pytest.fixture
async def opened(sink_url: str) -> AsyncIterator[Destination]:
    found = destination(sink_url, clock=lambda: 1000.0)
    await found.open()
    yield found
    await found.close()


async def test_a_log_never_seen_has_no_position(opened: Destination) -> None:
    assert await opened.positions(["nobody"]) == {}
    assert await opened.receipt("nobody", 1) is None
    assert await opened.notices("nobody") == []


async def test_a_commit_is_found_again_after_a_restart(opened: Destination, sink_url: str) -> None:
    one, two = Log("one"), Log("two")
    await opened.commit([one.records(3).records(2).next(), two.records(4).next()])
    await opened.commit([one.records(1).next()])
    await opened.close()
    again = destination(sink_url)
    await again.open()
    assert await again.positions([one.origin, two.origin, "nobody"]) == {one.origin: one.held, two.origin: two.held}
    await again.close()
    with open_evidence(sink_url) as evidence:
        assert hold_together(evidence) == {one.origin: 6, two.origin: 4}


async def test_a_commit_at_a_moved_position_writes_nothing_of_any_log(opened: Destination, sink_url: str) -> None:
    one, two = Log("one"), Log("two")
    first = one.records(3).next()
    await opened.commit([first])
    with pytest.raises(PositionMoved) as moved:
        await opened.commit([two.records(2).next(), first])
    assert moved.value.origins == (one.origin,)
    assert await opened.positions([one.origin, two.origin]) == {one.origin: one.held}
    await opened.commit([one.records(3).next()])
    with open_evidence(sink_url) as evidence:
        assert hold_together(evidence) == {one.origin: 6}


async def test_a_commit_beyond_the_position_is_refused(opened: Destination) -> None:
    log = Log()
    log.records(3).next()
    with pytest.raises(PositionMoved):
        await opened.commit([log.records(3).next()])


async def test_a_batch_gets_its_receipt_again_by_its_size(opened: Destination) -> None:
    log = Log()
    update = log.records(3).records(2).records(4).next()
    await opened.commit([update])
    for batch in update.batches:
        assert await opened.receipt(log.origin, batch.size) == msgspec.structs.replace(batch, payload=b"")
    assert await opened.receipt(log.origin, 4) is None
    assert await opened.receipt(log.origin, 10) is None


async def test_the_boundary_below_a_size_is_the_last_batch_that_ends_there(opened: Destination) -> None:
    log = Log()
    await opened.commit([log.records(3).records(2).records(4).next()])
    found = [await opened.boundary_at_or_below(log.origin, size) for size in range(12)]
    assert [each and each.size for each in found] == [None, None, None, 3, 3, 5, 5, 5, 5, 9, 9, 9]


async def test_a_head_never_falls_a_closed_log_stays_closed_and_a_named_end_stays(opened: Destination) -> None:
    log = Log()
    held = log.records(3).next().held
    replace = msgspec.structs.replace
    named = replace(held, size=0, final_size=7, final_root=b"r", vouched_by="other", again_to=5)
    await opened.commit([LogUpdate(log.origin, None, replace(named, head_size=9, head_note=b"nine", closed=True))])
    await opened.commit([LogUpdate(log.origin, 0, replace(named, head_size=8, head_note=b"eight"))])
    other = replace(named, head_size=8, final_size=8, final_root=b"s", vouched_by="third", again_to=4)
    await opened.commit([LogUpdate(log.origin, 0, other)])
    kept = replace(named, head_size=9, head_note=b"nine", closed=True)
    assert await opened.positions([log.origin]) == {log.origin: kept}


async def test_notices_stubs_certificates_and_equivocations_are_evidence(opened: Destination, sink_url: str) -> None:
    log = Log()
    bodies = [notice.encode(notice.Opened(log=log.origin)), notice.encode(notice.Closed(log=log.origin, records=5))]
    update = log.add(bodies[:1]).records(2).add([event(1), event(2), event(3)], stub=True).add(bodies[1:]).next()
    certificate, two = Certificate(b"chain" * 1000, 1, 2), Equivocation(3, b"held" * 900, b"seen" * 900, 7)
    await opened.commit([msgspec.structs.replace(update, certificate=certificate, equivocation=two)])
    await opened.commit([LogUpdate(log.origin, log.size, log.held, certificate=certificate, equivocation=two)])
    assert [each.body for each in await opened.notices(log.origin)] == bodies
    with open_evidence(sink_url) as evidence:
        assert hold_together(evidence) == {log.origin: 7}
        assert [each.kind for each in evidence.batches(log.origin)] == ["notices", "records", "stub", "notices"]
        assert [each.body for each in evidence.notices(log.origin)] == bodies
        assert evidence.certificates(log.origin) == [certificate]
        assert evidence.equivocations(log.origin) == [two]
        assert evidence.log(log.origin) == log.held
        assert evidence.log("nobody") is None


@pytest.mark.parametrize(
    "odd",
    [
        b'{"id":"x\\u0000y","source":"s","data":"\\u0000"}',
        b'{"id":"x","source":"\\ud800","data":{"\\udc00":1}}',
        b'{"id":"x","data":"\xff"}',
        b'{"id":"x","data":1e999999}',
        b'{"id":"x","data":' + b"9" * 200_000 + b"}",
        b'{"id":"x","data":[1e200000,{"a":-1E-99999}]}',
        b'{"id":"x","data":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"id":"x","data":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"id":"' + b"x" * 100_000 + b'"}',
        b'{"id":5,"source":null,"type":[],"subject":{},"time":7,"data":1}',
        b'{"id":"x","time":"0000-01-01T00:00:00Z"}',
        b'{"id":"x","time":"infinity"}',
        b'{"id":"x","time":"2026-01-01T00:00:00+23:59"}',
        b'{"id":"x","time":"2026-01-01T00:00:00"}',
        b'{"id":"x","id":"y"}',
        b'{"id":"x\\\\u0000","data":"\\\\u0000"}',
        b"{",
        b"[1]",
        b"{} {}",
        b"\xff\xfe\x00",
        b"\\N",
        b"not json at all\t\r",
    ],
)
async def test_no_bytes_of_a_record_block_a_log(opened: Destination, sink_url: str, odd: bytes) -> None:
    log = Log()
    await opened.commit([log.add([event(0), odd, event(2)]).records(2).next()])
    with open_evidence(sink_url) as evidence:
        assert hold_together(evidence) == {log.origin: 5}
        assert [leaf for each in evidence.leaves(log.origin) for leaf in each.leaves] == log.leaves
        assert evidence.find("//meter", "event-2") == [Found(log.origin, 2)]


@pytest.mark.parametrize(
    ("attributes", "raw"),
    [
        ({"id": "plain"}, None),
        ({"id": 'quote " and \\ and / and \n'}, None),
        ({"id": "späße 🎈"}, None),
        ({"id": "x" * 5000}, None),
        ({"id": "nul\0"}, None),
        ({"id": "1", "data": "\ud800"}, None),
        ({"id": "ab/c"}, b'{"specversion":"1.0","id":"a\\u0062\\/c","source":"//meter","type":"t"}'),
    ],
)
async def test_a_record_is_found_by_source_and_id_however_its_id_is_spelt(
    opened: Destination, sink_url: str, attributes: dict[str, str], raw: bytes | None
) -> None:
    log = Log()
    wanted = raw or event(0, **attributes)
    await opened.commit([log.records(3).next()])
    await opened.commit([log.add([event(3), wanted, event(5)]).next()])
    with open_evidence(sink_url) as evidence:
        assert evidence.find("//meter", attributes["id"]) == [Found(log.origin, 4)]
        assert evidence.find("//other", attributes["id"]) == []
        assert evidence.find("//meter", attributes["id"] + "?") == []


async def test_a_leaf_is_found_with_its_batch_and_the_frontier_before_it(opened: Destination, sink_url: str) -> None:
    log = Log()
    await opened.commit([log.records(3).next()])
    before = log.frontier
    await opened.commit([log.records(4).records(2).next()])
    with open_evidence(sink_url) as evidence:
        held = evidence.batch_of(log.origin, 5)
        assert held is not None
        assert (held.batch.first, held.batch.size, held.leaves[2]) == (3, 7, log.leaves[5])
        assert evidence.range(log.origin, 0, 3) == before
        assert evidence.batch_of(log.origin, 9) is None


async def test_the_sinks_own_certificates_are_kept_each_once(opened: Destination, sink_url: str) -> None:
    first, second = Certificate(b"first chain", 1, 100), Certificate(b"second chain", 60, 160)
    for own in (first, first, second, first):
        await opened.introduce(own)
    with open_evidence(sink_url) as evidence:
        assert evidence.sink_certificates() == [first, second]


async def test_an_erased_record_is_gone_and_the_log_still_verifies(opened: Destination, sink_url: str) -> None:
    log = Log()
    secret = event(2, data={"name": "somebody's secret"})
    await opened.commit([log.add([event(0), event(1), secret]).records(2).next()])
    with open_evidence(sink_url) as evidence:
        (found,) = evidence.find("//meter", "event-2")
        assert evidence.erase(found, reason="asked", erased_at=77)
        assert not evidence.erase(found, reason="again", erased_at=78)
        assert hold_together(evidence) == {log.origin: 5}
        held = evidence.batch_of(log.origin, 2)
        assert held is not None
        assert held.leaves == [*log.leaves[:2], None]
        assert [(index, each.erased_at, each.reason) for index, each in held.erased.items()] == [(2, 77, "asked")]
        assert evidence.find("//meter", "event-2") == []
        assert evidence.find("//meter", "event-1") == [Found(log.origin, 1)]
    await opened.commit([log.records(1).next()])
    with open_evidence(sink_url) as evidence:
        assert hold_together(evidence) == {log.origin: 6}


async def test_what_is_no_record_is_not_erased(opened: Destination, sink_url: str) -> None:
    log = Log()
    await opened.commit([log.add([notice.encode(notice.Opened(log=log.origin))]).records(1).next()])
    with open_evidence(sink_url) as evidence:
        for found in (Found(log.origin, 0), Found(log.origin, 2), Found("nobody", 0)):
            with pytest.raises(LookupError):
                evidence.erase(found, reason="asked", erased_at=77)


async def test_commits_at_once_are_taken_one_after_the_other(opened: Destination, sink_url: str) -> None:
    logs = [Log(f"meter-{number}") for number in range(8)]
    await asyncio.gather(*(opened.commit([log.records(5).next()]) for log in logs))
    with open_evidence(sink_url) as evidence:
        assert hold_together(evidence) == {log.origin: 5 for log in logs}


async def test_many_small_batches_of_many_logs_are_read_back_in_order(opened: Destination, sink_url: str) -> None:
    logs = [Log(f"meter-{number}") for number in range(3)]
    for log in logs:
        for _ in range(600):
            log.records(1)
    await opened.commit([log.next() for log in logs])
    with open_evidence(sink_url) as evidence:
        assert hold_together(evidence) == {log.origin: 600 for log in logs}
        leaves = [leaf for each in evidence.leaves(logs[0].origin) for leaf in each.leaves]
        assert [json.loads(leaf or b"")["id"] for leaf in leaves] == [f"event-{number}" for number in range(600)]


async def test_what_is_stored_as_records_and_belongs_to_no_batch_is_told(opened: Destination, sink_url: str) -> None:
    log = Log()
    await opened.commit([log.records(3).add([event(7)], stub=True).records(2).next()])
    with open_evidence(sink_url) as evidence:
        assert list(evidence.strays()) == []
    smuggle(sink_url, log.origin, event(99))
    with open_evidence(sink_url) as evidence:
        (told,) = evidence.strays()
    assert "records" in told


def smuggle(url: str, origin: str, record: bytes) -> None:
    """Put a record where a biller would find it, behind the evidence's back."""
    scheme, _, path = url.partition(":")
    if scheme == "file":
        Path(path, "records-999999.ndjson").write_bytes(record + b"\n")
    elif scheme == "sqlite":
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("INSERT INTO records(origin, idx, raw) VALUES(?, 999, ?)", (origin, record))
    else:
        with psycopg.connect(url) as server:
            server.execute("INSERT INTO meterfabric.records(origin, idx, raw) VALUES(%s, 999, %s)", (origin, record))


ODD = (
    b'{"specversion":"1.0","id":"a\\u0000b","source":"s","type":"t","data":{"x":"\\u0000"}}',
    b'{"specversion":"1.0","id":"c","source":"\\ud800","type":"t","data":1e99999999}',
    b'{"specversion":"1.0","id":"d","source":"s","type":"t","time":"2026-11-24T06:33:12.123456789+01:00"}',
    b'{"specversion":"1.0","id":"e","source":"s","type":"t","time":"2026-11-24T06:33:60Z","data": {"b":1,"a":[1.0]} }',
    b'{"specversion":"1.0","id":"' + b"f" * 2000 + b'","source":"s","type":"t","data":null}',
    b'{"specversion":"1.0","id":"g","source":"s","type":"t","data":"\xff"}',
    b"{}",
)


async def test_columns_say_what_the_bytes_say_of_odd_records_too(opened: Destination, sink_url: str) -> None:
    log = Log()
    await opened.commit([log.records(600).add(ODD).next()])
    with open_evidence(sink_url) as evidence:
        assert list(evidence.astray(log.origin)) == []
        evidence.erase(Found(log.origin, 3), reason="asked", erased_at=77)
        assert list(evidence.astray(log.origin)) == []


@pytest.mark.parametrize("column", ["id", "source", "type", "subject", "time", "data"])
async def test_a_column_that_was_altered_is_told(column: str, opened: Destination, sink_url: str) -> None:
    log = Log()
    await opened.commit([log.records(600).next()])
    if sink_url.startswith("file:"):
        return
    other = {"time": "'2020-01-01T00:00:00Z'", "data": """'{"value":0}'"""}.get(column, "'other'")
    changes = [
        f"UPDATE records SET {column} = {other} WHERE idx = 7",
        f"UPDATE records SET {column} = NULL WHERE idx = 555",
    ]
    if sink_url.startswith("sqlite:"):
        with closing(sqlite3.connect(sink_url.partition(":")[2])) as connection, connection:
            for sql in changes:
                connection.execute(sql)
    else:
        with psycopg.connect(sink_url, options="-c search_path=meterfabric") as server:
            for sql in changes:
                server.execute(sql.encode())
    with open_evidence(sink_url) as evidence:
        assert list(evidence.astray(log.origin)) == [7, 555]
