"""By what right a log is taken: a certificate valid now, or a later log's word.

A dead log that was never enrolled, or whose certificate lapsed while its records waited, is taken when an enrolled log
of the same pod names its end in `continues`. Its key is then bound to it by its name alone: an origin ends in a hash of
the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from meterfabric_protocol.delivery.stored import Certificate
from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.identity import ChainVerifier, Identity, key_hash, key_hash_of, match_origin

_BARE: Final = b"-----BEGIN PUBLIC KEY-----"


class NoCredential(ProtocolError):
    """A log that may not be taken; ``reason`` is a stable word."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Credential:
    """The log's raw public key (32 bytes), and whose it is where a certificate says so."""

    public_key: bytes
    identity: Identity | None
    certificate: Certificate | None


def bare(public_key: Ed25519PublicKey) -> bytes:
    """What travels in place of a chain while a log has no certificate: its public key, PEM."""
    return public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def judge_credential(
    chain: bytes, origin: str, verifier: ChainVerifier, at: datetime, fabric: str, *, vouched: bool
) -> Credential:
    """Judge what came in place of a chain at the time ``at``, for the log ``origin``.

    Raises:
        NoCredential: no valid certificate of this log's key, and no later log vouches for it.
    """
    try:
        if not chain.startswith(_BARE):
            identity = verifier.verify(chain, at, role="producer", fabric=fabric)
            match_origin(identity, origin)
            validity = Certificate(chain, int(identity.not_before.timestamp()), int(identity.not_after.timestamp()))
            return Credential(identity.public_key, identity, validity)
        refusal = NoCredential("no-certificate", f"{origin} has no certificate and no later log vouches for it")
    except ProtocolError as error:
        refusal = NoCredential(str(getattr(error, "reason", "certificate")), str(error))
    if not vouched:
        raise refusal
    key = _key(chain)
    if key is None or key_hash(key) != key_hash_of(origin):
        raise NoCredential("wrong-origin", f"the key shown is not the one that {origin} is named for")
    return Credential(key, None, None)


def _key(pem: bytes) -> bytes | None:
    try:
        key = load_pem_public_key(pem) if pem.startswith(_BARE) else load_pem_x509_certificate(pem).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None
