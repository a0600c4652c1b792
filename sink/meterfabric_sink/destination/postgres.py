"""PostgreSQL: position rows locked, records streamed by COPY, evidence and positions written, one transaction.

Many workers may run; whoever comes second for a log waits at its position row and then finds it moved.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from . import postgres_evidence, postgres_rows, rows
from .base import (
    Certificate,
    DestinationDown,
    DestinationRefused,
    Held,
    LogUpdate,
    PositionMoved,
    StoredBatch,
    StoredNotice,
)
from .postgres_rows import Caution
from .postgres_schema import migrate

# A dead network or a stuck peer is noticed in this time. A URL may say otherwise.
CONNECTION_DEFAULTS = {
    "application_name": "meterfabric",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# A worker that dies inside a transaction, or waits behind one, holds no log up for longer than this.
SESSION = (
    b"SET client_encoding = 'UTF8'",
    b"SET lock_timeout = '30s'",
    b"SET idle_in_transaction_session_timeout = '60s'",
    b"SELECT set_config('synchronous_commit', 'on', false)"
    b" WHERE current_setting('synchronous_commit') IN ('off', 'local')",
)
# A server that took the connection and then hangs keeps answering for TCP, so only a clock of ours can tell.
OPERATION_SECONDS = 60.0
_COPY = f"COPY meterfabric.records({postgres_rows.COLUMNS}) FROM STDIN (FORMAT binary)".encode()

# What PostgreSQL says of a value that doesn't fit: data exceptions (22), limits (54), stack depth among them.
_UNFIT = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex)
_LINE = re.compile(r"COPY records, line (\d+)")


class PostgresDestination:
    """`postgresql://…`, anything libpq's connection URIs can say (PostgreSQL manual, 34.1.1.2)."""

    kind: Literal["transactional", "idempotent"] = "transactional"
    workers: Literal["one", "many"] = "many"

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time, seconds: float = OPERATION_SECONDS) -> None:
        """Not yet connected. An operation that takes longer than `seconds` counts as an outage."""
        said = conninfo_to_dict(url)
        unsaid = {name: value for name, value in CONNECTION_DEFAULTS.items() if name not in said}
        self._conninfo = make_conninfo(url, **unsaid)
        self._clock = clock
        self._seconds = seconds
        self._live: AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Connect and create or migrate the schema. See Destination.open."""
        async with self._connected():
            pass

    async def close(self) -> None:
        """See Destination.close."""
        async with self._turn:
            await self._drop()

    async def introduce(self, own: Certificate) -> None:
        """See Destination.introduce."""
        async with self._connected() as connection:
            await postgres_evidence.introduce(connection, own, int(self._clock()))

    async def positions(self, origins: Iterable[str]) -> dict[str, Held]:
        """See Destination.positions."""
        async with self._connected() as connection:
            cursor = await connection.execute(postgres_evidence.POSITIONS, (list(origins),))
            return {row[0]: rows.held(row) for row in await cursor.fetchall()}

    async def receipt(self, origin: str, size: int) -> StoredBatch | None:
        """See Destination.receipt."""
        found = await self.boundary_at_or_below(origin, size)
        return found if found is not None and found.size == size else None

    async def boundary_at_or_below(self, origin: str, size: int) -> StoredBatch | None:
        """See Destination.boundary_at_or_below."""
        async with self._connected() as connection:
            cursor = await connection.execute(postgres_evidence.LAST_BEFORE, (origin, size))
            row = await cursor.fetchone()
            # Batches follow each other, so the batch that holds leaf size-1 ends at `size` or the one before is wanted.
            if row is not None and row[2] > size:
                cursor = await connection.execute(postgres_evidence.LAST_BEFORE, (origin, row[1]))
                row = await cursor.fetchone()
            return None if row is None else rows.batch(row)

    async def notices(self, origin: str) -> list[StoredNotice]:
        """See Destination.notices."""
        async with self._connected() as connection:
            cursor = await connection.execute(postgres_evidence.NOTICES, (origin,))
            return [StoredNotice(index, body) for index, body in await cursor.fetchall()]

    async def commit(self, updates: Sequence[LogUpdate]) -> None:
        """See Destination.commit."""
        batches = [batch for update in updates for batch in update.batches if batch.kind == "records"]
        cautions = [Caution.NONE] * len(batches)
        if not updates:
            return
        async with self._connected() as connection:
            while True:
                try:
                    await self._attempt(connection, updates, batches, cautions)
                except _UNFIT as error:
                    if not _raise_caution(batches, cautions, error):
                        raise
                else:
                    return

    async def _attempt(
        self,
        connection: AsyncConnection[Any],
        updates: Sequence[LogUpdate],
        batches: Sequence[StoredBatch],
        cautions: Sequence[Caution],
    ) -> None:
        now = int(self._clock())
        async with connection.transaction(), connection.cursor() as cursor:
            await postgres_evidence.lock(cursor, updates, now)
            if batches:
                async with cursor.copy(_COPY) as copy:
                    await copy.write(postgres_rows.HEADER)
                    for batch, caution in zip(batches, cautions, strict=True):
                        # The server works on one chunk while the next is built here.
                        for chunk in postgres_rows.chunks(batch.origin, batch.first, batch.payload, caution):
                            await copy.write(chunk)
                    await copy.write(postgres_rows.TRAILER)
            await postgres_evidence.write(connection, updates, now)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection[Any]]:
        """The one connection, for one user at a time; dropped after anything that leaves its state in doubt."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._seconds):
                    if self._live is None:
                        self._live = await self._connect()
                    yield self._live
            except PositionMoved:
                raise
            except TimeoutError as error:
                await self._drop()
                raise DestinationDown(f"PostgreSQL: no answer in {self._seconds:g} s") from error
            except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError, OSError) as error:
                await self._drop()
                raise DestinationDown(f"PostgreSQL: {error}") from error
            except psycopg.Error as error:
                await self._drop()
                raise DestinationRefused(f"PostgreSQL: {error}") from error
            except BaseException:
                await self._drop()
                raise

    async def _connect(self) -> AsyncConnection[Any]:
        connection = await AsyncConnection.connect(self._conninfo, autocommit=True)
        try:
            _needs_utf8(connection)
            for statement in SESSION:
                await connection.execute(statement)
            await migrate(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _drop(self) -> None:
        connection, self._live = self._live, None
        if connection is not None:
            await connection.close()


def _needs_utf8(connection: AsyncConnection[Any]) -> None:
    """Raise DestinationRefused where the database keeps text otherwise: SQL_ASCII, initdb's choice where there is no
    locale, keeps bytes of any kind, and neither text nor jsonb are what they are elsewhere."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise DestinationRefused(
            f"PostgreSQL: the database {connection.info.dbname} has encoding {encoding}, records are UTF-8;"
            " make it with ENCODING 'UTF8' TEMPLATE template0"
        )


def _raise_caution(batches: Sequence[StoredBatch], cautions: list[Caution], error: psycopg.Error) -> bool:
    """Be more careful with the batch that the error is about, or with all; False when there is no more care to take."""
    if all(caution is Caution.ONLY_RAW for caution in cautions):
        return False
    blamed = _blamed(batches, error)
    if blamed is not None and cautions[blamed] is not Caution.ONLY_RAW:
        cautions[blamed] = Caution(cautions[blamed] + 1)
    else:
        cautions[:] = [Caution(min(caution + 1, Caution.ONLY_RAW)) for caution in cautions]
    return True


def _blamed(batches: Sequence[StoredBatch], error: psycopg.Error) -> int | None:
    found = _LINE.search(error.diag.context or "")
    if found is None:
        return None
    line = int(found[1])
    for position, batch in enumerate(batches):
        line -= batch.size - batch.first
        if line <= 0:
            return position
    return None
