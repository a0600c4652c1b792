"""What the spool hands out: logs, batches and cursors as values."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from meterfabric_protocol.checkpoint import parse
from meterfabric_protocol.delivery.effects import Parcel
from meterfabric_protocol.merkle import CompactRange

LogState: TypeAlias = Literal["active", "closed", "dead"]
"""active: grows; closed: ended by its `closed` notice; dead: its key was lost or thrown away."""


@dataclass(frozen=True, slots=True)
class LogRow:
    """One log. Sizes are leaves, `stored` payload bytes ever stored, times seconds of the spool clock.

    `chain` is its certificate chain (PEM), None until it is enrolled; past leaf `superseded_at` another log repeats it;
    past leaf `broken_at` one has yet to, since batches were lost there with a damaged database.
    """

    id: int
    origin: str
    public_key: bytes
    state: LogState
    frontier: CompactRange
    batches: int
    records: int
    stored: int
    dropped_to: int
    chain: bytes | None
    opened_at: float
    ended_at: float | None
    superseded_at: int | None
    broken_at: int | None

    @property
    def size(self) -> int:
        """Leaves in the log."""
        return self.frontier.size


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One batch, ready to travel.

    `header` is the encoded batch header: of kind "stub" where the payload is gone, else as sealed. `payload` is the
    body as it travels (compressed where the header says so), None for a stub. `note` is the signed checkpoint at
    `size`. `sealed_at` is the spool clock's reading. `damaged` says why a payload is gone that nobody dropped; a
    durable notice says so too.
    """

    origin: str
    first: int
    size: int
    kind: Literal["records", "notices"]
    header: bytes
    payload: bytes | None
    note: bytes
    records: int
    sealed_at: float
    damaged: str | None = None

    @property
    def parcel(self) -> Parcel:
        """The same as the delivery core takes it."""
        root = parse(self.note).checkpoint.root
        return Parcel(
            self.first, self.size, self.header, self.payload, self.note, root, self.damaged is not None, self.records
        )


@dataclass(frozen=True, slots=True)
class Untold:
    """A damaged batch that no notice tells of yet; `cause` is the notice's word."""

    origin: str
    first: int
    size: int
    cause: str


@dataclass(frozen=True, slots=True)
class Pending:
    """What lies between a position of a log and its end. `oldest` is seconds since the first such batch was sealed."""

    records: int
    bytes: int
    oldest: float


@dataclass(frozen=True, slots=True)
class Pressure:
    """How full the spool is, in bytes: `used` of `quota`, of which `reserve` is kept for notices and receipts.

    `missing` is how many bytes should be freed so that there is comfortable room for records.
    """

    used: int
    quota: int
    reserve: int
    missing: int

    @property
    def full(self) -> bool:
        """Whether records are refused."""
        return self.used >= self.quota - self.reserve


@dataclass(frozen=True, slots=True)
class RecentRow:
    """The keys of one batch's records and their leaf hashes, 32 bytes each in the same order; `stored` bytes in all."""

    seq: int
    sealed_at: float
    keys: list[str]
    leaf_hashes: bytes
    stored: int
