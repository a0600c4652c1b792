"""A sink's answer: signed by the sink, bound to the producer's session.

A relay carries answers and is not believed. What makes an answer safe to act on is its signature (the sink's key), its
``nonce`` (drawn by the producer for this very session, so that nothing from an earlier one can be played back) and its
``epoch`` (drawn anew by the producer at each rewind, from a secret of its own, so that within the session nothing from
before it counts).
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import ed25519
from meterfabric_protocol.errors import Malformed, ProtocolError

LABEL: Final = b"meterfabric answer v1\n"
"""Domain separation: no note, cosignature or HELLO begins with these bytes (an origin holds no space)."""

Kind: TypeAlias = Literal["receipt", "passed", "position", "conflict", "refused"]


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What a sink says of one message.

    receipt: every record of the batch that ends at ``about`` is durably held; ``cosignature`` is its note signature
    line. passed: that range was passed over as a stub. position: the message did not fit (or was a probe). conflict:
    the log the producer shows is not the one the sink holds. refused: ``reason`` says why, a stable word; ``detail`` is
    for a person. Always ``size`` and ``root``: the position the sink durably holds of this log, but for the reason
    ``destination``, which tells none.
    """

    sink: str
    origin: str
    nonce: bytes
    epoch: int
    kind: Kind
    about: int
    size: int
    root: bytes
    cosignature: str = ""
    reason: str = ""
    detail: str = ""


class BadAnswer(ProtocolError):
    """An answer that is not from whom it says."""


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Answer)
MAX_ANSWER_BYTES: Final = 4_096


def sign(answer: Answer, key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """Return the answer's body and its signature, the frames that travel."""
    body = _ENCODER.encode(answer)
    return body, key.sign(LABEL + body)


def read(body: bytes) -> Answer:
    """Decode a body without believing it.

    Raises:
        Malformed: too long, or not an answer.
    """
    if len(body) > MAX_ANSWER_BYTES:
        raise Malformed("answer", f"{len(body)} bytes, at most {MAX_ANSWER_BYTES} are taken")
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("answer", str(error)) from None


def verify(body: bytes, signature: bytes, public_key: bytes) -> None:
    """Hold the signature of a body against a sink's 32-byte public key.

    Raises:
        BadAnswer: the signature does not verify.
    """
    try:
        ed25519.verify("the sink", public_key, signature, LABEL + body)
    except ProtocolError as error:
        raise BadAnswer(f"answer: {error}") from None
