"""What the spool does on the side: cursors, drops, the clock and the file's size.

None of it needs an fsync of its own: it waits a moment for a commit to travel along with.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from meterfabric_protocol.delivery.effects import CursorRow

from . import writer
from .ballast import Ballast
from .clock import utc_now
from .files import SpoolFull
from .reads import SpoolReads
from .settings import SpoolSettings
from .usage import Usage
from .waiting import Upkeep

UPKEEP_SECONDS: Final = 0.1
"""How long a cursor or a drop waits for others, and for a commit to travel along with."""
CLOCK_SECONDS: Final = 5.0
"""How often the clock is persisted when nothing else is."""
_SHRINK_PAGES: Final = 64


class SpoolUpkeep(SpoolReads):
    """The upkeep; `Spool` inherits it."""

    _settings: SpoolSettings
    _usage: Usage
    _ballast: Ballast
    _upkeep: Upkeep
    _upkeep_due: float

    def save_cursor(self, origin: str, sink: str, row: CursorRow) -> None:
        """Keep a cursor; durable within UPKEEP_SECONDS, for losing it only repeats a receipt."""
        self._upkeep.cursors[self._ids[origin], sink] = row

    def remove_cursor(self, origin: str, sink: str) -> None:
        """The sink left."""
        self._upkeep.cursors[self._ids[origin], sink] = None

    def drop_to(self, origin: str, size: int) -> None:
        """Let go of the payloads of all records before leaf `size` (a boundary); roots and checkpoints stay.

        Done in bounded steps in the background.
        """
        self._upkeep.drop(self._ids[origin], size)

    def forget_recent(self, before: int) -> None:
        """Rows of the window below this seq may go."""
        self._upkeep.recent_before = max(before, self._upkeep.recent_before)

    async def flush(self) -> None:
        """Store what waits now: cursors, the clock and a step of the drops."""
        work, now, utc = self._take_upkeep(), self.clock.now(), utc_now()

        def keep_up(db: sqlite3.Connection) -> Upkeep:
            left = writer.upkeep(db, work, now, utc)
            self._ballast.take()
            self._usage.measured(*writer.pages(db))
            if self._usage.wal > 2 * self._settings.wal:
                writer.fold_wal(db)
            if excess := self._usage.excess or self._usage.idle_excess:
                writer.shrink(db, min(excess, _SHRINK_PAGES))
                self._usage.measured(*writer.pages(db))
            return left

        await self._keeping(work, keep_up)

    def _take_upkeep(self) -> Upkeep:
        work, self._upkeep = self._upkeep, Upkeep()
        self._upkeep_due = self.clock.now() + UPKEEP_SECONDS
        return work

    async def _keeping(self, work: Upkeep, action: Callable[[sqlite3.Connection], Upkeep]) -> None:
        left = work
        try:
            left = await self._files.write(action)
        finally:
            self._upkeep.add_older(left)

    async def _keep_up(self) -> None:
        persisted = self.clock.now()
        while True:
            await asyncio.sleep(UPKEEP_SECONDS)
            now = self.clock.now()
            waits = bool(self._upkeep) and now >= self._upkeep_due
            if (
                waits
                or self._files.failure
                or not self._ballast.held
                or now - persisted >= CLOCK_SECONDS
                or self._usage.excess
            ):
                with suppress(SpoolFull):
                    await self.flush()
                    persisted = now
