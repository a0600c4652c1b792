"""The evidence half of a commit in SQLite, the same for the `sqlite` and the `file` destination.

Per batch it costs one row, per log one; nothing here looks at a record.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence

from .base import DestinationRefused, Held, LogUpdate, PositionMoved, StoredBatch

Place = tuple[int, int, int]
"""Where a batch's payload lies: segment, offset, length."""

HELD_COLUMNS = (
    "origin, size, root, frontier, records, notices, stubbed, head_size, head_note, closed, public_key, chain"
)
BATCH_COLUMNS = 'origin, first, size, kind, "of", note, roots, cosignature, time'

# The compare-and-set: a row is written only where the log stands at the expected size, a new log only where 0 is
# expected. A head never falls and a closed log never opens again.
_MOVE = f"""
INSERT INTO logs({HELD_COLUMNS}, first_seen, updated)
SELECT :origin, :size, :root, :frontier, :records, :notices, :stubbed, :head_size, :head_note, :closed, :public_key,
       :chain, :now, :now
WHERE :expected = 0 OR EXISTS (SELECT 1 FROM logs WHERE origin = :origin)
ON CONFLICT(origin) DO UPDATE SET
  size = excluded.size, root = excluded.root, frontier = excluded.frontier, records = excluded.records,
  notices = excluded.notices, stubbed = excluded.stubbed,
  head_note = CASE WHEN excluded.head_size >= head_size THEN excluded.head_note ELSE head_note END,
  head_size = max(head_size, excluded.head_size), closed = max(closed, excluded.closed),
  public_key = excluded.public_key, chain = excluded.chain, updated = excluded.updated
WHERE logs.size = :expected
"""  # noqa: S608 - column names are constants
_BATCH = f'INSERT INTO batches({BATCH_COLUMNS}, segment, "offset", length) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)'
_LAST_BEFORE = f"SELECT {BATCH_COLUMNS} FROM batches WHERE origin = ? AND first < ? ORDER BY first DESC LIMIT 1"  # noqa: S608


def move(connection: sqlite3.Connection, updates: Sequence[LogUpdate], now: int) -> None:
    """Compare and set the positions of all updates inside the open transaction.

    Raises PositionMoved naming every log that is elsewhere; the caller rolls back.
    """
    moved = []
    for update in updates:
        held = update.held
        row = {
            "origin": held.origin,
            "size": held.size,
            "root": held.root,
            "frontier": held.frontier,
            "records": held.records,
            "notices": held.notices,
            "stubbed": held.stubbed,
            "head_size": held.head_size,
            "head_note": held.head_note,
            "closed": held.closed,
            "public_key": held.public_key,
            "chain": held.chain,
            "now": now,
            "expected": update.expected_size or 0,
        }
        if connection.execute(_MOVE, row).rowcount != 1:
            moved.append(update.origin)
    if moved:
        raise PositionMoved(moved)


def insert(
    connection: sqlite3.Connection, updates: Sequence[LogUpdate], places: Iterable[Place | None], now: int
) -> None:
    """Insert batches, notices, certificates and equivocations inside the open transaction.

    `places` says for each batch, in the order of the updates and of their batches, where its payload went.
    """
    where = iter(places)
    for update in updates:
        origin = update.origin
        for batch in update.batches:
            place = next(where) or (None, None, None)
            connection.execute(
                _BATCH,
                (
                    origin,
                    batch.first,
                    batch.size,
                    batch.kind,
                    batch.of,
                    batch.note,
                    batch.roots,
                    batch.cosignature,
                    batch.time,
                    *place,
                ),
            )
        if update.notices:
            rows = [(origin, notice.index, notice.body) for notice in update.notices]
            connection.executemany("INSERT INTO notices(origin, idx, body) VALUES(?,?,?)", rows)
        if (certificate := update.certificate) is not None:
            connection.execute(
                "INSERT INTO certificates(origin, chain, not_before, not_after, first_seen) VALUES(?,?,?,?,?)"
                " ON CONFLICT DO NOTHING",
                (origin, certificate.chain, certificate.not_before, certificate.not_after, now),
            )
        if (two := update.equivocation) is not None:
            connection.execute(
                "INSERT INTO equivocations(origin, size, note_held, note_seen, seen_at) VALUES(?,?,?,?,?)"
                " ON CONFLICT DO NOTHING",
                (origin, two.size, two.note_held, two.note_seen, two.seen_at),
            )


def positions(connection: sqlite3.Connection, origins: Iterable[str]) -> dict[str, Held]:
    """The position rows of these logs; a log never seen is absent."""
    rows = connection.execute(
        f"SELECT {HELD_COLUMNS} FROM logs WHERE origin IN (SELECT value FROM json_each(?))",  # noqa: S608
        (json.dumps(list(origins)),),
    )
    return {row[0]: held(row) for row in rows}


def held(row: Sequence[object]) -> Held:
    """A row of HELD_COLUMNS as a value. Raises DestinationRefused when the row is not what we wrote."""
    match row:
        case (
            str(origin),
            int(size),
            bytes(root),
            bytes(frontier),
            int(records),
            int(notices),
            int(stubbed),
            int(head_size),
            bytes(head_note),
            int(closed),
            bytes(public_key),
            bytes(chain),
        ):
            return Held(
                origin, size, root, frontier, records, notices, stubbed, head_size, head_note, bool(closed),
                public_key, chain,
            )  # fmt: skip
    raise DestinationRefused(f"a row of logs is damaged: {row!r}")


def batch_of_row(row: Sequence[object]) -> StoredBatch:
    """A row of BATCH_COLUMNS as a value without payload. Raises DestinationRefused when the row isn't one of ours."""
    match row:
        case (
            str(origin),
            int(first),
            int(size),
            ("records" | "notices" | "stub") as kind,
            ("records" | "notices") as of,
            bytes(note),
            bytes(roots),
            (str() | None) as cosignature,
            int(time),
        ):
            return StoredBatch(origin, first, size, kind, of, note, roots, cosignature, time, b"")
    raise DestinationRefused(f"a row of batches is damaged: {row!r}")


def boundary_at_or_below(connection: sqlite3.Connection, origin: str, size: int) -> StoredBatch | None:
    """The last batch that ends at or before `size`, without payload."""
    # Batches follow each other, so the batch that holds leaf size-1 ends at `size` or the one before it is wanted.
    row = connection.execute(_LAST_BEFORE, (origin, size)).fetchone()
    if row is not None and row[2] > size:
        row = connection.execute(_LAST_BEFORE, (origin, row[1])).fetchone()
    return None if row is None else batch_of_row(row)
