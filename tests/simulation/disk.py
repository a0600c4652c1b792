"""A sidecar's disk: the spool and the folder of the key. What is here survives a crash; a copy of it is a backup.

Values in it are never changed in place, so that a copy is cheap and stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from meterfabric_protocol.batch import BatchHeader, encode_header
from meterfabric_protocol.delivery.effects import CursorRow, LogFacts, Parcel
from meterfabric_protocol.merkle import EMPTY_ROOT, CompactRange

State = Literal["active", "closed", "dead"]


@dataclass(frozen=True)
class SpoolBatch:
    """A sealed batch. ``rotten``: what the disk gives back is not what was written, which nobody knows before it is
    read. ``damaged``: that was noticed, and the payload is in quarantine; ``told``: a durable notice says so."""

    first: int
    size: int
    header: BatchHeader
    payload: bytes | None
    root: bytes
    frontier: CompactRange
    sealed_at: float
    rotten: bool = False
    damaged: bool = False
    told: bool = False

    def parcel(self) -> Parcel:
        """As it travels."""
        header = self.header if self.payload is not None else self.header.stub()
        return Parcel(
            self.first, self.size, encode_header(header), self.payload, self.header.note, self.root, self.damaged
        )


@dataclass(frozen=True)
class SpoolLog:
    """One log. ``key`` is the name of its key, ``chain`` None until it is enrolled."""

    origin: str
    key: str
    state: State
    batches: tuple[SpoolBatch, ...] = ()
    chain: bytes | None = None
    dropped_to: int = 0
    superseded_at: int | None = None
    records: int = 0

    @property
    def frontier(self) -> CompactRange:
        return self.batches[-1].frontier if self.batches else CompactRange.empty()

    @property
    def size(self) -> int:
        return self.batches[-1].size if self.batches else 0

    @property
    def root(self) -> bytes:
        return self.batches[-1].root if self.batches else EMPTY_ROOT

    def root_at(self, size: int) -> bytes | None:
        """The root at a batch boundary, None where ``size`` is none."""
        if size == 0:
            return EMPTY_ROOT
        return next((batch.root for batch in self.batches if batch.size == size), None)

    def facts(self, bare: bytes, cursors: dict[str, CursorRow]) -> LogFacts:
        """As the core takes it."""
        note = self.batches[-1].header.note if self.batches else b""
        return LogFacts(
            self.origin,
            self.size,
            self.state == "active",
            self.chain or bare,
            note,
            self.dropped_to,
            self.superseded_at,
            cursors,
        )


@dataclass
class Disk:
    """The spool of one sidecar. ``sinks`` are the fabric's sinks as the spool last knew them."""

    logs: dict[str, SpoolLog] = field(default_factory=dict)
    cursors: dict[tuple[str, str], CursorRow] = field(default_factory=dict)
    sinks: tuple[str, ...] = ()
    clock: float = 0.0

    def copy(self) -> Disk:
        """A backup."""
        return Disk(dict(self.logs), dict(self.cursors), self.sinks, self.clock)

    @property
    def active(self) -> SpoolLog:
        """The log that grows."""
        return next(log for log in reversed(self.logs.values()) if log.state == "active")

    @property
    def bytes(self) -> int:
        """What payloads take."""
        return sum(len(b.payload) for log in self.logs.values() for b in log.batches if b.payload is not None)

    def change(self, origin: str, first: int, batch: SpoolBatch) -> None:
        """Put a batch in the place of the one that begins there."""
        log = self.logs[origin]
        batches = tuple(batch if old.first == first else old for old in log.batches)
        self.logs[origin] = replace(log, batches=batches)

    def drop(self, origin: str, size: int) -> None:
        """Let go of the payloads of records before ``size``."""
        log = self.logs.get(origin)
        if log is None or size <= log.dropped_to:
            return
        batches = tuple(
            replace(b, payload=None) if b.size <= size and b.header.of == "records" else b for b in log.batches
        )
        self.logs[origin] = replace(log, batches=batches, dropped_to=size)


@dataclass(frozen=True)
class Head:
    """What the key signed last, kept beside it."""

    origin: str
    size: int
    root: bytes


@dataclass
class KeyFolder:
    """The key, by name, and its head. In memory-backed storage: it lives and dies apart from the disk."""

    key: str | None = None
    head: Head | None = None

    def copy(self) -> KeyFolder:
        """A backup."""
        return replace(self)
