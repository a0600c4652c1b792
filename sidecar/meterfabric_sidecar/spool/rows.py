"""What the spool hands out: logs, batches and cursors as values."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from meterfabric_protocol.merkle import CompactRange

LogState: TypeAlias = Literal["active", "closed", "dead"]
"""active: grows; closed: ended by its `closed` notice; dead: its key was lost or thrown away."""


@dataclass(frozen=True, slots=True)
class LogRow:
    """One log. Sizes are leaves, `bytes` payload bytes ever stored, times seconds of the spool clock."""

    id: int
    origin: str
    public_key: bytes
    state: LogState
    frontier: CompactRange
    batches: int
    records: int
    bytes: int
    dropped_to: int
    chain: str | None
    opened_at: float
    superseded_at: float | None

    @property
    def size(self) -> int:
        """Leaves in the log."""
        return self.frontier.size


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One batch, ready to travel.

    `header` is the encoded batch header: of kind "stub" where the payload is gone, else as sealed. `payload` is the
    body as it travels (compressed where the header says so), None for a stub. `sealed_at` is the spool clock's reading.
    `damaged` says why a payload that should be here is in quarantine.
    """

    origin: str
    first: int
    size: int
    kind: Literal["records", "notices"]
    header: bytes
    payload: bytes | None
    records: int
    sealed_at: float
    damaged: str | None = None


@dataclass(frozen=True, slots=True)
class CursorRow:
    """How far one sink is with one log.

    `receipt` is the sink's cosignature line on the checkpoint at `acked`; leaves in [excused_from, excused_to) may
    travel to it as stubs; `joined` is the log's size when the sink joined, where it joined later; `gone` means it left.
    """

    origin: str
    sink: str
    acked: int = 0
    receipt: str | None = None
    excused_from: int | None = None
    excused_to: int | None = None
    joined: int | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """What lies between a position of a log and its end. `oldest` is seconds since the first such batch was sealed."""

    records: int
    bytes: int
    oldest: float


@dataclass(frozen=True, slots=True)
class Pressure:
    """How full the spool is, in bytes: `used` of `quota`, of which `reserve` is kept for notices and receipts."""

    used: int
    quota: int
    reserve: int

    @property
    def full(self) -> bool:
        """Whether records are refused."""
        return self.used >= self.quota - self.reserve


@dataclass(frozen=True, slots=True)
class RecentRow:
    """The keys of one batch's records and their leaf hashes, 32 bytes each in the same order."""

    seq: int
    sealed_at: float
    keys: list[str]
    leaf_hashes: bytes
