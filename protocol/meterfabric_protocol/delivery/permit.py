"""A permit: the producer's word that sinks may pass over a batch as a stub.

That a batch travels without its payload is said by its header's `kind`, which no signature of the log covers (the
payload may have gone long after the batch was sealed, and the key with it). A relay that cut off a payload would
make a sink pass over records that nobody gave up. So a stub is taken only with a permit: signed by the pod's present
key, certified, for this very batch and this very sink. It travels where the payload would.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from meterfabric_protocol import ed25519
from meterfabric_protocol.batch import BatchHeader, Content
from meterfabric_protocol.errors import Malformed
from meterfabric_protocol.identity import CertificateError, ChainVerifier, same_identity
from meterfabric_protocol.limits import ORIGIN_BYTES

LABEL: Final = b"meterfabric permit v1\n"
"""Domain separation: no note, cosignature, answer or HELLO begins with these bytes (an origin holds no space)."""
MAX_PERMIT_BYTES: Final = 24_576
"""A chain at its longest, and what the permit itself takes."""


class _Permit(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    origin: Annotated[str, Meta(max_length=ORIGIN_BYTES)]
    first: int
    size: int
    of: Content
    sinks: tuple[str, ...]


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    body: bytes
    signature: bytes
    chain: bytes


_ENCODER: Final = msgspec.msgpack.Encoder()
_PERMIT: Final = msgspec.msgpack.Decoder(_Permit)
_SIGNED: Final = msgspec.msgpack.Decoder(_Signed)


def sign_permit(stub: BatchHeader, sinks: Sequence[str], key: Ed25519PrivateKey, chain: bytes) -> bytes:
    """The frame that lets ``sinks`` pass over this batch. ``key`` is the pod's present one, ``chain`` its certificate
    chain (PEM)."""
    body = _ENCODER.encode(_Permit(stub.origin, stub.first, stub.size, stub.of, tuple(sorted(sinks))))
    return _ENCODER.encode(_Signed(body, key.sign(LABEL + body), chain))


def judge_permit(
    frame: bytes, stub: BatchHeader, sink: str, verifier: ChainVerifier, at: datetime, fabric: str
) -> None:
    """Hold a permit against the stub that it came with, for the sink ``sink`` at the time ``at``.

    Raises:
        Malformed: not a permit, or one for another batch or sink.
        CertificateError: its signer has no valid certificate, or is another pod.
        BadSignature: not signed by that certificate's key.
    """
    if len(frame) > MAX_PERMIT_BYTES:
        raise Malformed("permit", f"{len(frame)} bytes, at most {MAX_PERMIT_BYTES} are taken")
    try:
        signed = _SIGNED.decode(frame)
        permit = _PERMIT.decode(signed.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("permit", str(error)) from None
    said = permit.origin, permit.first, permit.size, permit.of
    if said != (stub.origin, stub.first, stub.size, stub.of):
        raise Malformed("permit", f"for {said}, not for [{stub.first}, {stub.size}) of {stub.origin}")
    if sink not in permit.sinks:
        raise Malformed("permit", f"for {permit.sinks[:8]}, not for {sink}")
    identity = verifier.verify(signed.chain, at, role="producer", fabric=fabric)
    if not same_identity(identity, stub.origin):
        raise CertificateError("wrong-origin", f"{identity.name} may not speak for {stub.origin}")
    ed25519.verify(identity.name, identity.public_key, signed.signature, LABEL + signed.body)
