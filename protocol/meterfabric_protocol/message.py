"""Messages between producers, relays and sink workers: the wire's envelope.

Every message is a ZeroMQ multipart message. Frame 0 is the envelope: ``b"MF"``, one version byte and a MessagePack
array whose first element names the message. What is large or signed travels in frames of its own behind it, so that a
relay passes those on without touching them.

Why the envelope itself is not signed: nothing in it is believed by an end. Whatever an end acts on (a checkpoint, a
receipt, a position, a HELLO) is a signed frame; a relay that lies in an envelope can only delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias, cast

import msgspec

from meterfabric_protocol.errors import Malformed

MAGIC: Final = b"MF"
VERSION: Final = 1
MAX_ENVELOPE_BYTES: Final = 65_536
"""An envelope larger than this is refused unread; the largest legitimate one lists the chains of a fabric's sinks."""
MESSAGE_OVERHEAD: Final = 256
"""What a relay's memory is charged for a message beyond its frames (queue entry, envelope, ZeroMQ's own)."""

Frames: TypeAlias = Sequence[Any]
"""Frames behind an envelope: bytes, or whatever the transport passes without copying. Only their length is used."""


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=str.lower):
    """An envelope; subclasses name their frames."""


class Hello(_Message, frozen=True):
    """Peer → relay, first message of a session. Frames: HELLO body, its signature, certificate chain (PEM)."""


class Welcome(_Message, frozen=True):
    """Relay → peer: the session stands. ``max_message``: bytes of the largest message taken."""

    relay: str
    max_message: int


class Refused(_Message, frozen=True):
    """Relay → peer: no session, or no longer; ``reason`` is a stable word, ``detail`` is for a person."""

    reason: str
    detail: str


class Sinks(_Message, frozen=True):
    """Relay → producer: the sinks that have a worker here, each with the chains (PEM) its workers showed."""

    chains: dict[str, tuple[bytes, ...]]


class Wish(msgspec.Struct, frozen=True, array_like=True):
    """Credit asked for: ``next`` bytes for the next message, ``total`` bytes since HELLO in all.

    A ``total`` below what was granted gives the difference back. With ``next`` 0 nothing is wanted, and ``total`` is
    what was sent since HELLO: what of it has not arrived is lost.
    """

    next: int
    total: int


class Want(_Message, frozen=True):
    """Producer → relay: credit asked for, by sink. Without a wish it asks for the relay's ``Sinks`` again."""

    wishes: dict[str, Wish]


class Grant(_Message, frozen=True):
    """Relay → producer: ``total`` bytes may have been sent to ``sink`` since HELLO."""

    sink: str
    total: int


class Target(msgspec.Struct, frozen=True, array_like=True):
    """One sink a message is for, and the producer's epoch for that sink (echoed in its answer)."""

    sink: str
    epoch: int


class Batch(_Message, frozen=True):
    """Producer → relay. Frames: certificate chain, batch header, and the payload or, for a stub, its permit
    (`delivery.permit`), which may be absent where the sink has the batch already."""

    origin: str
    targets: tuple[Target, ...]


class Head(_Message, frozen=True):
    """Producer → relay: the newest checkpoint alone. Frames: certificate chain, checkpoint note.

    With ``probe`` the sink answers with its signed position. Not charged to credit; a relay keeps one an origin and
    sink.
    """

    origin: str
    targets: tuple[Target, ...]
    probe: bool


class Bye(_Message, frozen=True):
    """Producer or worker → relay: the session ends, whatever it was granted is free."""


class Draining(_Message, frozen=True):
    """Relay → peers: this relay takes nothing new; go elsewhere."""


class Unroutable(_Message, frozen=True):
    """Relay → producer: the message for ``origin``, ``sink`` of ``epoch`` left this relay without an answer."""

    origin: str
    sink: str
    epoch: int


class Deliver(_Message, frozen=True):
    """Relay → worker: a batch (frames as ``Batch``). ``seq`` is answered by exactly one ``Reply``."""

    seq: int
    origin: str
    nonce: bytes
    epoch: int


class Listen(_Message, frozen=True):
    """Relay → worker: a head (frames as ``Head``). Answered only when ``probe``, by one ``Reply``."""

    seq: int
    origin: str
    nonce: bytes
    epoch: int
    probe: bool


class Reply(_Message, frozen=True):
    """Worker → relay: the answer to ``seq``. Frames: answer body, its signature."""

    seq: int


class Ping(_Message, frozen=True):
    """Relay → peer, unanswered: sending it finds out whether the peer's connection still stands."""


class Answered(_Message, frozen=True):
    """Relay → producer: a sink's answer. Frames: answer body, its signature."""

    sink: str
    origin: str


Message: TypeAlias = (
    Hello
    | Welcome
    | Refused
    | Sinks
    | Want
    | Grant
    | Batch
    | Head
    | Bye
    | Draining
    | Unroutable
    | Deliver
    | Listen
    | Reply
    | Ping
    | Answered
)

FRAMES: Final[dict[type[_Message], tuple[int, int]]] = {
    Hello: (3, 3),
    Batch: (2, 3),
    Head: (2, 2),
    Deliver: (2, 3),
    Listen: (2, 2),
    Reply: (2, 2),
    Answered: (2, 2),
}
"""Least and most frames behind the envelope; messages not listed have none."""


def cost_of(frames: Frames) -> int:
    """Bytes of credit a message takes: its frames and the overhead."""
    return sum(len(frame) for frame in frames) + MESSAGE_OVERHEAD


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Message)
_PREFIX: Final = MAGIC + bytes([VERSION])


def encode(message: Message) -> bytes:
    """Return the envelope frame of ``message``."""
    return _PREFIX + _ENCODER.encode(message)


def decode(envelope: bytes | memoryview, frames: int) -> Message:
    """Read an envelope that came with ``frames`` further frames.

    Raises:
        Malformed: wrong magic, unknown version (naming the one seen), unknown message, wrong fields or frame count.
    """
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise Malformed("envelope", f"{len(envelope)} bytes, at most {MAX_ENVELOPE_BYTES} are taken")
    head = bytes(envelope[:3])
    if len(head) < 3 or head[:2] != MAGIC:
        raise Malformed("envelope", "does not begin with MF and a version")
    if head[2] != VERSION:
        raise Malformed("envelope", f"version {head[2]}, this release speaks {VERSION}")
    try:
        message = _DECODER.decode(envelope[3:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("envelope", str(error)) from None
    least, most = FRAMES.get(type(message), (0, 0))
    if not least <= frames <= most:
        raise Malformed("envelope", f"{type(message).__name__} with {frames} frames, {least} to {most} are right")
    return cast(Message, message)
