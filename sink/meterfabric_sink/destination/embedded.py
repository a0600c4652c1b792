"""What the `sqlite` and the `file` destination share: one worker, one lock, one thread, one SQLite database.

After any error of the disk the connection is thrown away and the next call starts as a fresh process would, from
what really is on the disk: no state in memory has to be guessed right after a write that may or may not have happened.
"""

import asyncio
import os
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar

from meterfabric_runtime import lock

from . import segments, sqlite_evidence
from .base import (
    Certificate,
    DestinationDown,
    DestinationInUse,
    DestinationRefused,
    Held,
    LogUpdate,
    PositionMoved,
    StoredBatch,
    StoredNotice,
)
from .sqlite_tables import connect

P = ParamSpec("P")
R = TypeVar("R")


class Embedded(ABC):
    """Base of the destinations that live in local files. Subclasses say how records are written."""

    kind: Literal["transactional", "idempotent"] = "transactional"
    workers: Literal["one", "many"] = "one"

    def __init__(
        self, database: Path, schema: str, *, page_size: int, lock_path: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._schema = schema
        self._page_size = page_size
        self._lock_path = lock_path
        self._lock: int | None = None
        self._clock = clock
        self._live: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="destination")

    async def open(self) -> None:
        """Take the lock, open or create the database, drop what was never committed. See Destination.open."""
        try:
            await self._run(self._connection)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the database and give the lock back; safe to call twice."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)

    async def introduce(self, own: Certificate) -> None:
        """See Destination.introduce."""
        await self._run(lambda: sqlite_evidence.introduce(self._connection(), own, int(self._clock())))

    async def positions(self, origins: Iterable[str]) -> dict[str, Held]:
        """See Destination.positions."""
        wanted = list(origins)
        return await self._run(lambda: sqlite_evidence.positions(self._connection(), wanted))

    async def receipt(self, origin: str, size: int) -> StoredBatch | None:
        """See Destination.receipt."""
        found = await self.boundary_at_or_below(origin, size)
        return found if found is not None and found.size == size else None

    async def boundary_at_or_below(self, origin: str, size: int) -> StoredBatch | None:
        """See Destination.boundary_at_or_below."""
        return await self._run(lambda: sqlite_evidence.boundary_at_or_below(self._connection(), origin, size))

    async def notices(self, origin: str) -> list[StoredNotice]:
        """See Destination.notices."""
        return await self._run(lambda: sqlite_evidence.notices(self._connection(), origin))

    async def commit(self, updates: Sequence[LogUpdate]) -> None:
        """See Destination.commit."""
        await self._run(self._commit, updates)

    @abstractmethod
    def _started(self, connection: sqlite3.Connection) -> None:
        """Called with a connection just opened: bring what lies beside the database to the committed position."""

    @abstractmethod
    def _write(
        self, connection: sqlite3.Connection, updates: Sequence[LogUpdate]
    ) -> list[sqlite_evidence.Place | None]:
        """Write the records of all batches inside the open transaction; says where each batch's payload went."""

    @abstractmethod
    def _undo(self) -> None:
        """Called when the open transaction certainly fails: give back the room that `_write` took beside it."""

    @abstractmethod
    def _committed(self) -> None:
        """Called after the transaction is durable."""

    @abstractmethod
    def _abandoned(self) -> None:
        """Called when the connection is thrown away: release what `_started` took."""

    async def _run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        def guarded() -> R:
            try:
                return function(*args, **kwargs)
            except sqlite3.IntegrityError as error:
                self._abandon()
                raise DestinationRefused(f"{self._database}: {error}; evidence and position disagree") from error
            except (sqlite3.Error, OSError) as error:
                self._abandon()
                raise DestinationDown(f"{self._database}: {error}") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _connection(self) -> sqlite3.Connection:
        if self._live is None:
            self._take_lock()
            connection = connect(self._database, self._schema, page_size=self._page_size)
            try:
                self._started(connection)
            except BaseException:
                self._abandoned()
                connection.close()
                raise
            self._live = connection
        return self._live

    def _commit(self, updates: Sequence[LogUpdate]) -> None:
        connection = self._connection()
        now = int(self._clock())
        committing = False
        try:
            connection.execute("BEGIN IMMEDIATE")
            sqlite_evidence.move(connection, updates, now)
            sqlite_evidence.insert(connection, updates, self._write(connection, updates), now)
            committing = True
            connection.execute("COMMIT")
        except PositionMoved:
            connection.execute("ROLLBACK")
            raise
        except BaseException as error:
            # A COMMIT that failed in its fsync may yet be found done at the next start; any other failure is certain.
            if not committing or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                self._undo()
            self._abandon()
            raise
        self._committed()

    def _abandon(self) -> None:
        connection, self._live = self._live, None
        self._abandoned()
        if connection is not None:
            connection.close()

    def _close(self) -> None:
        self._abandon()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        segments.make_folder(self._lock_path.parent)
        # A file of its own: closing any descriptor of a SQLite database would drop SQLite's own POSIX locks on it.
        try:
            self._lock = lock.take(self._lock_path)
        except BlockingIOError as error:
            raise DestinationInUse(f"{self._lock_path}: another worker holds it; stop that one first") from error
