"""What every destination does, in values and one protocol, so that a worker never knows which one it writes to.

The rule that makes delivery exactly-once lives here: a commit names the position it believes each log to be at, and
writes everything or, where one position has moved, nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import msgspec

BatchKind = Literal["records", "notices", "stub"]
LeafKind = Literal["records", "notices"]


class DestinationError(Exception):
    """Base of all that a destination raises."""


class DestinationDown(DestinationError):
    """The destination can't be reached or can't write now (outage, full disk). Nothing of the commit is kept, or its
    outcome is unknown; either way the worker reads the positions again before it goes on."""


class DestinationInUse(DestinationDown):
    """Another worker holds the lock of a destination that takes one worker."""


class DestinationRefused(DestinationError):
    """What is stored can't be used by this release or is damaged; waiting doesn't help, the message says what does."""


class PositionMoved(DestinationError):
    """At least one log is not at the position the commit expected; nothing was written.

    `origins` names the logs concerned.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self.origins = tuple(origins)
        super().__init__(f"position moved: {', '.join(self.origins)}")


class Held(msgspec.Struct, frozen=True, gc=False):
    """How far a sink holds one log: the position row.

    `size` and `root` are the position (RFC 6962 section 2.1), `frontier` the hashes of the compact range [0, size)
    joined left to right. `records`, `notices` and `stubbed` count leaves and add up to `size`. `head_size` and
    `head_note` are the highest checkpoint heard. `public_key` is the raw Ed25519 key (32 bytes), `chain` the newest
    certificate chain heard, leaf first.
    """

    origin: str
    size: int
    root: bytes
    frontier: bytes
    records: int
    notices: int
    stubbed: int
    head_size: int
    head_note: bytes
    closed: bool
    public_key: bytes
    chain: bytes


class StoredBatch(msgspec.Struct, frozen=True, gc=False):
    """One batch, leaves [first, size), as a sink keeps it.

    `kind` is what is held, `of` what the leaves were (they differ for a stub). `note` is the signed checkpoint at
    `size`, `roots` the joined hashes of the compact range [first, size), `cosignature` this sink's signature line
    (C2SP tlog-cosignature) and None for a stub, `time` the cosigning time in Unix seconds (for a stub: the time it
    was taken). `payload` is every leaf followed by a line feed when a batch is committed, and empty where a batch is
    answered from store or is a stub.
    """

    origin: str
    first: int
    size: int
    kind: BatchKind
    of: LeafKind
    note: bytes
    roots: bytes
    cosignature: str | None
    time: int
    payload: bytes


class StoredNotice(msgspec.Struct, frozen=True, gc=False):
    """One notice leaf: its index in its log and its exact bytes (with the leading `!`)."""

    index: int
    body: bytes


class Certificate(msgspec.Struct, frozen=True, gc=False):
    """A producer's certificate chain, leaf first, and its validity in Unix seconds."""

    chain: bytes
    not_before: int
    not_after: int


class Equivocation(msgspec.Struct, frozen=True, gc=False):
    """Two checkpoints of one log that can't both be true, the one held and the one seen; `size` is where they part."""

    size: int
    note_held: bytes
    note_seen: bytes
    seen_at: int


class LogUpdate(msgspec.Struct, frozen=True, gc=False):
    """What one commit does to one log.

    `expected_size` is the position the worker believes the sink to hold; None and 0 both mean that no leaf is held.
    `held` is the whole new position row (`head_size` never falls and `closed` never opens again, whatever it says).
    `batches` follow each other from the expected size to the new one and may be empty (a head, a certificate or an
    equivocation alone). `notices` are the leaves of the batches of kind `notices`.
    """

    origin: str
    expected_size: int | None
    held: Held
    batches: tuple[StoredBatch, ...] = ()
    notices: tuple[StoredNotice, ...] = ()
    certificate: Certificate | None = None
    equivocation: Equivocation | None = None


class Destination(Protocol):
    """Durable home of records and evidence. All methods raise DestinationDown while it can't be reached."""

    kind: Literal["transactional", "idempotent"]
    workers: Literal["one", "many"]

    async def open(self) -> None:
        """Connect, lock where one worker is allowed, create or migrate the schema, drop what was never committed.

        Raises DestinationInUse when locked, DestinationRefused when what is stored can't be used.
        """

    async def close(self) -> None:
        """Release everything; safe to call twice."""

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
