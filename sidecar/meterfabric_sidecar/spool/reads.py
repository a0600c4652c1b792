"""What can be asked of a spool: the half of it that only reads.

Every question is a lookup by (log, first) or a bisection of such; none walks a backlog.
"""

import sqlite3
from functools import partial

from . import boundaries, reader
from .clock import SpoolClock
from .files import Files
from .reader import BatchRow
from .rows import LogRow, Pending, RecentRow, Untold


class SpoolReads:
    """The questions; `Spool` inherits them. Methods raise KeyError for an unknown origin, and sqlite3.Error."""

    clock: SpoolClock
    _files: Files
    _ids: dict[str, int]

    async def logs(self) -> list[LogRow]:
        """All logs, oldest first, as committed."""
        return await self._files.read(reader.logs)

    async def log(self, origin: str) -> LogRow:
        """One log as committed."""
        return await self._files.read(partial(reader.log, log_id=self._ids[origin]))

    async def root_at(self, origin: str, size: int) -> bytes | None:
        """The log's root at a batch boundary; None where `size` is none."""
        return await self._files.read(partial(reader.root_at, log_id=self._ids[origin], size=size))

    async def batches(self, origin: str, first: int, count: int) -> list[BatchRow]:
        """Up to `count` batches from leaf `first` on, without their payloads."""
        return await self._files.read(partial(reader.batches_from, log_id=self._ids[origin], first=first, count=count))

    async def boundary_at(self, origin: str, first: int, sealed_by: float) -> int:
        """Where the last batch of records from `first` on ends that was sealed when `clock` read `sealed_by` or less;
        `first` where there is none."""
        log = self._ids[origin]
        return await self._files.read(lambda db: boundaries.boundary_at(db, log, first, sealed_by))

    async def boundary_after(self, origin: str, first: int, stored: int) -> int:
        """The end of the batch of records with which about `stored` payload bytes lie between `first` and it; at least
        one such batch where there is one, else `first`."""
        log = self._ids[origin]
        return await self._files.read(lambda db: boundaries.boundary_after(db, log, first, stored))

    async def pending(self, origin: str, position: int) -> Pending:
        """Records, bytes and age of what lies between a position (a boundary) and the log's end."""
        log, now = self._ids[origin], self.clock.now()
        return await self._files.read(lambda db: reader.pending(db, log, position, now))

    async def untold(self) -> list[Untold]:
        """Damaged batches without a notice about them: a crash came in between."""
        return await self._files.read(reader.untold)

    def recent(self, seq: int) -> RecentRow | None:
        """The keys stored under `seq`; None where they can't be read. Blocks for one lookup."""
        try:
            return self._files.look(partial(reader.recent, seq=seq))
        except sqlite3.Error:
            return None

    async def recent_after(self, seq: int, count: int) -> list[RecentRow]:
        """Up to `count` rows of keys after `seq`, oldest first."""
        return await self._files.read(partial(reader.recent_after, seq=seq, count=count))

    async def note(self, key: str) -> str | None:
        """A value kept with `keep_note`."""
        return await self._files.read(partial(reader.meta, key=key))
