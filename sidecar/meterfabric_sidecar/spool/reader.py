"""Everything that is read from the database, as plain functions over a connection.

What the shipper asks for runs in the spool's reader thread, on a connection of its own. Every lookup is by (log, first)
and touches a few pages, however large the backlog.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from meterfabric_protocol.checkpoint import parse
from meterfabric_protocol.delivery.credential import bare
from meterfabric_protocol.delivery.effects import CursorRow, LogFacts
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.merkle import CompactRange

from .rows import LogRow, Pending, RecentRow, Untold
from .schema import LOG_SPAN, corrupt, row_crc, row_id

_LOG: Final = (
    "SELECT id, origin, public_key, state, size, frontier, batches, records, bytes, dropped_to,"
    " CAST(chain AS BLOB), opened_at, ended_at, superseded_at, broken_at FROM logs"
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
    told: int
    crc: int


_BATCH: Final = (
    "SELECT log, first, size, kind, CAST(note AS BLOB), roots, records, records_before, bytes, bytes_before, sealed_at,"
    " damaged, told, crc FROM batches"
)


def clock(db: sqlite3.Connection) -> float:
    """The spool clock as persisted last, in seconds."""
    row = db.execute("SELECT value FROM meta WHERE key = 'clock'").fetchone()
    if row is None or type(row[0]) is not float:
        # Lost with a damaged page: what was sealed last is not far behind.
        row = db.execute("SELECT sealed_at FROM batches ORDER BY id DESC LIMIT 1").fetchone()
    return row[0] if row is not None and type(row[0]) is float else 0.0


def logs(db: sqlite3.Connection) -> list[LogRow]:
    """All logs, oldest first."""
    return [_log(*row) for row in db.execute(f"{_LOG} ORDER BY id")]


def log(db: sqlite3.Connection, log_id: int) -> LogRow:
    """One log. Raises KeyError."""
    row = db.execute(f"{_LOG} WHERE id = ?", (log_id,)).fetchone()
    if row is None:
        raise KeyError(log_id)
    return _log(*row)


def _sound(what: str, values: Sequence[Any], types: Sequence[type]) -> None:
    """A damaged page may still be read, and hold anything."""
    if not all(type(value) is wanted for value, wanted in zip(values, types, strict=True)):
        raise corrupt(f"the row of {what} is damaged")


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
    chain: bytes | None,
    opened_at: float,
    ended_at: float | None,
    superseded_at: int | None,
    broken_at: int | None,
) -> LogRow:
    _sound("a log", (origin, public_key, frontier), (str, bytes, bytes))
    _sound("a log", (size, batches, records, stored, dropped_to, opened_at), (int, int, int, int, int, float))
    if state not in ("active", "closed", "dead") or len(public_key) != 32:
        raise corrupt(f"the row of the log {origin} is damaged")
    try:
        tiles = CompactRange.decode(0, size, frontier)
    except Malformed as error:
        raise corrupt(f"the row of the log {origin} is damaged: {error}") from error
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
        ended_at,
        superseded_at,
        broken_at,
    )


def _batch(row: Sequence[Any]) -> BatchRow:
    found = BatchRow._make(row)
    if (
        not all(type(value) is int for value in (found.records, found.records_before, found.bytes, found.bytes_before))
        or type(found.sealed_at) is not float
        or row_crc(found.log, found.first, found.size, found.kind, found.note, found.roots) != found.crc
    ):
        raise corrupt(f"the row of the batch at {found.first} of log {found.log} is damaged")
    return found


def batches_from(db: sqlite3.Connection, log_id: int, first: int, count: int) -> list[BatchRow]:
    """Up to `count` batches that begin at leaf `first` or later, in order."""
    rows = db.execute(
        f"{_BATCH} WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (row_id(log_id, first), (log_id + 1) * LOG_SPAN, count),
    )
    return [_batch(row) for row in rows]


def batch_over(db: sqlite3.Connection, log_id: int, leaf: int) -> BatchRow | None:
    """The batch that holds leaf `leaf`."""
    row = db.execute(
        f"{_BATCH} WHERE id <= ? AND id >= ? ORDER BY id DESC LIMIT 1", (row_id(log_id, leaf), log_id * LOG_SPAN)
    ).fetchone()
    found = _batch(row) if row else None
    return found if found and found.size > leaf else None


def newest_batch(db: sqlite3.Connection, log_id: int) -> BatchRow | None:
    """The last batch there is of a log; a log that lost rows with a damaged database may have had later ones."""
    row = db.execute(
        f"{_BATCH} WHERE id < ? AND id >= ? ORDER BY id DESC LIMIT 1", (row_id(log_id + 1, 0), row_id(log_id, 0))
    ).fetchone()
    return _batch(row) if row else None


def payload(db: sqlite3.Connection, log_id: int, first: int) -> Payload | None:
    """The payload of the batch that begins at `first`; None where it was dropped."""
    row = db.execute(
        "SELECT codec, length, CAST(body AS BLOB) FROM payloads WHERE id = ?", (row_id(log_id, first),)
    ).fetchone()
    if row is not None:
        _sound("a payload", row, (str, int, bytes))
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


def pending(db: sqlite3.Connection, log_id: int, position: int, now: float) -> Pending:
    """What lies between a position (a batch boundary) and the end of a log."""
    rows = batches_from(db, log_id, position, 1)
    if not rows:
        return Pending(0, 0, 0.0)
    first, end = rows[0], log(db, log_id)
    return Pending(end.records - first.records_before, end.stored - first.bytes_before, max(0.0, now - first.sealed_at))


def facts(db: sqlite3.Connection) -> list[LogFacts]:
    """All logs with their cursors and newest checkpoints, oldest first."""
    found = []
    for row in logs(db):
        newest = newest_batch(db, row.id)
        key = Ed25519PublicKey.from_public_bytes(row.public_key)
        cursors = _cursors(db, row.id)
        found.append(
            LogFacts(
                row.origin,
                row.size,
                row.state == "active",
                row.chain or bare(key),
                newest.note if newest else b"",
                row.dropped_to,
                row.superseded_at,
                cursors,
            )
        )
    return found


def _cursors(db: sqlite3.Connection, log_id: int) -> dict[str, CursorRow]:
    found = {}
    for sink, *values in db.execute(
        "SELECT sink, acked, root, receipt, excused_from, excused_to FROM cursors WHERE log = ?", (log_id,)
    ):
        _sound("a cursor", (sink, *values), (str, int, bytes, str, int, int))
        found[sink] = CursorRow(*values)
    return found


def untold(db: sqlite3.Connection) -> list[Untold]:
    """Damaged batches that no notice tells of, oldest first."""
    rows = db.execute(
        "SELECT origin, first, batches.size, damaged FROM batches INDEXED BY untold JOIN logs ON logs.id = log"
        " WHERE damaged IS NOT NULL AND told = 0 ORDER BY batches.id"
    )
    return [Untold(*row) for row in rows]


def told(db: sqlite3.Connection) -> list[Untold]:
    """Damaged batches that a notice tells of, oldest first. Reads all rows."""
    rows = db.execute(
        "SELECT origin, first, batches.size, damaged FROM batches JOIN logs ON logs.id = log"
        " WHERE damaged IS NOT NULL AND told = 1 ORDER BY batches.id"
    )
    return [Untold(*row) for row in rows]


def meta(db: sqlite3.Connection, key: str) -> str | None:
    """A small value kept under a name."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else None


def recent(db: sqlite3.Connection, seq: int) -> RecentRow | None:
    """The keys that were stored under `seq`."""
    row = db.execute("SELECT seq, sealed_at, keys, leaf_hashes FROM recent WHERE seq = ?", (seq,)).fetchone()
    return _recent(row) if row else None


def _recent(row: Sequence[Any]) -> RecentRow:
    seq, sealed_at, keys, hashes = row
    _sound("recent keys", row, (int, float, str, bytes))
    return RecentRow(seq, sealed_at, keys.split("\n"), hashes, len(keys) + len(hashes))


def recent_after(db: sqlite3.Connection, seq: int, count: int) -> list[RecentRow]:
    """Up to `count` rows of `recent` after `seq`, oldest first."""
    rows = db.execute(
        "SELECT seq, sealed_at, keys, leaf_hashes FROM recent WHERE seq > ? ORDER BY seq LIMIT ?", (seq, count)
    )
    return [_recent(row) for row in rows]
