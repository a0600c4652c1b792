"""The evidence half of a commit in PostgreSQL: one statement a table, whatever the number of logs and batches."""

import hashlib
from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection, AsyncCursor

from . import rows
from .base import Certificate, LogUpdate, PositionMoved
from .rows import BATCH_COLUMNS, HELD_COLUMNS

POSITIONS = f"SELECT {HELD_COLUMNS} FROM meterfabric.logs WHERE origin = ANY(%s)".encode()  # noqa: S608 - constants
LAST_BEFORE = (
    f"SELECT {BATCH_COLUMNS} FROM meterfabric.batches"  # noqa: S608
    " WHERE origin = %s AND first < %s ORDER BY first DESC LIMIT 1"
).encode()
NOTICES = b"SELECT idx, body FROM meterfabric.notices WHERE origin = %s ORDER BY idx"
_CREATE = f"""
INSERT INTO meterfabric.logs({HELD_COLUMNS}, first_seen, updated)
SELECT origin, 0, '', '', 0, 0, 0, 0, '', false, '', '', -1, '', '', 0, %s, %s
FROM unnest(%s::text[]) AS origin ORDER BY origin
ON CONFLICT DO NOTHING
""".encode()  # noqa: S608
_LOCK = b"SELECT origin, size, final_size FROM meterfabric.logs WHERE origin = ANY(%s) ORDER BY origin FOR UPDATE"
_MOVE = f"""
UPDATE meterfabric.logs AS l SET
  size = n.size, root = n.root, frontier = n.frontier, records = n.records, notices = n.notices, stubbed = n.stubbed,
  head_note = CASE WHEN n.head_size >= l.head_size THEN n.head_note ELSE l.head_note END,
  head_size = greatest(l.head_size, n.head_size), closed = l.closed OR n.closed,
  public_key = n.public_key, chain = n.chain, updated = %s,
  final_size = CASE WHEN l.final_size < 0 THEN n.final_size ELSE l.final_size END,
  final_root = CASE WHEN l.final_size < 0 THEN n.final_root ELSE l.final_root END,
  vouched_by = CASE WHEN l.final_size < 0 THEN n.vouched_by ELSE l.vouched_by END,
  again_to = greatest(l.again_to, n.again_to)
FROM unnest(%s::text[], %s::bigint[], %s::bytea[], %s::bytea[], %s::bigint[], %s::bigint[], %s::bigint[],
            %s::bigint[], %s::bytea[], %s::boolean[], %s::bytea[], %s::bytea[], %s::bigint[], %s::bytea[],
            %s::text[], %s::bigint[]) AS n({HELD_COLUMNS})
WHERE l.origin = n.origin
""".encode()  # noqa: S608
_BATCHES = f"""
INSERT INTO meterfabric.batches({BATCH_COLUMNS}) SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[],
  %s::text[], %s::text[], %s::bytea[], %s::bytea[], %s::text[], %s::bigint[])
""".encode()  # noqa: S608
_NOTICES = b"""
INSERT INTO meterfabric.notices(origin, idx, body) SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bytea[])
"""
_CERTIFICATE = b"""
INSERT INTO meterfabric.certificates(origin, fingerprint, chain, not_before, not_after, first_seen)
VALUES(%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_INTRODUCE = b"""
INSERT INTO meterfabric.sink_certificates(fingerprint, chain, not_before, not_after, first_seen)
VALUES(%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_EQUIVOCATION = b"""
INSERT INTO meterfabric.equivocations(origin, fingerprint, size, note_held, note_seen, seen_at)
VALUES(%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


async def introduce(connection: AsyncConnection[Any], own: Certificate, now: int) -> None:
    """Keep a certificate chain of the sink itself."""
    row = (hashlib.sha256(own.chain).digest(), own.chain, own.not_before, own.not_after, now)
    await connection.execute(_INTRODUCE, row)


async def lock(cursor: AsyncCursor[Any], updates: Sequence[LogUpdate], now: int) -> None:
    """Lock the position rows of all updates in the order of their origins and compare them with what is expected.

    Rows of logs never seen are created first, so that two workers meet there too. Raises PositionMoved.
    """
    expected = {update.origin: update.expected_size or 0 for update in updates}
    new = [origin for origin, size in expected.items() if not size]
    if new:
        await cursor.execute(_CREATE, (now, now, new))
    await cursor.execute(_LOCK, (list(expected),))
    found = {origin: (size, end) for origin, size, end in await cursor.fetchall()}
    grown = {update.origin: update.held.size for update in updates if update.batches}
    # A log whose end another worker has named meanwhile may not grow past it, whatever its size still is.
    moved = [
        origin
        for origin, size in expected.items()
        if found.get(origin, (None, -1))[0] != size or 0 <= found[origin][1] < grown.get(origin, 0)
    ]
    if moved:
        raise PositionMoved(moved)


async def write(connection: AsyncConnection[Any], updates: Sequence[LogUpdate], now: int) -> None:
    """Set the locked position rows and insert batches, notices, certificates and equivocations, in one round trip."""
    held = [rows.fields_of(update.held) for update in updates]
    batches = [rows.fields_of(batch) for update in updates for batch in update.batches]
    notices = [(update.origin, notice.index, notice.body) for update in updates for notice in update.notices]
    async with connection.pipeline(), connection.cursor() as cursor:
        await cursor.execute(_MOVE, (now, *_turned(held)))
        if batches:
            await cursor.execute(_BATCHES, _turned(batches))
        if notices:
            await cursor.execute(_NOTICES, _turned(notices))
        for update in updates:
            if (certificate := update.certificate) is not None:
                validity = (certificate.not_before, certificate.not_after)
                key = hashlib.sha256(certificate.chain).digest()
                await cursor.execute(_CERTIFICATE, (update.origin, key, certificate.chain, *validity, now))
            if (two := update.equivocation) is not None:
                key = hashlib.sha256(hashlib.sha256(two.note_held).digest() + two.note_seen).digest()
                row = (update.origin, key, two.size, two.note_held, two.note_seen, two.seen_at)
                await cursor.execute(_EQUIVOCATION, row)


def _turned(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
