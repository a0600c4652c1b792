"""Up to where records may be given up, by age or by bytes: always the end of a batch of records.

Notices are small and never given up. A boundary behind one would have the next notice of expiry cover it, and need
another notice to say so, for ever.

A question costs a few times log2 of the leaves between its start and the log's end lookups, however large the backlog.
"""

import sqlite3
from collections.abc import Callable

from .reader import BatchRow, batch_over, batches_from, log


def boundary_at(db: sqlite3.Connection, log_id: int, first: int, sealed_by: float) -> int:
    """Where the last batch of records ends that was sealed at or before that reading of the clock.

    `first` (a boundary) where none from there on was.
    """
    # Ages fall along a log, for its clock only goes forward.
    return _last_records(db, log_id, first, _bisect(db, log_id, first, lambda row: row.sealed_at <= sealed_by))


def boundary_after(db: sqlite3.Connection, log_id: int, first: int, stored: int) -> int:
    """The end of the batch of records with which about `stored` payload bytes lie between `first` and it, or of the
    log's last one.

    At least one batch of records, where there is one and `stored` is above 0; else `first` (a boundary).
    """
    rows = batches_from(db, log_id, first, 1)
    if not rows or stored <= 0:
        return first
    start = rows[0]
    end = _bisect(db, log_id, first, lambda row: row.bytes_before < start.bytes_before + stored)
    found = _last_records(db, log_id, first, end)
    if found > first:
        return found
    # Notices alone are as much already.
    end = _bisect(db, log_id, first, lambda row: row.records_before <= start.records_before)
    return _last_records(db, log_id, first, end)


def _last_records(db: sqlite3.Connection, log_id: int, first: int, end: int) -> int:
    """Where the last batch of records in [first, end) ends; `first` where there is none."""
    last = batch_over(db, log_id, end - 1) if end > first else None
    if last is None or last.kind == "records":
        return end
    count = last.records_before + last.records
    # A batch of notices behind the last record has all of them before it.
    return _bisect(db, log_id, first, lambda row: row.records_before < count)


def _bisect(db: sqlite3.Connection, log_id: int, first: int, holds: Callable[[BatchRow], bool]) -> int:
    """The end of the batches from `first` on for which `holds`, which none does after the first that doesn't."""
    low, high = first, log(db, log_id).size
    while low < high:
        row = batch_over(db, log_id, (low + high) // 2)
        if row is None:
            return low
        if holds(row):
            low = row.size
        else:
            high = max(low, row.first)
    return low
