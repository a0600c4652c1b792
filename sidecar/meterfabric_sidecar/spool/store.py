"""The spool: the sidecar's durable store of batches.

A thin asyncio shell over `files`, which runs what `writer`, `reader` and `load` do to the database. When the disk is
full or fails, whoever waits gets `SpoolFull`, and the spool mends itself once the disk does.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Self

from meterfabric_protocol.delivery.effects import LogFacts
from meterfabric_protocol.limits import DEFAULT, Limits
from meterfabric_runtime.files import sync_folder

from . import load, reader, writer
from .ballast import Ballast
from .clock import SpoolClock, utc_now
from .files import Files, SpoolFull
from .lock import FolderLock
from .quarantine import Quarantine
from .rows import LogRow, Pressure, StoredBatch, Untold
from .salvage import ask_for, open_whole
from .settings import SpoolSettings
from .upkeep import SpoolUpkeep
from .usage import Usage
from .waiting import Upkeep
from .writer import Also, Sealing

DATABASE: Final = "spool.db"
QUARANTINE: Final = "quarantine"
OnDamaged = Callable[[str, int, int, str], None]
"""Called in the event loop with origin, first, size and the notice's cause, for a payload that had to be given up."""


class Spool(SpoolUpkeep):
    """See the module. Open with `Spool.open`, end with `close`; all methods are for the event loop's thread.

    `clock` is the spool's clock. Logs are named by origin: an unknown one raises KeyError. What writes raises
    SpoolFull, what reads sqlite3.Error.
    """

    def __init__(self, folder: Path, settings: SpoolSettings, monotonic: Callable[[], float], limits: Limits) -> None:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            sync_folder(folder.parent)
        self._path = folder / DATABASE
        self._lock = FolderLock(folder)
        self._settings = settings
        self._limits = limits
        self._quarantine = Quarantine(folder / QUARANTINE, settings.quarantine)
        self._ballast = Ballast(folder / "ballast", settings.ballast)
        self._usage = Usage(settings, self._path)
        self._files = Files(self._path, self._reopen, monotonic, partial(ask_for, self._path))
        self._ids: dict[str, int] = {}
        self._upkeep = Upkeep()
        self._upkeep_due = 0.0
        self._upkeep_task: asyncio.Task[None] | None = None
        self.clock = SpoolClock(0.0, monotonic)
        self.on_damaged: OnDamaged = lambda origin, first, size, cause: None

    @classmethod
    async def open(
        cls,
        folder: Path,
        settings: SpoolSettings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        limits: Limits = DEFAULT,
    ) -> Self:
        """Open the spool in `folder`, made where it is missing; a damaged database is salvaged first.

        Raises SpoolLocked, SpoolUnusable, SpoolFull (the disk doesn't let the database be opened), OSError.
        """
        spool = cls(folder, settings, monotonic, limits)
        try:
            spool.clock.move_to(await spool._files.write(reader.clock))
        except BaseException:
            await spool._stop()
            raise
        spool._upkeep_task = asyncio.create_task(spool._keep_up())
        return spool

    async def close(self) -> None:
        """Store what waits, fold the WAL back and free the folder."""
        if self._upkeep_task is not None:
            self._upkeep_task.cancel()
            await asyncio.gather(self._upkeep_task, return_exceptions=True)
            with suppress(SpoolFull):
                await self.flush()
        await self._stop()

    async def _stop(self) -> None:
        await self._files.close()
        self._lock.close()

    # -- delivering

    async def facts(self) -> list[LogFacts]:
        """All logs with their cursors, as the delivery core wants them at start."""
        await self.flush()
        return await self._files.read(reader.facts)

    async def fetch(self, origin: str, first: int, max_bytes: int, max_batches: int) -> list[StoredBatch]:
        """Batches from the one on that holds leaf `first`, verified against their stored roots.

        At most `max_batches`, and past the first one at most `max_bytes` of payload. The list ends before a batch
        whose payload is damaged until a notice about it was sealed: `on_damaged` asks for that.
        """
        log = self._ids[origin]
        found, damage = await self._files.read(
            lambda db: load.fetch(db, reader.log(db, log), first, max_bytes, max_batches, self._limits)
        )
        if damage is not None:
            await self._put_aside(origin, damage)
        return found

    async def leaves(self, origin: str, first: int) -> list[bytes] | None:
        """The leaves of the batch that begins at `first`, verified; None where they are gone.

        A payload that is found damaged is put aside, and `on_damaged` told, as in `fetch`.
        """
        log = self._ids[origin]
        found = await self._files.read(lambda db: load.leaves(db, reader.log(db, log), first, self._limits))
        if isinstance(found, load.Damage):
            await self._put_aside(origin, found)
            return None
        return found

    async def commit(self, batch: Sealing, after: Callable[[], None] = lambda: None, also: Also | None = None) -> None:
        """Store a sealed batch durably, `also` in the same transaction, then run `after` in the writer's thread (it
        writes the key's head).

        Raises SpoolFull, in which case nothing of the batch is stored, or it is and `log` says so.
        """
        # What waits goes along at most every UPKEEP_SECONDS: each of its statements queues for Python's lock.
        work = self._take_upkeep() if self.clock.now() >= self._upkeep_due else Upkeep()

        def seal(db: sqlite3.Connection) -> Upkeep:
            left = writer.seal(db, batch, work, also)
            self._usage.committed(batch.stored)
            if self._usage.stale:
                self._usage.measured(*writer.pages(db))
            after()
            return left

        await self._keeping(work, seal)

    def closing(self, origin: str) -> Also:
        """For `commit`: the batch ends its log."""
        log, now = self._ids[origin], self.clock.now()
        return lambda db: writer.close_log(db, log, now)

    def telling(self, damage: Sequence[tuple[str, int, int]]) -> Also | None:
        """For `commit`: a notice in the batch tells of damage (origin, first, size)."""
        ids = [(self._ids[origin], first, size) for origin, first, size in damage if origin in self._ids]
        return (lambda db: writer.tell(db, ids)) if ids else None

    def moving_on(self, origin: str, boundary: int | None) -> Also:
        """For `commit`, or on its own in `mark`: `origin` has been repeated up to `boundary`; None: all of it."""
        log = self._ids[origin]
        return lambda db: writer.move_on(db, log, boundary)

    async def mark(self, change: Also) -> None:
        """Make one of the changes above on its own."""
        await self._files.write(change)

    async def open_log(
        self,
        origin: str,
        public_key: bytes,
        root: bytes,
        first: Callable[[int], Sealing],
        superseded: tuple[str, int, int] | None = None,
    ) -> LogRow:
        """Add an active log whose first batch is `first(log id)`; the log active so far is dead, unless it is closed.

        With `superseded` (origin, end, leaf) that one ended there, and the new log is to repeat it from the leaf on.
        """
        now, utc = self.clock.now(), utc_now()
        past = (self._ids[superseded[0]], *superseded[1:]) if superseded else None
        log = await self._files.write(lambda db: writer.open_log(db, origin, public_key, root, now, utc, first, past))
        self._ids[origin] = log
        return await self.log(origin)

    async def set_chain(self, origin: str, chain: bytes) -> None:
        """Keep a log's certificate chain (PEM, leaf first)."""
        log = self._ids[origin]
        await self._files.write(lambda db: writer.set_chain(db, log, chain))

    async def keep_note(self, key: str, value: str) -> None:
        """Keep a small value, such as the sinks that were configured last."""
        await self._files.write(lambda db: writer.keep_meta(db, key, value))

    async def forget(self, origin: str) -> None:
        """Delete a finished log and all that is kept of it. Raises ValueError for the active one."""
        row = await self.log(origin)
        if row.state == "active":
            raise ValueError(f"the log {origin} is active")
        self._upkeep.forget(row.id)
        while not await self._files.write(lambda db: writer.forget_step(db, row.id)):
            pass
        del self._ids[origin]

    # -- room

    def pressure(self) -> Pressure:
        """How full the spool is."""
        return self._usage.pressure()

    def room_for(self, stored: int) -> bool:
        """Whether `stored` more bytes of records may be taken."""
        return self._files.failure is None and self._ballast.held and self._usage.room_for(stored)

    @property
    def failure(self) -> str | None:
        """Why nothing can be written at present; None when all is well."""
        return self._files.failure

    async def ruined(self) -> str:
        """Return only where the database is found damaged so that it must be salvaged: end the process, the next start
        does that. Records are refused meanwhile. Returns why."""
        await self._files.ruined.wait()
        return self._files.failure or ""

    async def _put_aside(self, origin: str, damage: load.Damage) -> None:
        log = self._ids[origin]

        def work(db: sqlite3.Connection) -> list[Untold] | None:
            row = reader.batch_over(db, log, damage.first)
            if row is None or row.damaged is not None:
                return None  # sinks' batches are read side by side: another read has found it too
            if damage.body is not None:
                self._quarantine.keep(f"{origin}-{damage.first}-{damage.size}", damage.body)
                self._usage.quarantine = self._quarantine.bytes
            told = reader.told(db) if damage.of == "notices" else []
            writer.damage(db, log, damage.first, damage.cause, untell=bool(told))
            self._usage.measured(*writer.pages(db))
            return told

        told = await self._files.write(work)
        if told is None:
            return
        self.on_damaged(origin, damage.first, damage.size, damage.cause)
        # What is gone may be the notice of another damage, which then would go unexplained: each is told again.
        for each in told:
            self.on_damaged(each.origin, each.first, each.size, each.cause)

    def _reopen(self, failure: str | None) -> sqlite3.Connection:
        if failure is not None:
            self._ballast.release()
        try:
            db = open_whole(self._path, self._settings, self._quarantine)
        except (sqlite3.Error, OSError):
            # A start on a disk without a free byte: the file left there by the process before is what makes room.
            self._ballast.release()
            db = open_whole(self._path, self._settings, self._quarantine)
        try:
            if failure is not None:
                # After a failed fsync the system may hold as clean what never reached the disk: write it anew.
                writer.fold_wal(db)
            else:
                self._ballast.take()
            self._ids = {log.origin: log.id for log in reader.logs(db)}
            self._usage.quarantine = self._quarantine.bytes
            self._usage.measured(*writer.pages(db))
        except BaseException:
            db.close()
            raise
        return db
