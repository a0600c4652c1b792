"""What a sink stores of a log, as values: its position, its batches, its evidence, and one commit's change to them.

The sink's state machine decides with these, every destination writes and reads them.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from meterfabric_protocol.merkle import EMPTY_ROOT

BatchKind: TypeAlias = Literal["records", "notices", "stub"]
LeafKind: TypeAlias = Literal["records", "notices"]

UNNAMED = -1
"""`Held.final_size` of a log whose end no later log has named."""


class Held(msgspec.Struct, frozen=True, gc=False):
    """How far a sink holds one log: the position row.

    `size` and `root` are the position (RFC 6962 section 2.1), `frontier` the hashes of the compact range [0, size)
    joined left to right. `records`, `notices` and `stubbed` count leaves and add up to `size`. `head_size` and
    `head_note` are the highest checkpoint heard. `public_key` is the raw Ed25519 key (32 bytes), `chain` the newest
    certificate chain heard, leaf first.

    `final_size` and `final_root` are where a later, enrolled log of the same pod (`vouched_by`) says in `continues`
    that this one ends, else UNNAMED: nothing past it is taken any more. `again_to` is the leaf up to which this log
    repeats batches of a forked one.
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
    final_size: int = UNNAMED
    final_root: bytes = b""
    vouched_by: str = ""
    again_to: int = 0


def blank(origin: str) -> Held:
    """The position of a log never seen."""
    return Held(origin, 0, EMPTY_ROOT, b"", 0, 0, 0, 0, b"", False, b"", b"")


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
    `held` is the whole new position row (`head_size` never falls, `closed` never opens again and a named end is never
    unnamed, whatever it says). `batches` follow each other from the expected size to the new one and may be empty (a
    head, a certificate or an equivocation alone). `notices` are the leaves of the batches of kind `notices`.
    """

    origin: str
    expected_size: int | None
    held: Held
    batches: tuple[StoredBatch, ...] = ()
    notices: tuple[StoredNotice, ...] = ()
    certificate: Certificate | None = None
    equivocation: Equivocation | None = None
