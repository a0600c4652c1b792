"""Reading a sink afterwards: every log, batch, notice and certificate as stored, and one record found or erased.

An auditor needs nothing but this and a trust bundle. What is read is what the disk says, whether it fits together or
not: to judge that is the reader's part. Reading disturbs no worker and needs no lock. Works alike on every
destination, since their evidence tables have the same names and columns; `Store` is what differs.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec

from meterfabric_protocol.merkle import CompactRange, leaf_hash, leaf_hashes

from .destination import rows
from .destination.base import Certificate, Equivocation, Held, StoredBatch, StoredNotice
from .destination.open import local_path, shown_url
from .destination.rows import BATCH_COLUMNS, HELD_COLUMNS

PAGE_ROWS = 500


class Erased(msgspec.Struct, frozen=True):
    """What stays of an erased record: its leaf hash, when (Unix seconds) and why it was erased."""

    leaf_hash: bytes
    erased_at: int
    reason: str


class Found(msgspec.Struct, frozen=True):
    """Where a record is: its log and its leaf index."""

    origin: str
    index: int


class HeldLeaves(msgspec.Struct, frozen=True):
    """A batch and the leaves stored for it, in order; None where the leaf was erased. A stub has none.

    A damaged store may give fewer or other leaves than the batch says.
    """

    batch: StoredBatch
    leaves: list[bytes | None]
    erased: dict[int, Erased]

    def hashes(self) -> bytes:
        """The leaf hashes, computed from the leaves, or as kept where the leaf was erased."""
        if not self.erased:
            return leaf_hashes(leaf for leaf in self.leaves if leaf is not None)
        return b"".join(
            self.erased[index].leaf_hash if leaf is None else leaf_hash(leaf)
            for index, leaf in enumerate(self.leaves, self.batch.first)
        )


class Store(Protocol):
    """One destination's files or database, opened for reading."""

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of one statement over the evidence tables; parameters are question marks."""

    def records(self, batches: Sequence[StoredBatch]) -> Iterator[list[bytes | None]]:
        """The leaves of each of these batches of records (of one log, in order); None where one is no longer stored."""

    def find(self, source: str, record_id: str) -> list[Found]:
        """Every record with this source and id that isn't erased."""

    def strays(self) -> Iterator[str]:
        """What is stored as records and belongs to no batch: whoever reads the records would take it for one."""

    def astray(self, origin: str) -> Iterator[int]:
        """The records of a log whose queryable columns say other than their bytes do, in order."""

    def erase(self, origin: str, index: int, hashed: bytes, erased_at: int, reason: str) -> None:
        """Keep the leaf's hash and destroy its bytes, in an order that a crash can't spoil; once erased, a no-op."""

    def close(self) -> None:
        """Release files and connections."""


class Evidence:
    """All that a sink holds, log by log."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> "Evidence":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the store."""
        self._store.close()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of one statement, as `Store.query`."""
        return self._store.query(sql, parameters)

    def logs(self) -> Iterator[Held]:
        """Every log's position, in the order of their origins."""
        last = ""
        sql = f"SELECT {HELD_COLUMNS} FROM logs WHERE origin > ? ORDER BY origin LIMIT {PAGE_ROWS}"  # noqa: S608
        while found := self._store.query(sql, (last,)):
            yield from map(rows.held, found)
            last = found[-1][0]

    def log(self, origin: str) -> Held | None:
        """One log's position, None where the sink never heard of it."""
        found = self._store.query(f"SELECT {HELD_COLUMNS} FROM logs WHERE origin = ?", (origin,))  # noqa: S608
        return rows.held(found[0]) if found else None

    def batches(self, origin: str, *, start: int = 0, below: int | None = None) -> Iterator[StoredBatch]:
        """The batches of a log in order, without their leaves; those that begin from leaf `start` to below `below`."""
        end = 2**63 - 1 if below is None else below
        sql = (
            f"SELECT {BATCH_COLUMNS} FROM batches WHERE origin = ? AND first >= ? AND first < ?"  # noqa: S608
            f" ORDER BY first LIMIT {PAGE_ROWS}"
        )
        while found := self._store.query(sql, (origin, start, end)):
            yield from map(rows.batch, found)
            start = found[-1][1] + 1

    def leaves(self, origin: str) -> Iterator[HeldLeaves]:
        """The batches of a log in order, with their leaves."""
        erased = self.erased(origin)
        notices = {notice.index: notice.body for notice in self.notices(origin)}
        group: list[StoredBatch] = []
        for batch in self.batches(origin):
            group.append(batch)
            if batch.size - group[0].first >= PAGE_ROWS:
                yield from self._held(group, notices, erased)
                group = []
        yield from self._held(group, notices, erased)

    def batch_of(self, origin: str, index: int) -> HeldLeaves | None:
        """The batch that holds a leaf, with its leaves; None where the sink's log doesn't reach it."""
        sql = (
            f"SELECT {BATCH_COLUMNS} FROM batches WHERE origin = ? AND first <= ?"  # noqa: S608
            " ORDER BY first DESC LIMIT 1"
        )
        found = [rows.batch(row) for row in self._store.query(sql, (origin, index))]
        if not found or found[0].size <= index:
            return None
        notices = {notice.index: notice.body for notice in self.notices(origin)} if found[0].kind == "notices" else {}
        return next(self._held(found, notices, self.erased(origin)))

    def range(self, origin: str, first: int, size: int) -> CompactRange:
        """The compact range of a log's batches from leaf `first` to below `size`, glued from their stored roots; it
        ends before `size` where no more is held.

        Raises Malformed or ValueError when the stored roots don't fit together.
        """
        glued = CompactRange.empty(first)
        for batch in self.batches(origin, start=first, below=size):
            glued = glued.extend(CompactRange.decode(batch.first, batch.size, batch.roots))
        return glued

    def notices(self, origin: str) -> list[StoredNotice]:
        """The notice leaves of a log, in order."""
        found = self._store.query("SELECT idx, body FROM notices WHERE origin = ? ORDER BY idx", (origin,))
        return [StoredNotice(index, bytes(body)) for index, body in found]

    def certificates(self, origin: str) -> list[Certificate]:
        """The certificate chains heard for a log, in the order they were first seen."""
        sql = "SELECT chain, not_before, not_after FROM certificates WHERE origin = ? ORDER BY first_seen, not_before"
        return [Certificate(bytes(chain), *validity) for chain, *validity in self._store.query(sql, (origin,))]

    def sink_certificates(self) -> list[Certificate]:
        """The sink's own certificate chains, in the order in which it first wrote under them."""
        sql = "SELECT chain, not_before, not_after FROM sink_certificates ORDER BY first_seen, not_before"
        return [Certificate(bytes(chain), *validity) for chain, *validity in self._store.query(sql)]

    def equivocations(self, origin: str) -> list[Equivocation]:
        """The pairs of checkpoints of a log that can't both be true."""
        sql = "SELECT size, note_held, note_seen, seen_at FROM equivocations WHERE origin = ? ORDER BY size, seen_at"
        found = self._store.query(sql, (origin,))
        return [Equivocation(size, bytes(held), bytes(seen), at) for size, held, seen, at in found]

    def erased(self, origin: str) -> dict[int, Erased]:
        """What stays of each erased record of a log, by leaf index."""
        sql = "SELECT idx, leaf_hash, erased_at, reason FROM erased WHERE origin = ?"
        return {
            index: Erased(bytes(hashed), at, reason) for index, hashed, at, reason in self._store.query(sql, (origin,))
        }

    def find(self, source: str, record_id: str) -> list[Found]:
        """Every record with this source and id that isn't erased."""
        return self._store.find(source, record_id)

    def strays(self) -> Iterator[str]:
        """What is stored as records and belongs to no batch, a sentence each; none in a sink that is whole."""
        return self._store.strays()

    def astray(self, origin: str) -> Iterator[int]:
        """The records of a log whose queryable columns say other than their bytes do, by leaf index, in order.

        A destination without such columns has none. Costs as much as reading every record again.
        """
        return self._store.astray(origin)

    def erase(self, found: Found, *, reason: str, erased_at: int) -> bool:
        """Destroy a record's bytes and keep its leaf hash, so that everything else still verifies.

        `erased_at` is in Unix seconds. True when done now, False when it was erased before (its destruction is then
        finished, should a crash have cut it short). Raises LookupError when no record is there.
        """
        held = self.batch_of(found.origin, found.index)
        if held is None or held.batch.kind != "records" or len(held.leaves) != held.batch.size - held.batch.first:
            raise LookupError(f"no record at index {found.index} of {found.origin}")
        leaf = held.leaves[found.index - held.batch.first]
        before = held.erased.get(found.index)
        if leaf is None and before is None:
            raise LookupError(f"the record at index {found.index} of {found.origin} is missing, and was never erased")
        hashed = leaf_hash(leaf) if leaf is not None else b""
        self._store.erase(found.origin, found.index, before.leaf_hash if before else hashed, erased_at, reason)
        return before is None

    def _held(
        self, batches: Sequence[StoredBatch], notices: dict[int, bytes], erased: dict[int, Erased]
    ) -> Iterator[HeldLeaves]:
        records = self._store.records([batch for batch in batches if batch.kind == "records"])
        for batch in batches:
            leaves: list[bytes | None] = []
            gone: dict[int, Erased] = {}
            if batch.kind == "records":
                leaves = next(records)
                if erased:
                    gone = {index: erased[index] for index in range(batch.first, batch.size) if index in erased}
                    for index in gone:
                        if index - batch.first < len(leaves):
                            leaves[index - batch.first] = None
            elif batch.kind == "notices":
                leaves = [notices[index] for index in range(batch.first, batch.size) if index in notices]
            yield HeldLeaves(batch, leaves, gone)


def open_evidence(url: str) -> Evidence:
    """Open what `url` (`file:DIR`, `sqlite:PATH`, `postgresql://…`) holds, for reading and erasing.

    Raises DestinationRefused or DestinationDown when it can't be read, ValueError for another URL.
    """
    scheme = url.partition(":")[0]
    if scheme == "file":
        from .evidence_file import FileStore  # noqa: PLC0415 - each destination's needs are its own

        return Evidence(FileStore(local_path(url)))
    if scheme == "sqlite":
        from .evidence_sqlite import SqliteStore  # noqa: PLC0415

        return Evidence(SqliteStore(local_path(url)))
    if url.startswith(("postgresql://", "postgres://")):
        from .evidence_postgres import PostgresStore  # noqa: PLC0415

        return Evidence(PostgresStore(url))
    raise ValueError(f"sink URL {shown_url(url)!r}: expected file:DIR, sqlite:PATH or postgresql://…")
