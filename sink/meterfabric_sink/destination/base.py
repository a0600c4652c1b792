"""What every destination does, in values and one protocol, so that a worker never knows which one it writes to.

The rule that makes delivery exactly-once lives here: a commit names the position it believes each log to be at, and
writes everything or, where one position has moved, nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from meterfabric_protocol.delivery.stored import (
    BatchKind,
    Certificate,
    Equivocation,
    Held,
    LeafKind,
    LogUpdate,
    StoredBatch,
    StoredNotice,
)

__all__ = [
    "BatchKind",
    "Certificate",
    "Destination",
    "DestinationDown",
    "DestinationError",
    "DestinationInUse",
    "DestinationRefused",
    "Equivocation",
    "Held",
    "LeafKind",
    "LogUpdate",
    "PositionMoved",
    "StoredBatch",
    "StoredNotice",
]


class DestinationError(Exception):
    """Base of all that a destination raises."""


class DestinationDown(DestinationError):
    """The destination can't be reached or can't write now (outage, full disk). Nothing of the commit is kept, or its
    outcome is unknown; either way the worker reads the positions again before it goes on."""


class DestinationInUse(DestinationDown):
    """Another worker holds the lock of a destination that takes one worker."""


class DestinationRefused(DestinationError):
    """The destination is there and says no: what is stored is damaged or of another release, a privilege is missing, a
    constraint is in the way. Nothing of the commit is kept. Waiting doesn't help, the message says what does."""


class PositionMoved(DestinationError):
    """At least one log is not at the position the commit expected; nothing was written.

    `origins` names the logs concerned.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self.origins = tuple(origins)
        super().__init__(f"position moved: {', '.join(self.origins)}")


class Destination(Protocol):
    """Durable home of records and evidence. All methods raise DestinationDown while it can't be reached,
    DestinationRefused where it won't."""

    kind: Literal["transactional", "idempotent"]
    workers: Literal["one", "many"]

    async def open(self) -> None:
        """Connect, lock where one worker is allowed, create or migrate the schema, drop what was never committed.

        Raises DestinationInUse when locked, DestinationRefused when what is stored can't be used.
        """

    async def close(self) -> None:
        """Release everything; safe to call twice."""

    async def introduce(self, own: Certificate) -> None:
        """Keep a certificate chain of the sink itself, so that what it cosigns verifies from the destination alone.

        Those of before stay; a chain that is kept already changes nothing.
        """

    async def positions(self, origins: Iterable[str]) -> dict[str, Held]:
        """The committed position of each of these logs; a log never seen is absent."""

    async def commit(self, updates: Sequence[LogUpdate]) -> None:
        """Write all updates in one transaction (at most one for each origin); durable when this returns.

        Raises PositionMoved, having written nothing, when a log is not at its expected size; DestinationDown when the
        outcome is unknown or nothing was written.
        """

    async def receipt(self, origin: str, size: int) -> StoredBatch | None:
        """The stored batch that ends at `size` (without payload), so that an old batch gets its receipt again."""

    async def boundary_at_or_below(self, origin: str, size: int) -> StoredBatch | None:
        """The last stored batch (without payload) that ends at or before `size`; None where there is none."""

    async def notices(self, origin: str) -> list[StoredNotice]:
        """Every notice leaf held of this log, in order (few: they are never many against records)."""
