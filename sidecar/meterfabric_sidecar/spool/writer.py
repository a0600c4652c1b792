"""Everything that changes the database, as plain functions over the one connection that writes.

They run in the spool's writer thread, one at a time. Each is one transaction; each raises sqlite3.Error and leaves the
database as it was where it can't be done.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Final, NamedTuple, TypeAlias

from .schema import LOG_SPAN, is_corrupt, row_id
from .waiting import Upkeep

STEP_BATCHES: Final = 1024
STEP_BYTES: Final = 32 << 20
"""What one transaction deletes at most, so that a commit of new records never waits long behind it."""


class Sealing(NamedTuple):
    """One sealed batch in the order of the view `sealing`; see schema.py for the units."""

    log: int
    first: int
    size: int
    kind: str
    note: bytes
    roots: bytes
    crc: int
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

    @property
    def keys_bytes(self) -> int:
        """What the window's row takes."""
        return len(self.keys or b"") + len(self.leaf_hashes or b"")


_SEAL: Final = "INSERT INTO sealing VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


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


Also: TypeAlias = Callable[[sqlite3.Connection], None]
"""What else belongs into a batch's transaction: `close_log`, `tell` or `move_on`, bound to their values."""


def seal(db: sqlite3.Connection, batch: Sealing, work: Upkeep, also: Also | None = None) -> Upkeep:
    """Store a sealed batch, durably, and what waits in the same fsync; its log must end where it begins.

    Returns what is left of `work`.
    """
    if not work and also is None:
        db.execute(_SEAL, batch)
        return work
    with _transaction(db):
        left = _upkeep(db, work, batch.sealed_utc)
        db.execute(_SEAL, batch)
        if also is not None:
            also(db)
    return left


def close_log(db: sqlite3.Connection, log: int, now: float) -> None:
    """The log has its `closed` notice."""
    db.execute("UPDATE logs SET state = 'closed', ended_at = ? WHERE id = ?", (now, log))


def tell(db: sqlite3.Connection, damage: Sequence[tuple[int, int, int]]) -> None:
    """A notice tells of damage in these leaves: (log, first, size) each."""
    for log, first, size in damage:
        db.execute(
            "UPDATE batches SET told = 1 WHERE damaged IS NOT NULL AND id >= ? AND id < ?",
            (row_id(log, first), row_id(log, size)),
        )


def move_on(db: sqlite3.Connection, log: int, boundary: int | None) -> None:
    """Another log has repeated this one up to `boundary`; None: all of it."""
    db.execute("UPDATE logs SET broken_at = ? WHERE id = ?", (boundary, log))


def open_log(
    db: sqlite3.Connection,
    origin: str,
    public_key: bytes,
    empty_root: bytes,
    now: float,
    utc: str,
    first: Callable[[int], Sealing],
    superseded: tuple[int, int, int] | None,
) -> int:
    """Add an active log with its first batch (`first` gets the log's id); logs that were active are dead from now on.

    `superseded` is the log that it repeats, where that ended, and from which leaf on. Returns the new log's id.
    """
    with _transaction(db):
        db.execute("UPDATE logs SET state = 'dead', ended_at = ? WHERE state = 'active'", (now,))
        row = db.execute(
            "INSERT INTO logs (origin, public_key, state, size, root, frontier, batches, records, bytes, dropped_to,"
            " opened_at, opened_utc) VALUES (?, ?, 'active', 0, ?, x'', 0, 0, 0, 0, ?, ?) RETURNING id",
            (origin, public_key, empty_root, now, utc),
        ).fetchone()
        log = int(row[0])
        db.execute(_SEAL, first(log))
        if superseded is not None:
            past, end, leaf = superseded
            db.execute("UPDATE logs SET superseded_at = ?, broken_at = ? WHERE id = ?", (end, leaf, past))
    return log


def set_chain(db: sqlite3.Connection, log: int, chain: bytes) -> None:
    """Keep a log's certificate chain (PEM, leaf first)."""
    db.execute("UPDATE logs SET chain = CAST(? AS TEXT) WHERE id = ?", (chain, log))


def keep_meta(db: sqlite3.Connection, key: str, value: str) -> None:
    """Keep a small value under a name."""
    db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value))


def damage(db: sqlite3.Connection, log: int, first: int, cause: str, *, untell: bool) -> None:
    """Flag a batch whose payload was found altered, and let go of the payload.

    With `untell` no notice counts any more that told of damage.
    """
    with _transaction(db):
        if untell:
            db.execute("UPDATE batches SET told = 0 WHERE damaged IS NOT NULL AND told = 1")
        db.execute("UPDATE batches SET damaged = ?, told = 0 WHERE id = ?", (cause, row_id(log, first)))
        _drop_payloads(db, [row_id(log, first)])


def upkeep(db: sqlite3.Connection, work: Upkeep, now: float, utc: str) -> Upkeep:
    """Store cursors and the clock, and do a bounded step of the drops and of the window's end.

    Returns what is left to do.
    """
    with _transaction(db):
        db.execute("UPDATE meta SET value = ? WHERE key = 'clock'", (now,))
        return _upkeep(db, work, utc)


def _upkeep(db: sqlite3.Connection, work: Upkeep, utc: str) -> Upkeep:
    for (log, sink), row in work.cursors.items():
        if row is None:
            db.execute("DELETE FROM cursors WHERE log = ? AND sink = ?", (log, sink))
        else:
            db.execute(
                "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (log, sink, row.acked, row.root, row.receipt, row.excused_from, row.excused_to, utc),
            )
    return Upkeep(
        drops={log: to for log, to in work.drops.items() if not _drop_step(db, log, to)},
        recent_before=_forget_recent(db, work.recent_before) if work.recent_before else 0,
    )


def _drop_step(db: sqlite3.Connection, log: int, to: int) -> bool:
    """Drop some of a log's payloads before `to`; whether that was all."""
    rows = db.execute(
        "SELECT b.id, b.size, b.bytes FROM logs JOIN batches AS b ON b.id >= ? + dropped_to AND b.id < ?"
        " WHERE logs.id = ? ORDER BY b.id LIMIT ?",
        (row_id(log, 0), row_id(log, to), log, STEP_BATCHES),
    ).fetchall()
    # A `to` inside a batch, or past the log's end, goes no further than the boundary before it.
    whole = [row for row in rows if row[1] <= to]
    if not whole:
        return True
    count = _step(row[2] for row in whole)
    _drop_payloads(db, [row[0] for row in whole[:count]], keep="notices")
    db.execute("UPDATE logs SET dropped_to = ? WHERE id = ?", (whole[count - 1][1], log))
    return count == len(rows) < STEP_BATCHES


def _step(sizes: Iterable[int]) -> int:
    """How many of the next things to delete go at once: at least one, then as many as STEP_BYTES allow."""
    return max(1, sum(total <= STEP_BYTES for total in accumulate(sizes)))


def _drop_payloads(db: sqlite3.Connection, ids: list[int], keep: str = "") -> None:
    db.execute("SAVEPOINT drops")
    try:
        db.execute("DELETE FROM payloads WHERE id >= ? AND id <= ? AND kind <> ?", (ids[0], ids[-1], keep))
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        # Pages that can't be walked can't be freed: that row stays, and stays unread. The others go.
        db.execute("ROLLBACK TO drops")
        if len(ids) > 1:
            for one in ids:
                _drop_payloads(db, [one], keep)
    db.execute("RELEASE drops")


def _forget_recent(db: sqlite3.Connection, before: int) -> int:
    """Delete rows of `recent` with a smaller seq; returns `before` where some are left, else 0."""
    # The keys take about as much as their hashes, whose length costs no reading.
    rows = db.execute(
        "SELECT seq, 2 * length(leaf_hashes) FROM recent WHERE seq < ? ORDER BY seq LIMIT ?", (before, STEP_BATCHES)
    ).fetchall()
    if not rows:
        return 0
    count = _step(row[1] for row in rows)
    db.execute("DELETE FROM recent WHERE seq <= ?", (rows[count - 1][0],))
    return 0 if count == len(rows) < STEP_BATCHES else before


def forget_step(db: sqlite3.Connection, log: int) -> bool:
    """Delete a bounded part of a finished log, and at last its row. True when nothing is left."""
    with _transaction(db):
        rows = db.execute(
            "SELECT id, bytes FROM batches WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (log * LOG_SPAN, (log + 1) * LOG_SPAN, STEP_BATCHES),
        ).fetchall()
        if rows:
            ids = [row[0] for row in rows[: _step(row[1] for row in rows)]]
            _drop_payloads(db, ids)
            db.execute("DELETE FROM batches WHERE id >= ? AND id <= ?", (ids[0], ids[-1]))
            return False
        db.execute("DELETE FROM cursors WHERE log = ?", (log,))
        db.execute("DELETE FROM logs WHERE id = ?", (log,))
    return True


def pages(db: sqlite3.Connection) -> tuple[int, int]:
    """(pages in the file, pages free within it)."""
    (count,) = db.execute("PRAGMA page_count").fetchone()
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    return int(count), int(free)


def shrink(db: sqlite3.Connection, count: int) -> None:
    """Give up to `count` free pages back to the file system."""
    # As a script, for `execute` takes only the first of the steps: rows without columns.
    db.executescript(f"PRAGMA incremental_vacuum({count})")
    # Until the WAL is folded back the file keeps its length.
    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def fold_wal(db: sqlite3.Connection) -> None:
    """Copy the WAL into the database, durably, and cut it to nothing."""
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
