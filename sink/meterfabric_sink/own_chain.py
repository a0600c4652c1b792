"""The sink's own key and its certificate chain, which relays are shown and the destination keeps beside what is signed.

Whoever runs the sink renews the chain's file; it is read again when it changes, so a renewal needs no restart. Another
key does: all sessions with relays were begun with the old one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

from meterfabric_sink.destination.base import Certificate, Destination, DestinationDown, DestinationRefused

log = logging.getLogger(__name__)


class OwnChain:
    """Reads the files at start.

    Raises OSError where one isn't there, ValueError where one doesn't hold what it should, or the chain is of another
    key.
    """

    def __init__(self, path: Path, key: Path, destination: Destination, interval: float = 1.0) -> None:
        """``path``: the chain, PEM. ``key``: Ed25519, PKCS #8 PEM. ``interval``: seconds between looks at the files."""
        self._path = path
        self._key_path = key
        self._destination = destination
        self._interval = interval
        self._kept: bytes | None = None
        self.key, self.current = self._read()

    async def keep(self) -> None:
        """Store the chain where it isn't yet. Raises DestinationDown, DestinationRefused."""
        if self._kept != self.current.chain:
            await self._destination.introduce(self.current)
            self._kept = self.current.chain

    async def run(self) -> None:
        """Follow the files until there is another key; cancel to end before.

        Files that are missing, broken or of two keys for a moment change nothing.
        """
        while True:
            await asyncio.sleep(self._interval)
            try:
                if self._path.read_bytes() != self.current.chain:
                    key, found = self._read()
                    if key.public_key() != self.key.public_key():
                        log.warning("the sink was given another key: this worker ends, the next one begins with it")
                        return
                    log.info("the sink has a new certificate", extra={"not_after": found.not_after})
                    self.current = found
            except (OSError, ValueError) as error:
                log.warning("the sink's chain can't be read", extra={"path": str(self._path), "reason": str(error)})
                continue
            with contextlib.suppress(DestinationDown, DestinationRefused):
                await self.keep()

    def _read(self) -> tuple[Ed25519PrivateKey, Certificate]:
        key = load_pem_private_key(self._key_path.read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{self._key_path}: the sink's signing key must be Ed25519")
        chain = self._path.read_bytes()
        leaf = load_pem_x509_certificates(chain)[0]
        if leaf.public_key() != key.public_key():
            raise ValueError(f"{self._path}: the certificate is of another key than {self._key_path}")
        not_before, not_after = leaf.not_valid_before_utc, leaf.not_valid_after_utc
        return key, Certificate(chain, int(not_before.timestamp()), int(not_after.timestamp()))
