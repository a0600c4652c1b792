"""A cursor: how far one sink has one log, and what is on its way there."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from hashlib import blake2b

from meterfabric_protocol.delivery.effects import CursorRow, Parcel
from meterfabric_protocol.merkle import EMPTY_ROOT


@dataclass(slots=True)
class Flight:
    """A batch on its way: settled once the sink answered that it has or has passed over it."""

    first: int
    size: int
    cost: int
    note: bytes
    root: bytes
    records: int
    sent_at: float
    settled: bool = False
    received: bool = False
    receipt: str = ""


@dataclass
class Cursor:
    """One sink's place in one log.

    `acked` ≤ `sent`; between them the batches in `flights`, in order. `epoch` is another one after every rewind, and
    answers to an earlier one count for nothing. `known`: the sink told its position since this session of work began;
    `told` is what it said last. `walking`: the sink holds another log under this origin, and its answers to one batch
    after another from leaf 0 on will tell where they part. `joining`: no notice says yet from which leaf on the sink is
    owed. `proving`: that the sink holds our log up to `acked` is only concluded, and the batch that ends there is to be
    shown it again before anything else; without a `root`, `acked` is what the sink said. `via` is the relay in use.
    """

    sink: str
    acked: int = 0
    root: bytes = EMPTY_ROOT
    receipt: str = ""
    excused_from: int = 0
    excused_to: int = 0
    sent: int = 0
    secret: bytes = b""
    epoch: int = 0
    rewinds: int = 0
    known: bool = False
    told: int = 0
    walking: bool = False
    proving: bool = False
    probing: bool = False
    via: str | None = None
    moving: bool = False
    flights: deque[Flight] = field(default_factory=deque)
    in_flight: int = 0
    deadline: float | None = None
    failures: int = 0
    pause_until: float = 0.0
    avoid: dict[str, float] = field(default_factory=dict)
    awaiting_notice: int | None = None
    joining: bool = False
    head_at: float = -1e9
    expiry_at: float = -1e9

    @classmethod
    def restore(cls, sink: str, row: CursorRow, secret: bytes = b"") -> Cursor:
        """The cursor a spool kept."""
        return cls(
            sink,
            secret=secret,
            acked=row.acked,
            root=row.root or (EMPTY_ROOT if row.acked == 0 else b""),
            receipt=row.receipt,
            excused_from=row.excused_from,
            excused_to=row.excused_to,
            sent=row.acked,
        )

    def row(self) -> CursorRow:
        """What a spool keeps."""
        return CursorRow(self.acked, self.root, self.receipt, self.excused_from, self.excused_to)

    @property
    def floor(self) -> int:
        """Leaves below are owed to this sink no more: received, passed over, or excused by a notice."""
        return self.excused_to if self.excused_from <= self.acked < self.excused_to else self.acked

    @property
    def settled(self) -> bool:
        """Whether `floor` is what is owed now: no notice that changes it is under way, no walk looks for it."""
        return self.awaiting_notice is None and not self.walking and (bool(self.root) or not self.acked)

    @property
    def showing(self) -> bool:
        """Whether what it has is being shown to the sink again, to prove it."""
        return bool(self.flights) and self.flights[0].first < self.acked

    def walk(self) -> None:
        """Find out from leaf 0 on where the sink's log parts from ours."""
        self.acked, self.root, self.walking, self.proving = 0, b"", True, False
        self.rewind()

    def fall_back(self, size: int) -> None:
        """The sink says that it holds no more than this, which may be no boundary of our log."""
        self.acked, self.root = size, EMPTY_ROOT if size == 0 else b""

    def excuses(self, parcel: Parcel) -> bool:
        """Whether a notice permits this batch to be passed over as a stub."""
        return parcel.damaged or (self.excused_from <= parcel.first and parcel.size <= self.excused_to)

    def excuse(self, first: int, size: int) -> None:
        """A durable notice now covers [first, size)."""
        if self.excused_from <= first <= self.excused_to:
            self.excused_to = max(self.excused_to, size)
        else:
            self.excused_from, self.excused_to = first, size

    def take_off(self, flight: Flight) -> None:
        """A batch was sent."""
        self.flights.append(flight)
        self.sent = flight.size
        self.in_flight += flight.cost

    def rewind(self) -> None:
        """Begin a new epoch at what is acked: what is on its way is forgotten, its answers will rewind nothing."""
        self.rewinds += 1
        # No relay can foresee it, and so have the sink answer beforehand what it will not be true to say later.
        digest = blake2b(self.rewinds.to_bytes(8), digest_size=6, key=self.secret)
        self.epoch = int.from_bytes(digest.digest())
        self.flights.clear()
        self.in_flight = 0
        self.sent = self.acked
        self.probing = False
        self.deadline = None

    def depart(self) -> None:
        """Use the relay no more; through the next one the sink is asked where it is."""
        self.via, self.known, self.moving = None, False, False

    def settle(self, about: int, received: bool, receipt: str) -> list[Flight]:
        """The sink answered the batch that ends at ``about``; returns the flights that are acked now, in order."""
        for flight in self.flights:
            if flight.size == about and not flight.settled:
                flight.settled, flight.received, flight.receipt = True, received, receipt
                break
        landed: list[Flight] = []
        while self.flights and self.flights[0].settled:
            flight = self.flights.popleft()
            self.in_flight -= flight.cost
            self.acked, self.root = flight.size, flight.root
            if flight.receipt:
                self.receipt = flight.receipt
            landed.append(flight)
        return landed
