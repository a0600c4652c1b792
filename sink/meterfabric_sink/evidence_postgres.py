"""A `postgres` destination's schema, for reading and erasing."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .destination.base import DestinationDown, DestinationRefused
from .destination.postgres import CONNECTION_DEFAULTS
from .destination.postgres_rows import MAX_ID_BYTES, fields
from .evidence_records import FORGET, KEEP, RecordTable

_COLUMNS = (
    "SELECT idx, id, source, type, subject, time, data IS NOT NULL, raw FROM records WHERE origin = ? AND idx > ?"
    " ORDER BY idx LIMIT 500"
)
_UNLIKE = (
    "SELECT wanted.idx FROM unnest(?::bigint[], ?::text[]) AS wanted(idx, data)"
    " JOIN records ON records.idx = wanted.idx AND records.origin = ?"
    " WHERE records.data IS DISTINCT FROM wanted.data::jsonb"
)


class PostgresStore(RecordTable):
    """See evidence.Store. Reads one moment's state."""

    def __init__(self, url: str) -> None:
        try:
            said = conninfo_to_dict(url)
        except psycopg.Error as error:
            raise DestinationDown(f"PostgreSQL: {error}") from error
        unsaid = {name: value for name, value in CONNECTION_DEFAULTS.items() if name not in said}
        self._conninfo = make_conninfo(url, **unsaid)
        self._connection = self._connect()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """See evidence.Store.query."""
        try:
            return self._connection.execute(_dialect(sql), parameters, binary=True).fetchall()
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise DestinationDown(f"PostgreSQL: {error}") from error
        except psycopg.Error as error:
            raise DestinationRefused(f"PostgreSQL: {error}") from error

    def astray(self, origin: str) -> Iterator[int]:
        """See evidence.Store.astray. A row whose columns are all NULL since the server refused them is among them."""
        last = -1
        while rows := self.query(_COLUMNS, (origin, last)):
            found: set[int] = set()
            texts: dict[int, str] = {}
            for index, *row, has_data, raw in rows:
                *wanted, data = fields(raw) if raw is not None else (None,) * 6
                if row != wanted or has_data != (data is not None):
                    found.add(index)
                elif isinstance(data, str):
                    texts[index] = data
            # Whether two spellings of JSON are one value only the server knows.
            unlike = self.query(_UNLIKE, (list(texts), list(texts.values()), origin)) if texts else []
            yield from sorted(found | {index for (index,) in unlike})
            last = rows[-1][0]

    def erase(self, origin: str, index: int, hashed: bytes, erased_at: int, reason: str) -> None:
        """See evidence.Store.erase."""
        try:
            # The snapshot being read would keep the old row from being vacuumed.
            self._connection.close()
            with psycopg.connect(self._conninfo, autocommit=True, options="-c search_path=meterfabric") as writer:
                with writer.transaction():
                    writer.execute(_dialect(KEEP), (origin, index, hashed, erased_at, reason))
                    writer.execute(_dialect(FORGET), (origin, index))
                writer.execute(b"VACUUM records")
        except psycopg.Error as error:
            raise DestinationDown(f"PostgreSQL: {error}") from error
        finally:
            self._connection = self._connect()

    def close(self) -> None:
        """See evidence.Store.close."""
        self._connection.close()

    def _column_holds(self, source: str, record_id: str) -> bool:
        return "\0" not in record_id + source and len(record_id.encode()) <= MAX_ID_BYTES

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            connection = psycopg.connect(self._conninfo, options="-c search_path=meterfabric")
        except psycopg.Error as error:
            raise DestinationDown(f"PostgreSQL: {error}") from error
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        return connection


def _dialect(sql: str) -> bytes:
    return sql.replace("?", "%s").encode()
