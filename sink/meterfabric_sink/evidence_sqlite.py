"""A `sqlite` destination's database, for reading and erasing."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .destination.base import DestinationDown, DestinationRefused
from .destination.sqlite import fields
from .destination.sqlite_tables import EVIDENCE, RECORDS, connect
from .evidence_records import FORGET, KEEP, RecordTable

_COLUMNS = (
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


class SqliteStore(RecordTable):
    """See evidence.Store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = open_read_only(path)

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
            self._connection = open_read_only(self._path)

    def close(self) -> None:
        """See evidence.Store.close."""
        self._connection.close()
