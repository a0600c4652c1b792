"""The spool's own clock, by which batches age.

It advances with monotonic time while the sidecar runs and stands still while it doesn't, so that neither a jump of the
wall clock nor a pod that slept expires a record.
"""

from collections.abc import Callable
from datetime import UTC, datetime


class SpoolClock:
    """Seconds since the spool was made, counting only time it was open.

    `start` is what was persisted last (whoever persists does so with every commit and every few seconds; a crash loses
    the seconds since, which makes records younger, never older).
    """

    def __init__(self, start: float, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._offset = start - monotonic()

    def now(self) -> float:
        """The clock's reading in seconds."""
        return self._offset + self._monotonic()

    def move_to(self, reading: float) -> None:
        """Go on from `reading` where that is later: a reopened database may have persisted more than this knows."""
        self._offset = max(self._offset, reading - self._monotonic())


def utc_now() -> str:
    """The wall clock for people, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
