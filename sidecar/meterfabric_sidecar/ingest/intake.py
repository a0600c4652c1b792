"""What ingest needs of the sidecar: one call that returns when records are durable, and the ways it can refuse.

Ingest knows no spool. Whatever has this shape can stand behind it.
"""

from typing import Protocol

from meterfabric_protocol.record import Split


class Intake(Protocol):
    """Takes validated records into the log."""

    async def accept(self, split: Split) -> None:
        """Return once every record of `split` is durable or known to be a repeat; raise Refused and keep none.

        Calls are answered in any order but take their places in the log in the order in which they were begun.
        """


class Refused(Exception):
    """Records that were not taken, all of one call together. `detail` is for the sender's eyes."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Full(Refused):
    """The spool has no room; worth another try after `retry_after` seconds."""

    def __init__(self, retry_after: float, detail: str = "the spool is full") -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unavailable(Refused):
    """The sidecar takes nothing just now (starting, stopping, disk dead); again after `retry_after` seconds."""

    def __init__(self, retry_after: float, detail: str) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Conflict(Refused):
    """Record `index` has the source and id of an earlier one, and other bytes."""

    def __init__(self, index: int, source: str, id: str) -> None:
        super().__init__("another record with this source and id was accepted before")
        self.index = index
        self.source = source
        self.id = id


class TooLarge(Refused):
    """More than can ever be taken at once: `value` seen against `limit`."""

    def __init__(self, detail: str, limit: int, value: int) -> None:
        super().__init__(detail)
        self.limit = limit
        self.value = value
