"""The sink's own certificate chain: shown to relays, and kept in the destination beside what it signs.

Whoever runs the sink renews the file; it is read again when it changes, so a renewal needs no restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates

from meterfabric_sink.destination.base import Certificate, Destination, DestinationDown, DestinationRefused

log = logging.getLogger(__name__)


class OwnChain:
    """Reads the file at start: raises OSError where there is none, ValueError where it holds no certificate."""

    def __init__(self, path: Path, destination: Destination, interval: float = 1.0) -> None:
        """``interval``: seconds between looks at the file."""
        self._path = path
        self._destination = destination
        self._interval = interval
        self._kept: bytes | None = None
        self.current = _read(path)

    async def keep(self) -> None:
        """Store the chain where it isn't yet. Raises DestinationDown, DestinationRefused."""
        if self._kept != self.current.chain:
            await self._destination.introduce(self.current)
            self._kept = self.current.chain

    async def run(self) -> None:
        """Follow the file for ever; cancel to end. A file that is missing or broken for a moment changes nothing."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                found = _read(self._path)
            except (OSError, ValueError) as error:
                log.warning("the sink's chain can't be read", extra={"path": str(self._path), "reason": str(error)})
                continue
            if found != self.current:
                log.info("the sink has a new certificate", extra={"not_after": found.not_after})
                self.current = found
            with contextlib.suppress(DestinationDown, DestinationRefused):
                await self.keep()


def _read(path: Path) -> Certificate:
    chain = path.read_bytes()
    leaf = load_pem_x509_certificates(chain)[0]
    return Certificate(chain, int(leaf.not_valid_before_utc.timestamp()), int(leaf.not_valid_after_utc.timestamp()))
