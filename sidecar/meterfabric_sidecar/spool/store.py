"""The spool: the sidecar's durable store of batches.

A thin asyncio shell. One thread writes, one reads; what they do is in `writer`, `reader` and `load`. When the disk is
full or fails, whoever waits gets `SpoolFull`, the connection is opened anew and the state read back from the database,
so that what memory believes is always what the disk holds; the spool mends itself once the disk does.
"""

import asyncio
import functools
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from meterfabric_protocol.limits import DEFAULT, Limits

from . import load, reader, schema, writer
from .clock import SpoolClock
from .lock import FolderLock
from .quarantine import Quarantine
from .rows import CursorRow, LogRow, Pending, Pressure, RecentRow, StoredBatch
from .salvage import open_whole
from .settings import SpoolSettings
from .usage import Usage
from .writer import Sealing, Upkeep

T = TypeVar("T")

DATABASE: Final = "spool.db"
QUARANTINE: Final = "quarantine"
UPKEEP_SECONDS: Final = 0.1
"""How long a cursor or a drop waits for a commit to travel along with."""
CLOCK_SECONDS: Final = 5.0
"""How often the clock is persisted when nothing else is."""
RETRY_SECONDS: Final = 1.0
_MEASURE_EVERY: Final = 16
_SHRINK_PAGES: Final = 64


class SpoolFull(Exception):
    """Nothing can be stored now: quota, or a disk that is full or fails. Ask again after `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


OnDamaged = Callable[[str, int, int, str], None]
"""Called in the event loop with origin, first, size and the notice's cause, for a payload that had to be given up."""


class Spool:
    """See the module. Open with `Spool.open`, end with `close`; all methods are for the event loop's thread.

    Raises from any method that writes: SpoolFull.
    """

    def __init__(self, folder: Path, settings: SpoolSettings, monotonic: Callable[[], float], limits: Limits) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / DATABASE
        self._settings = settings
        self._monotonic = monotonic
        self._limits = limits
        self._lock = FolderLock(folder)
        self._writer = ThreadPoolExecutor(1, "spool-writer")
        self._reader = ThreadPoolExecutor(1, "spool-reader")
        # Held by a thread while it uses its connection, so that the file isn't exchanged under it.
        self._files = threading.Lock()
        self._write_db: sqlite3.Connection | None = None
        self._read_db: sqlite3.Connection | None = None
        # A lookup that can't wait for the reader's queue: the event loop asks for one row, seldom.
        self._look_lock = threading.Lock()
        self._look_db: sqlite3.Connection | None = None
        self._failed: str | None = None
        self._retry_at = 0.0
        self._commits = 0
        self._logs: dict[str, LogRow] = {}
        self._cursors: dict[tuple[int, str], CursorRow] = {}
        self._upkeep = Upkeep()
        self._upkeep_task: asyncio.Task[None] | None = None
        self._usage = Usage(settings, self._path)
        self.on_damaged: OnDamaged = lambda origin, first, size, cause: None

    @classmethod
    async def open(
        cls,
        folder: Path,
        settings: SpoolSettings | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        limits: Limits = DEFAULT,
    ) -> Self:
        """Open the spool in `folder`, made where it is missing; a damaged database is salvaged first.

        Raises SpoolLocked, SpoolFull (the disk doesn't let the database be opened), OSError.
        """
        spool = cls(folder, settings or SpoolSettings(), monotonic, limits)
        try:
            await spool._start(folder)
        except BaseException:
            await spool._stop()
            raise
        return spool

    async def _start(self, folder: Path) -> None:
        self.quarantine = Quarantine(folder / QUARANTINE, self._settings.quarantine)
        start = await self._write(reader.clock)
        self.clock = SpoolClock(start, self._monotonic)
        for row in await self._read(reader.cursors):
            self._cursors[self._logs[row.origin].id, row.sink] = row
        self._upkeep_task = asyncio.create_task(self._keep_up())

    # -- logs and batches

    async def logs(self) -> list[LogRow]:
        """All logs, oldest first, as committed."""
        found = await self._read(reader.logs)
        self._logs = {log.origin: log for log in found}
        return found

    async def log(self, origin: str) -> LogRow:
        """One log as committed. Raises KeyError."""
        return await self._read(functools.partial(reader.log, log_id=self._id(origin)))

    async def root_at(self, origin: str, size: int) -> bytes | None:
        """The log's root at a batch boundary; None where `size` is none."""
        return await self._read(lambda db: reader.root_at(db, self._id(origin), size))

    async def fetch(self, origin: str, first: int, max_bytes: int, max_batches: int) -> list[StoredBatch]:
        """Batches from leaf `first` (a boundary) on, verified against their stored roots.

        At most `max_batches`, and past the first one at most `max_bytes` of payload. A batch found damaged is
        quarantined and comes as the stub that stays of it.
        """

        def work(db: sqlite3.Connection) -> tuple[list[StoredBatch], list[load.Damage]]:
            log = reader.log(db, self._id(origin))
            return load.fetch(db, log, first, max_bytes, max_batches, self._limits)

        found, damages = await self._read(work)
        for damage in damages:
            await self._quarantine(origin, damage)
        return found

    async def leaves(self, origin: str, first: int) -> list[bytes] | None:
        """The leaves of the batch that begins at `first`, verified; None where they are gone."""

        def work(db: sqlite3.Connection) -> list[bytes] | None:
            log = reader.log(db, self._id(origin))
            rows = reader.batches_from(db, log.id, first, 1)
            return load.leaves(db, log, rows[0], self._limits) if rows and rows[0].first == first else None

        return await self._read(work)

    async def boundary_at_age(self, origin: str, first: int, older_than: float) -> int:
        """The largest boundary whose batches from `first` on were all sealed `older_than` seconds ago or earlier."""
        before = self.clock.now() - older_than

        def work(db: sqlite3.Connection) -> int:
            log = reader.log(db, self._id(origin))
            return reader.boundary_at_age(db, log.id, first, log.size, before)

        return await self._read(work)

    async def pending(self, origin: str, position: int) -> Pending:
        """Records, bytes and age of what lies between a position (a boundary) and the log's end."""
        now = self.clock.now()
        return await self._read(lambda db: reader.pending(db, reader.log(db, self._id(origin)), position, now))

    async def commit(self, batch: Sealing, after: Callable[[], None], *, last: bool = False) -> None:
        """Store a sealed batch durably, then run `after` in the writer's thread (it writes the key's head).

        `last` closes the log in the same transaction. Cursors and drops that wait go along. Raises SpoolFull, in which
        case nothing of the batch is stored, or it is and the state read back says so: ask `log`.
        """
        work, self._upkeep = self._upkeep, Upkeep(recent_before=self._upkeep.recent_before)

        def commit(db: sqlite3.Connection) -> dict[int, int]:
            if last:
                left = writer.upkeep(db, work, batch.sealed_at, batch.sealed_utc)
                writer.seal_last(db, batch)
            else:
                left = writer.seal(db, batch, work)
            self._usage.committed(batch.stored)
            self._commits += 1
            if self._commits % _MEASURE_EVERY == 0 or not self._usage.room_for(batch.stored):
                self._usage.measured(*writer.pages(db))
            after()
            return left

        self._give_back(work, await self._do_upkeep(work, commit))

    async def open_log(self, origin: str, public_key: bytes, root: bytes, first: Callable[[int], Sealing]) -> LogRow:
        """Add an active log whose first batch is `first(log id)`; the log active so far is dead."""
        now, utc = self.clock.now(), utc_now()
        log = await self._write(lambda db: writer.open_log(db, origin, public_key, root, now, utc, first))
        row = await self._read(lambda db: reader.log(db, log))
        self._logs[origin] = row
        return row

    async def set_chain(self, origin: str, chain: str) -> None:
        """Keep a log's certificate chain (PEM, leaf first)."""
        log = self._id(origin)
        await self._write(lambda db: writer.set_chain(db, log, chain))

    async def forget(self, origin: str) -> None:
        """Delete a finished log and all that is kept of it. Raises ValueError for the active one."""
        row = await self.log(origin)
        if row.state == "active":
            raise ValueError(f"the log {origin} is active")
        for key in [key for key in self._cursors if key[0] == row.id]:
            del self._cursors[key]
            self._upkeep.cursors.pop(key, None)
        self._upkeep.drops.pop(row.id, None)
        while not await self._write(lambda db: writer.forget_step(db, row.id)):
            pass
        self._logs.pop(origin, None)

    # -- cursors and drops: cheap to call, stored within UPKEEP_SECONDS

    def cursors(self) -> list[CursorRow]:
        """All cursors, as set last."""
        return list(self._cursors.values())

    def set_cursor(self, origin: str, sink: str, **changes: Any) -> CursorRow:
        """Change fields of one cursor (see CursorRow), made where it is missing.

        Not durable at once: after a crash the sink gives the same receipt again.
        """
        key = self._id(origin), sink
        row = replace(self._cursors.get(key) or CursorRow(origin, sink), **changes)
        self._cursors[key] = self._upkeep.cursors[key] = row
        return row

    def drop_to(self, origin: str, size: int) -> None:
        """Let go of the payloads of all records before leaf `size` (a boundary); roots and checkpoints stay.

        Done in bounded steps in the background.
        """
        log = self._id(origin)
        self._upkeep.drops[log] = max(size, self._upkeep.drops.get(log, 0))

    def recent(self, seq: int) -> RecentRow | None:
        """The keys stored under `seq`; None where they can't be read. Blocks for one lookup."""
        with self._look_lock:
            try:
                if self._look_db is None:
                    self._look_db = schema.open_reader(self._path)
                return reader.recent(self._look_db, seq)
            except (sqlite3.Error, OSError):
                return None

    async def recent_after(self, seq: int, count: int) -> list[RecentRow]:
        """Up to `count` rows of keys after `seq`, oldest first."""
        return await self._read(lambda db: reader.recent_after(db, seq, count))

    def forget_recent(self, before: int) -> None:
        """Rows of the window below this seq may go."""
        self._upkeep.recent_before = max(before, self._upkeep.recent_before)

    # -- room

    def pressure(self) -> Pressure:
        """How full the spool is."""
        return self._usage.pressure()

    def room_for(self, stored: int) -> bool:
        """Whether `stored` more bytes of records may be taken."""
        return self._failed is None and self._usage.room_for(stored)

    @property
    def failed(self) -> str | None:
        """Why nothing can be written at present; None when all is well."""
        return self._failed

    # -- upkeep

    async def flush(self) -> None:
        """Store what waits now: cursors, the clock and a step of the drops."""
        work, self._upkeep = self._upkeep, Upkeep(recent_before=self._upkeep.recent_before)
        now, utc = self.clock.now(), utc_now()

        def keep_up(db: sqlite3.Connection) -> dict[int, int]:
            left = writer.upkeep(db, work, now, utc)
            self._usage.measured(*writer.pages(db))
            if self._usage.wal > 2 * self._settings.wal:
                writer.fold_wal(db)
            if excess := self._usage.excess or self._usage.idle_excess:
                writer.shrink(db, min(excess, _SHRINK_PAGES))
                self._usage.measured(*writer.pages(db))
            return left

        self._give_back(work, await self._do_upkeep(work, keep_up))

    async def _do_upkeep(self, work: Upkeep, action: Callable[[sqlite3.Connection], dict[int, int]]) -> dict[int, int]:
        try:
            return await self._write(action)
        except SpoolFull:
            self._give_back(work, work.drops)
            for key, cursor in work.cursors.items():
                self._upkeep.cursors.setdefault(key, cursor)
            raise

    def _give_back(self, work: Upkeep, drops: dict[int, int]) -> None:
        for log, to in drops.items():
            self._upkeep.drops[log] = max(to, self._upkeep.drops.get(log, 0))

    async def _keep_up(self) -> None:
        persisted = self.clock.now()
        while True:
            await asyncio.sleep(UPKEEP_SECONDS)
            now = self.clock.now()
            if self._upkeep or self._failed or now - persisted >= CLOCK_SECONDS or self._usage.excess:
                try:
                    await self.flush()
                    persisted = now
                except SpoolFull:
                    continue

    async def _quarantine(self, origin: str, damage: load.Damage) -> None:
        log = self._id(origin)

        def work(db: sqlite3.Connection) -> None:
            if damage.body is not None:
                self.quarantine.keep(f"{origin}-{damage.first}-{damage.size}", damage.body)
                self._usage.quarantine = self.quarantine.bytes
            writer.damage(db, log, damage.first, damage.cause)
            self._usage.measured(*writer.pages(db))

        await self._write(work)
        self.on_damaged(origin, damage.first, damage.size, damage.cause)

    # -- threads and files

    def _id(self, origin: str) -> int:
        return self._logs[origin].id

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._in_writer, work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._in_reader, work)

    def _in_writer(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            db = self._write_db or self._reopen()
            return work(db)
        except (sqlite3.Error, OSError) as error:
            if self._write_db is not None:
                self._write_db.close()
                self._write_db = None
            self._failed = f"{type(error).__name__}: {error}"
            self._retry_at = self._monotonic() + RETRY_SECONDS
            raise SpoolFull(f"the spool can't be written: {error}", RETRY_SECONDS) from error

    def _reopen(self) -> sqlite3.Connection:
        if self._monotonic() < self._retry_at:
            raise SpoolFull(f"the spool can't be written: {self._failed}", RETRY_SECONDS)
        with self._files, self._look_lock:
            self._close_readers()
            db = open_whole(self._path, self._settings, self.quarantine, self._limits)
        try:
            if self._failed is not None:
                # After a failed fsync the system may hold as clean what never reached the disk: write it anew.
                writer.fold_wal(db)
            self._logs = {log.origin: log for log in reader.logs(db)}
            self._usage.quarantine = self.quarantine.bytes
            self._usage.measured(*writer.pages(db))
        except BaseException:
            db.close()
            raise
        self._write_db = db
        self._failed = None
        return db

    def _in_reader(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._files:
            if self._read_db is None:
                self._read_db = schema.open_reader(self._path)
            return work(self._read_db)

    def _close_readers(self) -> None:
        for db in (self._read_db, self._look_db):
            if db is not None:
                db.close()
        self._read_db = self._look_db = None

    async def close(self) -> None:
        """Store what waits, fold the WAL back and free the folder."""
        if self._upkeep_task is not None:
            self._upkeep_task.cancel()
            await asyncio.gather(self._upkeep_task, return_exceptions=True)
            with suppress(SpoolFull):
                await self.flush()
        await self._stop()

    async def _stop(self) -> None:
        def close() -> None:
            self._close_readers()
            if self._write_db is not None:
                self._write_db.close()
                self._write_db = None

        await asyncio.get_running_loop().run_in_executor(self._writer, close)
        self._writer.shutdown()
        self._reader.shutdown()
        self._lock.close()


def utc_now() -> str:
    """The wall clock for people, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
