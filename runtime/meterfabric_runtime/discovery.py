"""Which relays there are: a small JSON file that whoever runs them rewrites, or the addresses of a name in DNS.

The file is `[{"name": "relay-0", "endpoint": "tcp://127.0.0.1:4711"}, …]`. It is replaced by a rename, so a reader sees
the old list or the new one. A file that is missing or broken for a moment changes nothing.

In a cluster the name is a headless Service's: its addresses are the relays that are ready, each called by its address.
So nobody has to write a list, and relays that come back while the operator is away are found.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

log = logging.getLogger(__name__)

_NAME_INTERVALS: Final = (0.5, 5.0)


class RelayAddress(msgspec.Struct, frozen=True):
    """One relay: its name among the fabric's relays, and where it listens."""

    name: str
    endpoint: str


def read_relays(path: Path) -> dict[str, str]:
    """Endpoints by name. Raises OSError or msgspec.MsgspecError."""
    addresses = msgspec.json.decode(path.read_bytes(), type=list[RelayAddress])
    return {address.name: address.endpoint for address in addresses}


OnRelays = Callable[[Mapping[str, str]], None]
"""Is told the endpoints by name."""


class RelaySource(Protocol):
    """Follows which relays there are."""

    def look(self) -> None:
        """Look once, if that takes no time."""

    async def run(self) -> None:
        """Look for ever; cancel to end."""


def relay_source(source: str, on_change: OnRelays) -> RelaySource:
    """Follow ``dns://HOST:PORT``, or else the file of that name. Raises ValueError on a URL without host or port."""
    if not source.startswith("dns://"):
        return RelayFile(Path(source), on_change)
    parts = urlsplit(source)
    if not parts.hostname or not parts.port:
        raise ValueError(f"{source}: not dns://HOST:PORT")
    return RelayName(parts.hostname, parts.port, on_change)


class RelayName:
    """Asks DNS for the addresses of a name and tells changes. A name that can't be resolved changes nothing."""

    def __init__(
        self, host: str, port: int, on_change: OnRelays, intervals: tuple[float, float] = _NAME_INTERVALS
    ) -> None:
        """``intervals``: seconds between two questions while no relay is known, and afterwards."""
        self._host = host
        self._port = port
        self._on_change = on_change
        self._intervals = intervals
        self._known: dict[str, str] = {}

    def look(self) -> None:
        """Nothing: a question takes time."""

    async def ask(self) -> None:
        """Ask once."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            log.debug("the relays' name can't be resolved", extra={"host": self._host, "reason": str(error)})
            return
        addresses = sorted({str(each[4][0]) for each in found})
        relays = {address: f"tcp://{_bracketed(address)}:{self._port}" for address in addresses}
        if relays and relays != self._known:
            self._known = relays
            self._on_change(relays)

    async def run(self) -> None:
        """Ask for ever; cancel to end."""
        while True:
            await self.ask()
            # With jitter: thousands of pods that start together must not ask together for ever.
            pause = self._intervals[1 if self._known else 0]
            await asyncio.sleep(pause * (0.75 + random.random() / 2))  # noqa: S311 - jitter, not a secret


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


class RelayFile:
    """Watches the file and tells changes."""

    def __init__(self, path: Path, on_change: OnRelays, interval: float = 0.25) -> None:
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
