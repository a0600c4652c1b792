"""Everything that changes the database, as plain functions over the one connection that writes.

They run in the spool's writer thread, one at a time. Each is one transaction; each raises sqlite3.Error and leaves the
database as it was where it can't be done.
"""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from .rows import CursorRow
from .schema import LOG_SPAN, row_id

STEP_BATCHES: Final = 64
STEP_BYTES: Final = 32 << 20
"""What one transaction drops at most, so that a commit of new records never waits long behind a drop."""


class Sealing(NamedTuple):
    """One sealed batch in the order of the view `sealing`; see schema.py for the units."""

    log: int
    first: int
    size: int
    kind: str
    note: bytes
    roots: bytes
    root: bytes
    frontier: bytes
    records: int
    sealed_at: float
    sealed_utc: str
    codec: str
    length: int
    body: bytes
    stored: int
    seq: int | None
    keys: bytes | None
    leaf_hashes: bytes | None


_SEAL: Final = "INSERT INTO sealing VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass
class Upkeep:
    """Changes that may wait for the next transaction: losing them in a crash only repeats work."""

    cursors: dict[tuple[int, str], CursorRow] = field(default_factory=dict)
    drops: dict[int, int] = field(default_factory=dict)
    """Log → drop the payloads of its records before this leaf."""
    recent_before: int = 0
    """Rows of `recent` with a smaller seq are past the window."""

    def __bool__(self) -> bool:
        return bool(self.cursors or self.drops)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Any:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # A failed commit has often rolled back by itself.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def seal(db: sqlite3.Connection, batch: Sealing, work: Upkeep | None = None) -> dict[int, int]:
    """Store a sealed batch, durably, and what upkeep waits in the same fsync. The log must end where the batch begins.

    Returns what is left of the drops in `work`.
    """
    if not work:
        db.execute(_SEAL, batch)
        return {}
    with _transaction(db):
        left = _upkeep(db, work, batch.sealed_utc)
        db.execute(_SEAL, batch)
    return left


def seal_last(db: sqlite3.Connection, batch: Sealing) -> None:
    """Store the batch that holds a log's `closed` notice, and close the log with it."""
    with _transaction(db):
        db.execute(_SEAL, batch)
        db.execute("UPDATE logs SET state = 'closed', superseded_at = ? WHERE id = ?", (batch.sealed_at, batch.log))


def open_log(
    db: sqlite3.Connection,
    origin: str,
    public_key: bytes,
    empty_root: bytes,
    now: float,
    utc: str,
    first: Callable[[int], Sealing],
) -> int:
    """Add an active log with its first batch (`first` gets the log's id); logs that were active are dead from now on.

    Returns the log's id.
    """
    with _transaction(db):
        db.execute("UPDATE logs SET state = 'dead', superseded_at = ? WHERE state = 'active'", (now,))
        row = db.execute(
            "INSERT INTO logs (origin, public_key, state, size, root, frontier, batches, records, bytes, dropped_to,"
            " opened_at, opened_utc) VALUES (?, ?, 'active', 0, ?, x'', 0, 0, 0, 0, ?, ?) RETURNING id",
            (origin, public_key, empty_root, now, utc),
        ).fetchone()
        log = int(row[0])
        db.execute(_SEAL, first(log))
    return log


def set_chain(db: sqlite3.Connection, log: int, chain: str) -> None:
    """Keep a log's certificate chain (PEM, leaf first)."""
    db.execute("UPDATE logs SET chain = ? WHERE id = ?", (chain, log))


def damage(db: sqlite3.Connection, log: int, first: int, cause: str) -> None:
    """Flag a batch whose payload was found altered, and let go of the payload."""
    with _transaction(db):
        db.execute("UPDATE batches SET damaged = ? WHERE id = ?", (cause, row_id(log, first)))
    try:
        db.execute("DELETE FROM payloads WHERE id = ?", (row_id(log, first),))
    except sqlite3.DatabaseError:
        # Its pages can't even be walked to free them; the flag is what counts.
        return


def upkeep(db: sqlite3.Connection, work: Upkeep, now: float, utc: str) -> dict[int, int]:
    """Store cursors and the clock, and do a bounded step of the drops and of the window's end.

    Returns what of the drops is left.
    """
    with _transaction(db):
        db.execute("UPDATE meta SET value = ? WHERE key = 'clock'", (now,))
        return _upkeep(db, work, utc)


def _upkeep(db: sqlite3.Connection, work: Upkeep, utc: str) -> dict[int, int]:
    db.executemany(
        "INSERT INTO cursors (log, sink, acked, receipt, excused_from, excused_to, joined, gone, utc)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (log, sink) DO UPDATE SET acked = excluded.acked,"
        " receipt = excluded.receipt, excused_from = excluded.excused_from, excused_to = excluded.excused_to,"
        " joined = excluded.joined, gone = excluded.gone, utc = excluded.utc",
        [
            (log, sink, c.acked, c.receipt, c.excused_from, c.excused_to, c.joined, c.gone, utc)
            for (log, sink), c in work.cursors.items()
        ],
    )
    left = {log: to for log, to in work.drops.items() if _drop_step(db, log, to) < to}
    _forget_recent(db, work.recent_before)
    return left


def _drop_step(db: sqlite3.Connection, log: int, to: int) -> int:
    row = db.execute("SELECT dropped_to, size FROM logs WHERE id = ?", (log,)).fetchone()
    if row is None:
        return to
    dropped, size = row
    if min(to, size) <= dropped:
        return to
    freed = 0
    reached = dropped
    for batch, end, stored in db.execute(
        "SELECT id, size, bytes FROM batches WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (row_id(log, dropped), row_id(log, to), STEP_BATCHES),
    ).fetchall():
        if end > to or (freed and freed + stored > STEP_BYTES):
            break
        _drop_payload(db, batch)
        freed += stored
        reached = end
    db.execute("UPDATE logs SET dropped_to = ? WHERE id = ?", (reached, log))
    # A `to` inside a batch, or past the end, goes no further.
    return reached if freed else to


def _drop_payload(db: sqlite3.Connection, batch: int) -> None:
    db.execute("SAVEPOINT one")
    try:
        db.execute("DELETE FROM payloads WHERE id = ? AND kind = 'records'", (batch,))
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        # Pages that can't be walked can't be freed: the row stays, and stays unread.
        db.execute("ROLLBACK TO one")
    db.execute("RELEASE one")


def _forget_recent(db: sqlite3.Connection, before: int) -> None:
    (oldest,) = db.execute("SELECT min(seq) FROM recent").fetchone()
    if oldest is not None and oldest < before:
        db.execute("DELETE FROM recent WHERE seq < ?", (min(before, oldest + STEP_BATCHES),))


def forget_step(db: sqlite3.Connection, log: int) -> bool:
    """Delete a bounded part of a finished log, and at last its row. True when nothing is left."""
    with _transaction(db):
        rows = db.execute(
            "SELECT id FROM batches WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (log * LOG_SPAN, (log + 1) * LOG_SPAN, STEP_BATCHES),
        ).fetchall()
        _delete(db, (int(row[0]) for row in rows))
        if rows:
            return False
        db.execute("DELETE FROM cursors WHERE log = ?", (log,))
        db.execute("DELETE FROM logs WHERE id = ?", (log,))
    return True


def _delete(db: sqlite3.Connection, batches: Iterable[int]) -> None:
    for batch in batches:
        db.execute("DELETE FROM payloads WHERE id = ?", (batch,))
        db.execute("DELETE FROM batches WHERE id = ?", (batch,))


def pages(db: sqlite3.Connection) -> tuple[int, int]:
    """(pages in the file, pages free within it)."""
    (count,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    return int(count), int(free)


def shrink(db: sqlite3.Connection, count: int) -> None:
    """Give up to `count` free pages back to the file system."""
    db.execute(f"PRAGMA incremental_vacuum({int(count)})").fetchall()


def fold_wal(db: sqlite3.Connection) -> None:
    """Copy the WAL into the database, durably, and cut it to nothing."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
