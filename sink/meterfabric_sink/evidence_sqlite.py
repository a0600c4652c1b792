"""A `sqlite` destination's database, for reading and erasing."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .destination.base import DestinationDown, DestinationRefused
from .destination.sqlite import fields
from .destination.sqlite_tables import EVIDENCE, RECORDS, check_ours, connect
from .evidence_records import FORGET, KEEP, RecordTable

_COLUMNS = (
    "SELECT idx, id, source, type, subject, time, data, raw FROM records WHERE origin = ? AND idx > ?"
    " ORDER BY idx LIMIT 500"
)


def open_read_only(path: Path, table: str) -> sqlite3.Connection:
    """Open a sink's database for reading, at one moment's state; `table` is one that only its kind of sink has.

    Raises DestinationRefused, DestinationDown.
    """
    if not path.is_file():
        raise DestinationRefused(f"{path}: no sink is here; file:DIR or sqlite:PATH names one")
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=10, isolation_level=None)
        connection.execute("BEGIN")
        check_ours(connection, path)
        found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    except sqlite3.OperationalError as error:
        raise DestinationDown(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise DestinationRefused(f"{path}: {error}; restore it from a backup") from error
    if not found:
        raise DestinationRefused(f"{path} has no table {table}; it is of another kind of sink (file:DIR, sqlite:PATH)")
    return connection


def ask(connection: sqlite3.Connection, sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
    """The rows of one statement. Raises DestinationRefused where the database can't be read."""
    try:
        return connection.execute(sql, tuple(parameters)).fetchall()
    except sqlite3.Error as error:
        raise DestinationRefused(f"{error}; restore the database from a backup") from error


class SqliteStore(RecordTable):
    """See evidence.Store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_read_only(path, "records")

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """See evidence.Store.query."""
        return ask(self._connection, sql, parameters)

    def astray(self, origin: str) -> Iterator[int]:
        """See evidence.Store.astray."""
        last = -1
        while rows := self.query(_COLUMNS, (origin, last)):
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
            self._connection = open_read_only(self._path, "records")

    def close(self) -> None:
        """See evidence.Store.close."""
        self._connection.close()
