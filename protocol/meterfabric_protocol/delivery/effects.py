"""What a producer's state machine asks its shell to do, and the values it is handed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.message import Frames, Message
from meterfabric_protocol.notice import Notice


class WrongSink(ProtocolError):
    """A sink's certificate that is another's."""


WhenFull: TypeAlias = Literal["refuse", "expire-oldest"]


@dataclass(frozen=True, slots=True)
class SinkPolicy:
    """What one sink is owed.

    A required sink that is away fills the spool until `when_full` says what gives; an optional one only expires.
    ``expiry``: seconds a record waits for this sink at most, None for ever.
    """

    name: str
    required: bool = True
    when_full: WhenFull = "refuse"
    expiry: float | None = 7 * 86_400.0

    @property
    def may_expire_for_room(self) -> bool:
        """Whether its oldest records may be given up when the spool is full."""
        return not self.required or self.when_full == "expire-oldest"


@dataclass(frozen=True, slots=True)
class CursorRow:
    """How far one sink has one log: what a spool keeps of a cursor.

    Leaves below ``acked`` are received or passed over; ``root`` is the log's root there, ``receipt`` the newest
    cosignature line held. Leaves [excused_from, excused_to) may be passed over: a durable notice says why.
    """

    acked: int = 0
    root: bytes = b""
    receipt: str = ""
    excused_from: int = 0
    excused_to: int = 0


@dataclass(frozen=True, slots=True)
class LogFacts:
    """A log as the spool has it. ``note`` is its newest checkpoint, ``chain`` its certificate chain or bare key (PEM).

    Records below ``dropped_to`` have no payload any more. ``superseded_at``: past this leaf another log repeats it.
    """

    origin: str
    size: int
    active: bool
    chain: bytes
    note: bytes
    dropped_to: int = 0
    superseded_at: int | None = None
    cursors: dict[str, CursorRow] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A sealed batch as it travels. Without ``payload`` the header is a stub's.

    ``root`` and ``note``: the checkpoint at ``size``. ``damaged``: the payload is gone, and a durable notice says so.
    ``records``: how many of the leaves are records, all or none.
    """

    first: int
    size: int
    header: bytes
    payload: bytes | None
    note: bytes
    root: bytes
    damaged: bool = False
    records: int = 0


@dataclass(frozen=True, slots=True)
class Send:
    """Send to a relay."""

    relay: str
    message: Message
    frames: Frames = ()


@dataclass(frozen=True, slots=True)
class Dial:
    """Hold a session with this relay: connect and say HELLO (then `hello_sent`)."""

    relay: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """Say BYE to this relay and disconnect."""

    relay: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read sealed batches, about ``max_bytes``, from the one on that holds leaf ``first``; answer with `fetched`.

    Where it begins before that leaf, ``first`` is none of our boundaries. Past the end of a log there may be gaps.
    """

    origin: str
    first: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class SaveCursor:
    """Keep a cursor. Losing it costs repeats, never records, so it may wait for the next commit."""

    origin: str
    sink: str
    row: CursorRow


@dataclass(frozen=True, slots=True)
class RemoveCursor:
    """The sink left the fabric."""

    origin: str
    sink: str


@dataclass(frozen=True, slots=True)
class SealNotices:
    """Seal these in the active log; answer with `notices_sealed(tag)` once durable.

    They are never given up: while there is no room for them, or the disk fails, the shell tries again until it ends.
    """

    tag: int
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """Payloads of records below ``size`` are wanted no more."""

    origin: str
    size: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The log is closed and every sink has all of it: nothing of it is needed."""

    origin: str


@dataclass(frozen=True, slots=True)
class Fork:
    """A sink holds another log under this origin, alike up to ``common``: end it there.

    The shell opens a new log that `continues` it (and the active one) and appends what lies past ``common`` again,
    batch by batch, naming them in the notice. ``heard`` is how far the sink holds the log, for the notice to tell where
    that is beyond the log's own size: our spool is behind what it once sent.
    """

    origin: str
    common: int
    sink: str
    heard: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """For the meters: the leaves [first, size), ``records`` of them records, are received or passed over as a stub."""

    origin: str
    sink: str
    first: int
    size: int
    received: bool
    seconds: float
    records: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """For people: a stable word and a sentence."""

    word: str
    origin: str
    sink: str
    detail: str


Effect: TypeAlias = (
    Send | Dial | HangUp | Fetch | SaveCursor | RemoveCursor | SealNotices | Drop | Forget | Fork | Progress | Alarm
)
