"""Which relays there are: a small JSON file that whoever runs them rewrites, read again when it changes.

The file is `[{"name": "relay-0", "endpoint": "tcp://127.0.0.1:4711"}, …]`. It is replaced by a rename, so a reader sees
the old list or the new one. A file that is missing or broken for a moment changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)


class RelayAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One relay: its name among the fabric's relays, and where it listens."""

    name: str
    endpoint: str


def read_relays(path: Path) -> dict[str, str]:
    """Endpoints by name. Raises OSError or msgspec.MsgspecError."""
    addresses = msgspec.json.decode(path.read_bytes(), type=list[RelayAddress])
    return {address.name: address.endpoint for address in addresses}


class RelayFile:
    """Watches the file and tells changes."""

    def __init__(self, path: Path, on_change: Callable[[Mapping[str, str]], None], interval: float = 0.25) -> None:
        """``interval``: seconds between looks at the file's stamp."""
        self._path = path
        self._on_change = on_change
        self._interval = interval
        self._stamp: tuple[int, int] | None = None
        self._known: dict[str, str] = {}

    def look(self) -> None:
        """Look once."""
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            if stamp == self._stamp:
                return
            relays = read_relays(self._path)
        except (OSError, msgspec.MsgspecError) as error:
            log.debug("no relay list yet", extra={"path": str(self._path), "reason": str(error)})
            return
        self._stamp = stamp
        if relays != self._known:
            self._known = relays
            self._on_change(relays)

    async def run(self) -> None:
        """Look for ever; cancel to end."""
        while True:
            self.look()
            await asyncio.sleep(self._interval)
