"""A log as the producer's delivery sees it: how far it goes, its cursors, and the batches it has at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from meterfabric_protocol.delivery.cursor import Cursor
from meterfabric_protocol.delivery.effects import LogFacts, Parcel


class Log:
    """One log. Batches at hand (`parcels`, by first leaf) are few and bounded; the spool has them all."""

    def __init__(self, facts: LogFacts) -> None:
        self.origin = facts.origin
        self.size = facts.size
        self.active = facts.active
        self.chain = facts.chain
        self.note = facts.note
        self.dropped_to = facts.dropped_to
        self.superseded_at = facts.superseded_at
        self.cursors: dict[str, Cursor] = {}
        self.parcels: dict[int, Parcel] = {}
        self.parcel_bytes = 0
        self.unreadable_until = 0.0
        self.finished_at: float | None = None
        self.marks: list[tuple[float, int]] = []

    @property
    def end(self) -> int:
        """The leaf up to which this log is delivered."""
        return self.size if self.superseded_at is None else min(self.size, self.superseded_at)

    @property
    def floor(self) -> int:
        """Leaves below are owed to no sink any more; 0 while there is no sink at all.

        What lies past the end of a forked log is kept until the log is forgotten: until another repeats it, durably,
        it is the only copy.
        """
        return min((min(cursor.floor, self.end) for cursor in self.cursors.values()), default=0)

    @property
    def finished(self) -> bool:
        """Whether every sink has all of it, and nothing is left to say of what it has not."""
        return bool(self.cursors) and all(
            cursor.acked >= self.end and cursor.floor >= self.dropped_to for cursor in self.cursors.values()
        )

    def goal(self, cursor: Cursor) -> int:
        """The leaf up to which a cursor goes: the log's end, and past it only to learn what the sink has of those
        leaves whose payload is gone, since no other log repeats them."""
        return max(self.end, cursor.acked, min(self.dropped_to, cursor.told) if cursor.walking else 0)

    def has_lost(self, cursor: Cursor) -> bool:
        """Whether the sink lacks leaves past the end whose payload is gone, so that nothing will bring them there."""
        asked = cursor.known and cursor.settled and not (cursor.proving or cursor.joining)
        return asked and cursor.sent == cursor.acked and cursor.acked >= self.end and cursor.floor < self.dropped_to

    def append(self, parcel: Parcel, room: int) -> None:
        """A batch was sealed; it is kept at hand only if the spool need not be asked for those before it."""
        if parcel.first != self.size:
            raise ValueError(f"batch [{parcel.first}, {parcel.size}) does not go on {self.origin} at {self.size}")
        self.size, self.note = parcel.size, parcel.note
        if any(cursor.sent == parcel.first or cursor.sent in self.parcels for cursor in self.cursors.values()):
            self.cache((parcel,), room)

    def cache(self, parcels: Sequence[Parcel], room: int) -> None:
        """Keep batches at hand; what does not fit is left to the spool, but never the one that is next."""
        wanted = {cursor.sent for cursor in self.cursors.values()}
        for parcel in parcels:
            cost = len(parcel.payload or b"")
            if parcel.first in self.parcels or (self.parcel_bytes + cost > room and parcel.first not in wanted):
                continue
            self.parcels[parcel.first] = parcel
            self.parcel_bytes += cost

    def trim(self, room: int) -> None:
        """Let go of what every cursor has behind it, and of the rest where there is too much of it."""
        least = min((cursor.sent for cursor in self.cursors.values()), default=self.size)
        wanted = {cursor.sent for cursor in self.cursors.values()}
        for first, parcel in list(self.parcels.items()):
            if parcel.size <= least or (self.parcel_bytes > room and first not in wanted):
                self.discard(first)

    def discard(self, first: int) -> None:
        """Let go of one batch: it changed in the spool."""
        parcel = self.parcels.pop(first, None)
        if parcel is not None:
            self.parcel_bytes -= len(parcel.payload or b"")

    def ready_bytes(self, first: int) -> int:
        """Bytes at hand from ``first`` on without a gap."""
        total = 0
        while (parcel := self.parcels.get(first)) is not None:
            total += len(parcel.payload or b"") + len(parcel.header) + len(self.chain) + 256
            first = parcel.size
        return total


def cursors(logs: Mapping[str, Log]) -> Iterator[tuple[Log, Cursor]]:
    """Every cursor with its log."""
    for log in logs.values():
        for cursor in log.cursors.values():
            yield log, cursor
