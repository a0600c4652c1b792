"""The spool: the sidecar's durable store of batches, on SQLite."""

from .files import SpoolFull
from .lock import SpoolLocked
from .rows import LogRow, Pending, Pressure, StoredBatch, Untold
from .schema import SpoolUnusable
from .settings import SpoolSettings
from .store import Spool

__all__ = [
    "LogRow",
    "Pending",
    "Pressure",
    "Spool",
    "SpoolFull",
    "SpoolLocked",
    "SpoolSettings",
    "SpoolUnusable",
    "StoredBatch",
    "Untold",
]
