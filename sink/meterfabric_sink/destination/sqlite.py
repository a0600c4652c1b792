"""The embedded default: records and evidence in one SQLite database, one transaction for both."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from .base import LogUpdate, StoredBatch
from .columns import columns
from .embedded import Embedded
from .sqlite_evidence import Place
from .sqlite_tables import EVIDENCE, RECORDS

Fields: TypeAlias = tuple[str | None, str | None, str | None, str | None, str | None, str | None, bytes]

_RECORD = "INSERT INTO records(origin, idx, id, source, type, subject, time, data, raw) VALUES(?,?,?,?,?,?,?,?,?)"


class SqliteDestination(Embedded):
    """`sqlite:PATH`."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(
            path, EVIDENCE + RECORDS, page_size=16384, lock_path=path.with_name(path.name + ".lock"), clock=clock
        )

    def _write(self, connection: sqlite3.Connection, updates: Sequence[LogUpdate]) -> list[Place | None]:
        for update in updates:
            for batch in update.batches:
                if batch.kind == "records":
                    connection.executemany(_RECORD, _rows(batch))
        return [None for update in updates for _ in update.batches]

    # Nothing lies beside the database, so whatever becomes of the transaction is all there is to it.

    def _started(self, connection: sqlite3.Connection) -> None:
        """See Embedded."""

    def _undo(self) -> None:
        """See Embedded."""

    def _committed(self) -> None:
        """See Embedded."""

    def _abandoned(self) -> None:
        """See Embedded."""


def _rows(batch: StoredBatch) -> Iterator[tuple[str, int, *Fields]]:
    raws = batch.payload.split(b"\n")[:-1]
    origin = batch.origin
    for idx, row in enumerate(fields(raws), batch.first):
        yield origin, idx, *row


def fields(raws: Sequence[bytes]) -> Iterator[Fields]:
    """What stands in the columns from id on for each of these records."""
    for raw, row in zip(raws, columns(raws), strict=True):
        data = _text(row.data) if row.data else None
        yield row.id, row.source, row.type, row.subject, row.time, data, raw


def _text(data: memoryview | bytes) -> str | None:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return None
