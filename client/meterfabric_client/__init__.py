"""What applications import: `Meter` and `AsyncMeter`, which carry usage records to the sidecar beside them."""

from .async_meter import AsyncMeter
from .errors import BackPressure, Closed, MeterError, RecordsRejected, Rejected, Undelivered
from .meter import Meter
from .options import Options
from .pipeline import Stats

__all__ = [
    "AsyncMeter",
    "BackPressure",
    "Closed",
    "Meter",
    "MeterError",
    "Options",
    "RecordsRejected",
    "Rejected",
    "Stats",
    "Undelivered",
]
