"""HELLO: the signed first message that binds a session to a certificate.

CURVE proves to a relay that its peer holds some curve key, and nothing more. HELLO is signed by the key in the peer's
certificate and names both curve keys of the session: shown on another session (replayed by whoever saw it) or to
another relay it is worth nothing. The signature covers a label of its own, so that it can't stand for a checkpoint, a
receipt or an answer, nor one of those for it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from meterfabric_protocol import ed25519
from meterfabric_protocol.errors import BadSignature
from meterfabric_protocol.identity import ChainVerifier, Identity, Refusal, Role

VERSION: Final = 1
SPOKEN: Final = (1,)
"""Versions that this release reads: its own and, once there is one, the one before."""
HELLO_BYTES: Final = 1024
"""Longest body."""
WORKER_CHARACTERS: Final = 63
SKEW: Final = timedelta(hours=24)
"""How far `issued` may lie from the judge's clock. Wide: what stops a replay is the curve key, this only lets no HELLO
live forever.
"""

_LABEL: Final = b"meterfabric.io/hello\x00"  # a NUL is in no note, so no note begins with it

Reason = Literal[
    "no-certificate",
    "malformed",
    "version",
    "replayed",  # made for the session of another curve key
    "other-relay",  # made for another relay
    "wrong-name",  # calls itself something else than its certificate does
    "bad-signature",
    "stale",
]


class HelloError(Refusal):
    """A HELLO that opens no session. `reason` is one of `Reason` (a chain's own failures are CertificateError)."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)


class HelloBody(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is signed. On the wire a MessagePack array in this order; every version to come keeps the version first."""

    version: int
    role: Role
    name: str
    """A producer's origin, or a sink's cosigner name."""
    client_curve: bytes
    """The session's own curve key, raw, 32 bytes."""
    relay_curve: bytes
    """The relay's curve key, raw, 32 bytes."""
    nonce: bytes
    """16 random bytes: every answer of a sink is bound to them."""
    worker: str
    """Which worker of the sink this is; empty for a producer."""
    window: int
    """Bytes that the peer is ready to hold in flight."""
    issued: int
    """Unix time, seconds."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A verified HELLO: who the session's peer is, and what it said."""

    identity: Identity
    body: HelloBody


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(HelloBody)


def sign_hello(body: HelloBody, key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """Encode and sign: the body's bytes and the 64-byte signature (RFC 8032) over the label and them."""
    encoded = _ENCODER.encode(body)
    return encoded, key.sign(_LABEL + encoded)


def decode_hello(encoded: bytes) -> HelloBody:
    """Read a body, nothing of it proven yet. Raises HelloError("malformed" or "version")."""
    if len(encoded) > HELLO_BYTES:
        raise HelloError("malformed", f"{len(encoded)} bytes, the limit is {HELLO_BYTES}")
    # The version goes first: a later one may have other fields. 0x91…0x9f begins an array, 0x00…0x7f is a small
    # integer.
    if len(encoded) < 2 or not 0x90 < encoded[0] <= 0x9F or encoded[1] > 0x7F:
        raise HelloError("malformed", "not an array that begins with a version")
    if encoded[1] not in SPOKEN:
        spoken = " and ".join(str(version) for version in SPOKEN)
        raise HelloError("version", f"version {encoded[1]} came, this release speaks {spoken}")
    try:
        body = _DECODER.decode(encoded)
    except (msgspec.MsgspecError, ValueError) as error:
        raise HelloError("malformed", str(error)) from error
    for field, value, length in (
        ("client_curve", body.client_curve, 32),
        ("relay_curve", body.relay_curve, 32),
        ("nonce", body.nonce, 16),
    ):
        if len(value) != length:
            raise HelloError("malformed", f"{field} has {len(value)} bytes, not {length}")
    if len(body.worker) > WORKER_CHARACTERS:
        raise HelloError("malformed", f"worker has {len(body.worker)} characters, the limit is {WORKER_CHARACTERS}")
    if body.window < 0 or body.issued < 0:
        raise HelloError("malformed", "window and issued are not negative")
    return body


def verify_hello(
    encoded: bytes,
    signature: bytes,
    chain: bytes,
    *,
    client_curve: bytes,
    relay_curve: bytes,
    verifier: ChainVerifier,
    at: datetime,
    fabric: str,
) -> Hello:
    """Judge a HELLO that came over the session of `client_curve` (what ZAP put into User-Id, raw) to the relay of
    `relay_curve`.

    `chain` is PEM, leaf first; `at` is now, aware. Cheap checks go first. Raises HelloError or CertificateError, both
    of them Refusal with one reason.
    """
    if not chain:
        raise HelloError("no-certificate", "a HELLO needs the certificate chain of its signer")
    body = decode_hello(encoded)
    if body.client_curve != client_curve:
        raise HelloError("replayed", "made for another session: its client_curve isn't this connection's curve key")
    if body.relay_curve != relay_curve:
        raise HelloError("other-relay", "made for another relay: its relay_curve isn't this relay's curve key")
    identity = verifier.verify(chain, at, role=body.role, fabric=fabric)
    if body.name != identity.name:
        raise HelloError("wrong-name", f"it says {body.name[:300]!r}, its certificate says {identity.name!r}")
    try:
        ed25519.verify(identity.name, identity.public_key, signature, _LABEL + encoded)
    except BadSignature as error:
        raise HelloError("bad-signature", str(error)) from error
    if abs(at.timestamp() - body.issued) > SKEW.total_seconds():
        raise HelloError("stale", f"issued at {body.issued}, it is {int(at.timestamp())}; set the clocks")
    return Hello(identity, body)
