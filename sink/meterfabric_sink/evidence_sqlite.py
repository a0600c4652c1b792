"""A `sqlite` destination's database, for reading and erasing."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .destination.base import DestinationDown, DestinationRefused, StoredBatch
from .destination.columns import careful
from .destination.sqlite import fields
from .destination.sqlite_tables import EVIDENCE, RECORDS, connect
from .evidence import Found

FORGET = (
    "UPDATE records SET id = NULL, source = NULL, type = NULL, subject = NULL, time = NULL, data = NULL, raw = NULL"
    " WHERE origin = ? AND idx = ?"
)
KEEP = "INSERT INTO erased(origin, idx, leaf_hash, erased_at, reason) VALUES(?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"


RECORDS_OF = "SELECT idx, raw FROM records WHERE origin = ? AND idx >= ? AND idx < ? ORDER BY idx"


ROWS = "SELECT origin, count(*) FROM records GROUP BY origin"
ACCOUNTED = "SELECT origin, sum(size - first) FROM batches WHERE kind = 'records' GROUP BY origin"


COLUMNS_OF = (
    "SELECT idx, id, source, type, subject, time, data, raw FROM records WHERE origin = ? AND idx > ?"
    " ORDER BY idx LIMIT 500"
)


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a database of ours for reading, at one moment's state. Raises DestinationRefused, DestinationDown."""
    if not path.is_file():
        raise DestinationRefused(f"{path}: no sink is here; name the folder or file that a sink worker writes")
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=10, isolation_level=None)
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM logs WHERE origin = ''")
    except sqlite3.OperationalError as error:
        raise DestinationDown(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise DestinationRefused(f"{path}: {error}") from error
    return connection


def ask(connection: sqlite3.Connection, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
    """The rows of one statement. Raises DestinationRefused where the database can't be read."""
    try:
        return connection.execute(sql, tuple(parameters)).fetchall()
    except sqlite3.Error as error:
        raise DestinationRefused(f"{error}; restore the database from a backup") from error


class SqliteStore:
    """See evidence.Store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_read_only(path)

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """See evidence.Store.query."""
        return ask(self._connection, sql, parameters)

    def records(self, batches: Sequence[StoredBatch]) -> Iterator[list[bytes | None]]:
        """See evidence.Store.records."""
        if batches:
            yield from dealt(self.query(RECORDS_OF, (batches[0].origin, batches[0].first, batches[-1].size)), batches)

    def find(self, source: str, record_id: str) -> list[Found]:
        """See evidence.Store.find."""
        by_index = self.query("SELECT origin, idx FROM records WHERE id = ? AND source = ?", (record_id, source))
        if by_index:
            return [Found(*row) for row in by_index]
        # What a column couldn't hold is NULL there; such rows are few.
        hidden = "SELECT origin, idx, raw FROM records WHERE (id IS NULL OR source IS NULL) AND raw IS NOT NULL"
        return [Found(origin, index) for origin, index, raw in self.query(hidden) if is_it(raw, source, record_id)]

    def strays(self) -> Iterator[str]:
        """See evidence.Store.strays."""
        return surplus(self.query(ROWS), self.query(ACCOUNTED))

    def astray(self, origin: str) -> Iterator[int]:
        """See evidence.Store.astray."""
        last = -1
        while rows := self.query(COLUMNS_OF, (origin, last)):
            wanted = fields([row[-1] for row in rows if row[-1] is not None])
            for index, *row in rows:
                # Of an erased record nothing may be left in any column.
                if tuple(row) != (next(wanted) if row[-1] is not None else (None,) * len(row)):
                    yield index
            last = rows[-1][0]

    def erase(self, origin: str, index: int, hashed: bytes, erased_at: int, reason: str) -> None:
        """See evidence.Store.erase."""
        # The snapshot being read would keep the old bytes in the write-ahead log.
        self._connection.close()
        writer = connect(self._path, EVIDENCE + RECORDS)
        try:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute(KEEP, (origin, index, hashed, erased_at, reason))
            writer.execute(FORGET, (origin, index))
            writer.execute("COMMIT")
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise DestinationDown(f"{self._path}: {error}") from error
        finally:
            writer.close()
            self._connection = open_read_only(self._path)

    def close(self) -> None:
        """See evidence.Store.close."""
        self._connection.close()


def surplus(stored: Sequence[tuple[Any, ...]], accounted: Sequence[tuple[Any, ...]]) -> Iterator[str]:
    """The logs with more rows of records than their batches hold, from ROWS and ACCOUNTED."""
    wanted = dict(accounted)
    for origin, count in stored:
        if count > (most := int(wanted.get(origin, 0))):
            yield f"the table records has {count} rows of {origin}, its batches hold {most}"


def dealt(found: Sequence[tuple[Any, ...]], batches: Sequence[StoredBatch]) -> Iterator[list[bytes | None]]:
    """Rows of RECORDS_OF, dealt out to the batches of one log that they were asked for."""
    at = 0
    for batch in batches:
        begin = at
        while at < len(found) and found[at][0] < batch.size:
            at += 1
        yield [raw for _, raw in found[begin:at]]


def is_it(raw: bytes, source: str, record_id: str) -> bool:
    """Whether these bytes are the record with this source and id."""
    found = careful(raw)
    return found.id == record_id and found.source == source
