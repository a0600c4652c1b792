"""The evidence half of a commit in SQLite, the same for the `sqlite` and the `file` destination.

Per batch it costs one row, per log one; nothing here looks at a record.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from . import rows
from .base import Certificate, Held, LogUpdate, PositionMoved, StoredBatch, StoredNotice
from .rows import BATCH_COLUMNS, HELD_COLUMNS

Place = tuple[int, int, int]
"""Where a batch's payload lies: segment, offset, length."""

# The compare-and-set: a row is written only where the log stands at the expected size, a new log only where 0 is
# expected. A head never falls, a closed log never opens again and a named end stays.
_MOVE = f"""
INSERT INTO logs({HELD_COLUMNS}, first_seen, updated)
SELECT :origin, :size, :root, :frontier, :records, :notices, :stubbed, :head_size, :head_note, :closed, :public_key,
       :chain, :final_size, :final_root, :vouched_by, :again_to, :now, :now
WHERE :expected = 0 OR EXISTS (SELECT 1 FROM logs WHERE origin = :origin)
ON CONFLICT(origin) DO UPDATE SET
  size = excluded.size, root = excluded.root, frontier = excluded.frontier, records = excluded.records,
  notices = excluded.notices, stubbed = excluded.stubbed,
  head_note = CASE WHEN excluded.head_size >= head_size THEN excluded.head_note ELSE head_note END,
  head_size = max(head_size, excluded.head_size), closed = max(closed, excluded.closed),
  public_key = excluded.public_key, chain = excluded.chain, updated = excluded.updated,
  final_root = CASE WHEN final_size < 0 THEN excluded.final_root ELSE final_root END,
  vouched_by = CASE WHEN final_size < 0 THEN excluded.vouched_by ELSE vouched_by END,
  final_size = CASE WHEN final_size < 0 THEN excluded.final_size ELSE final_size END,
  again_to = max(again_to, excluded.again_to)
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
        row = {**msgspec.structs.asdict(update.held), "now": now, "expected": update.expected_size or 0}
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
            connection.execute(_BATCH, (*rows.fields_of(batch), *place))
        if update.notices:
            connection.executemany(
                "INSERT INTO notices(origin, idx, body) VALUES(?,?,?)",
                [(origin, notice.index, notice.body) for notice in update.notices],
            )
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


def introduce(connection: sqlite3.Connection, own: Certificate, now: int) -> None:
    """Keep a certificate chain of the sink itself."""
    connection.execute(
        "INSERT INTO sink_certificates(chain, not_before, not_after, first_seen) VALUES(?,?,?,?)"
        " ON CONFLICT DO NOTHING",
        (own.chain, own.not_before, own.not_after, now),
    )


def positions(connection: sqlite3.Connection, origins: Iterable[str]) -> dict[str, Held]:
    """The position rows of these logs; a log never seen is absent."""
    found = connection.execute(
        f"SELECT {HELD_COLUMNS} FROM logs WHERE origin IN (SELECT value FROM json_each(?))",  # noqa: S608
        (json.dumps(list(origins)),),
    )
    return {row[0]: rows.held(row) for row in found}


def boundary_at_or_below(connection: sqlite3.Connection, origin: str, size: int) -> StoredBatch | None:
    """The last batch that ends at or before `size`, without payload."""
    # Batches follow each other, so the batch that holds leaf size-1 ends at `size` or the one before it is wanted.
    row = connection.execute(_LAST_BEFORE, (origin, size)).fetchone()
    if row is not None and row[2] > size:
        row = connection.execute(_LAST_BEFORE, (origin, row[1])).fetchone()
    return None if row is None else rows.batch(row)


def notices(connection: sqlite3.Connection, origin: str) -> list[StoredNotice]:
    """Every notice leaf held of a log, in order."""
    found = connection.execute("SELECT idx, body FROM notices WHERE origin = ? ORDER BY idx", (origin,))
    return [StoredNotice(index, body) for index, body in found]
