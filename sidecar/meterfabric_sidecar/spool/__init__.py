"""The spool: the sidecar's durable store of batches, on SQLite."""

from .lock import SpoolLocked
from .rows import CursorRow, LogRow, Pending, Pressure, StoredBatch
from .settings import SpoolSettings
from .store import Spool, SpoolFull

__all__ = [
    "CursorRow",
    "LogRow",
    "Pending",
    "Pressure",
    "Spool",
    "SpoolFull",
    "SpoolLocked",
    "SpoolSettings",
    "StoredBatch",
]
