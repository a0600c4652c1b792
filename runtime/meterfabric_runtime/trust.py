"""The trust bundle in a file, read again when it changes: a new root is trusted a day before it issues.

Where there is no file yet, the bundle that was given at start holds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from meterfabric_protocol.errors import ProtocolError
from meterfabric_protocol.identity import ChainVerifier, TrustBundle

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_NO_FILE = (0, 0, 0)


class TrustFile:
    """Hands out a verifier for the bundle as it is now. A file that is missing or broken changes nothing."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic, given: bytes = b"") -> None:
        """Raises OSError or ProtocolError where the bundle can't be read at start."""
        self._path = path
        self._given = given
        self._clock = clock
        self._stamp = self._look()
        self._next = clock() + _LOOK_SECONDS
        self._verifier = ChainVerifier(TrustBundle(self._read()))

    def verifier(self) -> ChainVerifier:
        """The verifier to use now; looks at the file at most once a second."""
        now = self._clock()
        if now >= self._next:
            self._next = now + _LOOK_SECONDS
            self._refresh()
        return self._verifier

    def _refresh(self) -> None:
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._verifier = ChainVerifier(TrustBundle(self._read()))
            self._stamp = stamp
        except (OSError, ProtocolError) as error:
            log.warning("the trust bundle can't be read", extra={"path": str(self._path), "reason": str(error)})
        else:
            log.info("the trust bundle changed", extra={"path": str(self._path)})

    def _look(self) -> tuple[int, int, int]:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            if not self._given:
                raise
            return _NO_FILE
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            if not self._given:
                raise
            return self._given
