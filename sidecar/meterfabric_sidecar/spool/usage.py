"""How many bytes the spool takes, kept current without counting anything.

`used` is what can't be given to new records: pages in use, the WAL (at least what it is let grow to, for it will), the
ballast and the quarantine. Pages that drops freed inside the file are room for new records, so dropping makes room at
once; they are also still on the disk. What keeps the disk within the quota is that the file only ever grew while `used`
did, and that free pages are given back (`excess`) when quarantine or WAL need the room.
"""

from pathlib import Path
from typing import Final

from .rows import Pressure
from .schema import PAGE_BYTES
from .settings import SpoolSettings

_OVERHEAD: Final = 65_536
"""What a commit may take besides its payload: ends of B-trees, a pointer map."""
_ROWS: Final = 4_096
"""What it takes on average."""


class Usage:
    """The spool's bytes as of the last measurement and what was committed since."""

    def __init__(self, settings: SpoolSettings, database: Path) -> None:
        self._settings = settings
        self._wal_file = database.with_name(database.name + "-wal")
        self._pages = 0
        self._free = 0
        self._since = 0
        self.wal = 0
        self.quarantine = 0

    def measured(self, pages: int, free: int) -> None:
        """Take over the database's page counts, and look at the WAL's size."""
        self._pages, self._free, self._since = pages, free, 0
        try:
            self.wal = self._wal_file.stat().st_size
        except OSError:
            self.wal = 0

    def committed(self, stored: int) -> None:
        """Count a commit of `stored` payload bytes until the next measurement."""
        self._since += stored + stored // 8 + _ROWS

    @property
    def stale(self) -> bool:
        """Whether it is time to measure: always where it is tight."""
        settings = self._settings
        tight = self.used > settings.quota - settings.reserve - settings.quota // 8
        return tight or self._since > settings.quota // 64

    @property
    def used(self) -> int:
        """Bytes that new records can't have."""
        held = (self._pages - self._free) * PAGE_BYTES + self._since
        return held + max(self.wal, self._settings.wal) + self._settings.ballast + self.quarantine

    @property
    def excess(self) -> int:
        """Free pages to give back so that what is on the disk stays within the quota."""
        settings = self._settings
        on_disk = self._pages * PAGE_BYTES + max(self.wal, settings.wal) + settings.ballast + self.quarantine
        return max(0, min(self._free, -(-(on_disk - settings.quota) // PAGE_BYTES)))

    @property
    def idle_excess(self) -> int:
        """Free pages worth giving back when there is nothing else to do: where over a quarter of the file is free."""
        return self._free - self._pages // 4 if self._free > max(256, self._pages // 4) else 0

    def room_for(self, stored: int) -> bool:
        """Whether `stored` more payload bytes fit below quota and reserve."""
        settings = self._settings
        return self.used + stored + stored // 8 + _OVERHEAD <= settings.quota - settings.reserve

    def pressure(self) -> Pressure:
        """The same for the delivery core."""
        settings = self._settings
        comfortable = settings.quota - settings.reserve - settings.quota // 16
        return Pressure(self.used, settings.quota, settings.reserve, max(0, self.used - comfortable))
