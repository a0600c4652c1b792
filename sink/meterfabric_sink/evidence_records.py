"""What the destinations with a table `records` share when they are read: its rows, found, counted and dealt out."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from .destination.base import StoredBatch
from .destination.columns import careful
from .evidence import Found

KEEP = "INSERT INTO erased(origin, idx, leaf_hash, erased_at, reason) VALUES(?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
FORGET = (
    "UPDATE records SET id = NULL, source = NULL, type = NULL, subject = NULL, time = NULL, data = NULL, raw = NULL"
    " WHERE origin = ? AND idx = ?"
)
_RECORDS = "SELECT idx, raw FROM records WHERE origin = ? AND idx >= ? AND idx < ? ORDER BY idx"
_ROWS = "SELECT origin, count(*) FROM records GROUP BY origin"
_ACCOUNTED = "SELECT origin, sum(size - first) FROM batches WHERE kind = 'records' GROUP BY origin"
_FOUND = "SELECT origin, idx FROM records WHERE id = ? AND source = ?"
# What a column couldn't hold is NULL there; such rows are few.
_HIDDEN = "SELECT origin, idx, raw FROM records WHERE (id IS NULL OR source IS NULL) AND raw IS NOT NULL"


class RecordTable(ABC):
    """The half of evidence.Store that asks the table `records`."""

    @abstractmethod
    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """See evidence.Store.query."""

    def records(self, batches: Sequence[StoredBatch]) -> Iterator[list[bytes | None]]:
        """See evidence.Store.records."""
        if not batches:
            return
        found = self.query(_RECORDS, (batches[0].origin, batches[0].first, batches[-1].size))
        at = 0
        for batch in batches:
            begin = at
            while at < len(found) and found[at][0] < batch.size:
                at += 1
            yield [raw for _, raw in found[begin:at]]

    def find(self, source: str, record_id: str) -> list[Found]:
        """See evidence.Store.find."""
        by_index = self.query(_FOUND, (record_id, source)) if self._column_holds(source, record_id) else []
        if by_index:
            return [Found(*row) for row in by_index]
        hidden = self.query(_HIDDEN)
        return [Found(origin, index) for origin, index, raw in hidden if is_it(raw, source, record_id)]

    def strays(self) -> Iterator[str]:
        """See evidence.Store.strays."""
        accounted = dict(self.query(_ACCOUNTED))
        for origin, count in self.query(_ROWS):
            if count > (most := int(accounted.get(origin, 0))):
                yield f"the table records has {count} rows of {origin}, its batches hold {most}"

    def _column_holds(self, source: str, record_id: str) -> bool:
        """Whether the columns can hold such values at all."""
        return True


def is_it(raw: bytes, source: str, record_id: str) -> bool:
    """Whether these bytes are the record with this source and id."""
    found = careful(raw)
    return found.id == record_id and found.source == source
