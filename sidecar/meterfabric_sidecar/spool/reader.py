"""Everything that is read from the database, as plain functions over a connection.

What the shipper asks for runs in the spool's reader thread, on a connection of its own. Every lookup is by (log, first)
and touches a few pages, however large the backlog.
"""

import sqlite3
from typing import Final, NamedTuple

from meterfabric_protocol.checkpoint import parse
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.merkle import CompactRange

from .rows import CursorRow, LogRow, Pending, RecentRow
from .schema import LOG_SPAN, row_id

_LOG: Final = (
    "SELECT id, origin, public_key, state, size, frontier, batches, records, bytes, dropped_to, chain, opened_at,"
    " superseded_at FROM logs"
)


class Payload(NamedTuple):
    """A payload as stored: `length` is its uncompressed size in bytes."""

    codec: str
    length: int
    body: bytes


class BatchRow(NamedTuple):
    """A batch without its payload; see schema.py."""

    log: int
    first: int
    size: int
    kind: str
    note: bytes
    roots: bytes
    records: int
    records_before: int
    bytes: int
    bytes_before: int
    sealed_at: float
    damaged: str | None


_BATCH: Final = (
    "SELECT log, first, size, kind, CAST(note AS BLOB), roots, records, records_before, bytes, bytes_before, sealed_at,"
    " damaged FROM batches"
)


def clock(db: sqlite3.Connection) -> float:
    """The spool clock as persisted last, in seconds."""
    row = db.execute("SELECT value FROM meta WHERE key = 'clock'").fetchone()
    return float(row[0]) if row else 0.0


def logs(db: sqlite3.Connection) -> list[LogRow]:
    """All logs, oldest first. Raises Malformed where a frontier doesn't fit its size."""
    return [_log(*row) for row in db.execute(f"{_LOG} ORDER BY id")]


def log(db: sqlite3.Connection, log_id: int) -> LogRow:
    """One log. Raises KeyError, Malformed."""
    row = db.execute(f"{_LOG} WHERE id = ?", (log_id,)).fetchone()
    if row is None:
        raise KeyError(log_id)
    return _log(*row)


def _log(
    id_: int,
    origin: str,
    public_key: bytes,
    state: str,
    size: int,
    frontier: bytes,
    batches: int,
    records: int,
    stored: int,
    dropped_to: int,
    chain: str | None,
    opened_at: float,
    superseded_at: float | None,
) -> LogRow:
    if state not in ("active", "closed", "dead"):
        raise Malformed("spool", f"the log {origin} has the state {state!r}")
    tiles = CompactRange.decode(0, size, frontier)
    return LogRow(
        id_,
        origin,
        public_key,
        state,  # type: ignore[arg-type]
        tiles,
        batches,
        records,
        stored,
        dropped_to,
        chain,
        opened_at,
        superseded_at,
    )


def batches_from(db: sqlite3.Connection, log_id: int, first: int, count: int) -> list[BatchRow]:
    """Up to `count` batches that begin at leaf `first` or later, in order."""
    rows = db.execute(
        f"{_BATCH} WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (row_id(log_id, first), (log_id + 1) * LOG_SPAN, count),
    )
    return [BatchRow._make(row) for row in rows]


def batch_over(db: sqlite3.Connection, log_id: int, leaf: int) -> BatchRow | None:
    """The batch that holds leaf `leaf`."""
    row = db.execute(
        f"{_BATCH} WHERE id <= ? AND id >= ? ORDER BY id DESC LIMIT 1", (row_id(log_id, leaf), log_id * LOG_SPAN)
    ).fetchone()
    found = BatchRow._make(row) if row else None
    return found if found and found.size > leaf else None


def payload(db: sqlite3.Connection, log_id: int, first: int) -> Payload | None:
    """The payload of the batch that begins at `first`; None where it was dropped."""
    row = db.execute(
        "SELECT codec, length, CAST(body AS BLOB) FROM payloads WHERE id = ?", (row_id(log_id, first),)
    ).fetchone()
    return Payload._make(row) if row else None


def root_at(db: sqlite3.Connection, log_id: int, size: int) -> bytes | None:
    """The root of a log at a batch boundary, from its checkpoint there; None where `size` is none, or unreadable."""
    found = batch_over(db, log_id, size - 1)
    if found is None or found.size != size:
        return None
    try:
        return parse(found.note).checkpoint.root
    except Malformed:
        return None


def pending(db: sqlite3.Connection, log_row: LogRow, position: int, now: float) -> Pending:
    """What lies between a position (a batch boundary) and the end of a log."""
    rows = batches_from(db, log_row.id, position, 1)
    if not rows:
        return Pending(0, 0, 0.0)
    first = rows[0]
    return Pending(
        log_row.records - first.records_before,
        log_row.bytes - first.bytes_before,
        max(0.0, now - first.sealed_at),
    )


def boundary_at_age(db: sqlite3.Connection, log_id: int, first: int, size: int, sealed_before: float) -> int:
    """The largest batch boundary in [first, size] whose batches from `first` on were sealed at or before that reading.

    Bisects over leaves, for ages fall along a log: about log2(size - first) lookups.
    """
    low, high = first, size
    while low < high:
        middle = (low + high) // 2
        row = batch_over(db, log_id, middle)
        if row is not None and row.sealed_at <= sealed_before:
            low = row.size
        else:
            high = max(low, row.first) if row is not None else middle
    return low


def cursors(db: sqlite3.Connection) -> list[CursorRow]:
    """All cursors of all logs: as many as sinks times logs."""
    rows = db.execute(
        "SELECT origin, sink, acked, receipt, excused_from, excused_to, joined, gone FROM cursors"
        " JOIN logs ON logs.id = cursors.log ORDER BY log, sink"
    )
    return [CursorRow(o, s, a, r, f, t, j, bool(gone)) for o, s, a, r, f, t, j, gone in rows]


def recent(db: sqlite3.Connection, seq: int) -> RecentRow | None:
    """The keys that were stored under `seq`."""
    row = db.execute("SELECT seq, sealed_at, keys, leaf_hashes FROM recent WHERE seq = ?", (seq,)).fetchone()
    return RecentRow(row[0], row[1], row[2].split("\n"), row[3]) if row else None


def recent_after(db: sqlite3.Connection, seq: int, count: int) -> list[RecentRow]:
    """Up to `count` rows of `recent` after `seq`, oldest first."""
    rows = db.execute(
        "SELECT seq, sealed_at, keys, leaf_hashes FROM recent WHERE seq > ? ORDER BY seq LIMIT ?", (seq, count)
    )
    return [RecentRow(s, at, keys.split("\n"), hashes) for s, at, keys, hashes in rows]
