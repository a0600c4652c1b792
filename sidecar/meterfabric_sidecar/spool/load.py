"""From rows to batches that may travel: nothing leaves the spool whose bytes don't add up to its stored roots."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import zstandard

from meterfabric_protocol import batch as batches
from meterfabric_protocol.batch import BatchHeader, encode_header
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.limits import Limits
from meterfabric_protocol.merkle import CompactRange

from . import reader
from .reader import BatchRow, Payload
from .rows import LogRow, StoredBatch
from .schema import corrupt, is_corrupt


@dataclass(frozen=True, slots=True)
class Damage:
    """A batch whose payload can't be used, found just now. `of` says of what it is, `body` is what there is of it.

    `cause` is the notice's word. "missing": gone, though nothing dropped it; "unreadable": the database's pages that
    held it can't be read; "hash": its leaves don't add up to the batch's subtree roots.
    """

    first: int
    size: int
    of: str
    cause: str
    body: bytes | None


def decompress(body: bytes, length: int) -> bytes:
    """zstd to at most `length` bytes. Raises Malformed."""
    try:
        return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(body, max_output_size=length)
    except zstandard.ZstdError as error:
        raise Malformed("batch payload", str(error)) from None


def fetch(
    db: sqlite3.Connection, log: LogRow, first: int, max_bytes: int, max_batches: int, limits: Limits
) -> tuple[list[StoredBatch], Damage | None]:
    """The batches from the one on that holds leaf `first`, up to `max_batches` and (past the first) `max_bytes` of
    payload.

    The list ends before a batch that is found damaged, or whose damage no notice tells of yet. Past the end of a log
    that another one repeats there may be gaps: the list begins behind them, and ends before the next.
    """
    found: list[StoredBatch] = []
    left = max_bytes
    end = min(limit for limit in (log.size, log.superseded_at, log.broken_at) if limit is not None)
    covering = reader.batch_over(db, log.id, first)
    start = first if covering is None else covering.first
    rows = reader.batches_from(db, log.id, start, max_batches)
    if first < end:
        rows = [row for row in rows if row.first < end]
        _check_gapless(log, start, rows)
    for row in rows:
        if found and (found[-1].size != row.first or row.bytes > left):
            break
        if row.damaged is not None and not row.told:
            break
        left -= row.bytes
        loaded = _load(db, log, row, limits)
        if isinstance(loaded, Damage):
            return found, loaded
        found.append(loaded)
    return found, None


def leaves(db: sqlite3.Connection, log: LogRow, first: int, limits: Limits) -> list[bytes] | Damage | None:
    """The leaves of the batch that begins at `first`, verified; None where they are gone, Damage where that is news."""
    rows = reader.batches_from(db, log.id, first, 1)
    if not rows or rows[0].first != first:
        return None
    loaded = _load(db, log, rows[0], limits)
    if isinstance(loaded, Damage):
        return loaded
    if loaded.payload is None:
        return None
    header = batches.decode_header(loaded.header, limits)
    return batches.split(batches.unpack(loaded.payload, header, decompress), header, limits)


def _check_gapless(log: LogRow, first: int, rows: Sequence[BatchRow]) -> None:
    """Rows that are missing where the log says that there are leaves are the database's damage."""
    at = first
    for row in rows:
        if row.first != at:
            raise corrupt(f"the batch of {log.origin} that begins at {at} is gone")
        at = row.size
    if not rows:
        raise corrupt(f"the batches of {log.origin} from {first} on are gone")


def _load(db: sqlite3.Connection, log: LogRow, row: BatchRow, limits: Limits) -> StoredBatch | Damage:
    if row.damaged is not None or (row.kind == "records" and row.first < log.dropped_to):
        return _stored(log, row, None)
    try:
        payload = reader.payload(db, row.log, row.first)
    except sqlite3.DatabaseError as error:
        if not is_corrupt(error):
            raise
        return Damage(row.first, row.size, row.kind, "unreadable", None)
    if payload is None:
        return Damage(row.first, row.size, row.kind, "missing", None)
    stored = _stored(log, row, payload)
    if not verifies(log.origin, row, payload, limits):
        return Damage(row.first, row.size, row.kind, "hash", payload.body)
    return stored


def verifies(origin: str, row: BatchRow, payload: Payload, limits: Limits) -> bool:
    """Whether a payload's leaves add up to its batch's roots."""
    header = _header(origin, row, payload)
    try:
        # Through the decoder, so that its bounds hold for what was read from a disk as well.
        header = batches.decode_header(encode_header(header), limits)
        hashes = batches.hash_leaves(batches.unpack(payload.body, header, decompress), header, limits)
    except Malformed:
        return False
    return CompactRange.empty(row.first).append(hashes).encode() == row.roots


def _stored(log: LogRow, row: BatchRow, payload: Payload | None) -> StoredBatch:
    kind = "notices" if row.kind == "notices" else "records"
    return StoredBatch(
        log.origin,
        row.first,
        row.size,
        kind,  # type: ignore[arg-type]
        encode_header(_header(log.origin, row, payload)),
        payload.body if payload else None,
        row.note,
        row.records,
        row.sealed_at,
        row.damaged,
    )


def _header(origin: str, row: BatchRow, payload: Payload | None) -> BatchHeader:
    of = "notices" if row.kind == "notices" else "records"
    codec = "zstd" if payload and payload.codec == "zstd" else "none"
    length = payload.length if payload else 0
    return BatchHeader(
        origin,
        row.first,
        row.size,
        of if payload else "stub",  # type: ignore[arg-type]
        of,  # type: ignore[arg-type]
        codec,  # type: ignore[arg-type]
        length,
        row.note,
        row.roots,
    )
