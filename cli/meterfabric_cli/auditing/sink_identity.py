"""Whose cosignatures stand in a sink: the sink's own certificate chains, judged at the time of each receipt."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509 import load_pem_x509_certificate

from meterfabric_protocol import cosignature
from meterfabric_protocol.errors import BadSignature, ProtocolError
from meterfabric_protocol.identity import ChainVerifier
from meterfabric_protocol.names import Sink
from meterfabric_protocol.note import Signature, key_id
from meterfabric_sink.destination.base import Certificate


class SinkIdentity:
    """Verifies cosignatures under the chains that the sink keeps of itself."""

    def __init__(self, chains: Iterable[Certificate], verifier: ChainVerifier) -> None:
        # Newest first: a long-lived sink has many, and most receipts are under the one before the newest.
        self._chains = [each.chain for each in chains][::-1]
        self._verifier = verifier
        self.names: dict[str, str] = {}
        """The short name of the sink by the name it cosigns under, of those seen."""

    def verify(self, text: bytes, line: str) -> int:
        """Check one stored cosignature line over a checkpoint's text; returns its time (Unix seconds).

        Raises ProtocolError saying why.
        """
        data = line.encode()
        name, time = claimed(data)
        return cosignature.verify(text, data, name, self._key(Signature.parse(data), time))

    def _key(self, signature: Signature, time: int) -> bytes:
        """The raw key that made `signature`, of a chain that was valid at `time`. A sink that was given another key has
        several that were. Raises ProtocolError."""
        name = signature.name
        refusal: ProtocolError = BadSignature(name, "the sink keeps no certificate of its own")
        for number, chain in enumerate(self._chains):
            try:
                identity = self._verifier.verify(chain, datetime.fromtimestamp(time, UTC), role="sink")
            except ProtocolError as error:
                refusal = error
                continue
            if identity.name != name or not isinstance(identity.subject, Sink):
                refusal = BadSignature(name, f"the certificate kept is {identity.name}'s")
                continue
            if key_id(name, cosignature.COSIGNATURE, identity.public_key) != signature.key_id:
                refusal = BadSignature(
                    name, f"key {signature.key_id.hex()} is none that the sink had a certificate for"
                )
                continue
            self.names[name] = identity.subject.name
            if number:
                self._chains.insert(0, self._chains.pop(number))
            return identity.public_key
        raise refusal


def made_by(chain: bytes, line: bytes) -> bool:
    """Whether a cosignature line was made with the key of a chain's first certificate. Raises ProtocolError."""
    signature, key = Signature.parse(line), load_pem_x509_certificate(chain).public_key()
    return isinstance(key, Ed25519PublicKey) and signature.key_id == key_id(
        signature.name, cosignature.COSIGNATURE, key.public_bytes_raw()
    )


def claimed(line: bytes) -> tuple[str, int]:
    """The cosigner's name and the time that a cosignature line claims, not verified. Raises ProtocolError."""
    signature = Signature.parse(line)
    if len(signature.value) < 8:
        raise BadSignature(signature.name, f"a cosignature of {len(signature.value)} bytes")
    time = int.from_bytes(signature.value[:8])
    # Beyond what a date can say nothing was ever signed.
    if time >= 253_402_300_800:
        raise BadSignature(signature.name, f"a time of {time}")
    return signature.name, time
