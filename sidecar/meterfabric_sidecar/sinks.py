"""Which sinks the fabric has and what each is owed: a small JSON file, read again when it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from meterfabric_protocol.delivery.effects import SinkPolicy

log = logging.getLogger(__name__)


class SinkEntry(msgspec.Struct, frozen=True):
    """One sink. ``expiry``: seconds, null for never.

    What else it says is a newer operator's, whose pods with older sidecars go on.
    """

    name: str
    required: bool = True
    when_full: Literal["refuse", "expire-oldest"] = "refuse"
    expiry: float | None = 604_800.0

    def policy(self) -> SinkPolicy:
        """The same as delivery takes it."""
        return SinkPolicy(self.name, self.required, self.when_full, self.expiry)


def decode(data: bytes | str) -> tuple[SinkPolicy, ...]:
    """Read the list. Raises msgspec.MsgspecError."""
    return tuple(entry.policy() for entry in msgspec.json.decode(data, type=list[SinkEntry]))


def encode(policies: tuple[SinkPolicy, ...]) -> bytes:
    """Write the list."""
    return msgspec.json.encode([SinkEntry(p.name, p.required, p.when_full, p.expiry) for p in policies])


def read(path: Path, given: bytes) -> bytes:
    """The list at ``path``, or the one that was given while there is no file. Raises OSError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if not given:
            raise
        return given


class SinkFile:
    """Watches the file and tells changes. A file that is missing or broken for a moment changes nothing."""

    def __init__(
        self,
        path: Path,
        on_change: Callable[[tuple[SinkPolicy, ...]], None],
        interval: float = 0.5,
        given: bytes = b"",
    ) -> None:
        """``interval``: seconds between looks; ``given``: the list that holds where there is no file."""
        self._path = path
        self._given = given
        self._on_change = on_change
        self._interval = interval
        self._known: bytes | None = None

    def look(self) -> None:
        """Look once."""
        try:
            data = read(self._path, self._given)
            if data == self._known:
                return
            policies = decode(data)
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("the list of sinks can't be read", extra={"path": str(self._path), "reason": str(error)})
            return
        self._known = data
        self._on_change(policies)

    async def run(self) -> None:
        """Look for ever; cancel to end."""
        while True:
            await asyncio.sleep(self._interval)
            self.look()
