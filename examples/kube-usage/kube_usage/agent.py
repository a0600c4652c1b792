"""One turn of the agent: send what is to be sent, then scan, note what that makes, and send it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from kube_usage.scan import Scan, ScrapeFailed
from kube_usage.state import State, load, save, step
from meterfabric_client import BackPressure, Undelivered


class Recorder(Protocol):
    """What the agent needs of a Meter."""

    def record(self, *, type: str, data: Any, subject: str, id: str, time: datetime) -> None:
        """Take one event; raises BackPressure where there is no room."""

    def flush(self, seconds: float | None = None) -> None:
        """Wait until all that was taken is accepted or refused; raises Undelivered."""


class Agent:
    """Meters one node. `path`: where its state is kept. `sent` counts events that the sidecar holds durably."""

    def __init__(self, meter: Recorder, scrape: Callable[[], Scan], node: str, path: Path) -> None:
        """Raises OSError where the state can't be read."""
        self._meter = meter
        self._scrape = scrape
        self._node = node
        self._path = path
        self._state = load(path)
        self._taken = 0
        """How many of the outbox the meter has."""
        self.sent = 0

    def turn(self) -> None:
        """While the sidecar lacks room no scan is taken. That loses nothing: the next interval is longer.

        Raises OSError where the state can't be kept: then nothing may be sent that would be measured again.
        """
        if not self._send():
            return
        try:
            scan = self._scrape()
        except ScrapeFailed as error:
            tell(f"missed a scrape: {error}")
            return
        state = step(self._state, self._node, scan)
        save(self._path, state)
        self._state, self._taken = state, 0
        self._send()

    def _send(self) -> bool:
        """Hand over what is left of the outbox; whether nothing is."""
        if self._state is None or not self._state.outbox:
            return True
        try:
            for each in self._state.outbox[self._taken :]:
                self._meter.record(type=each.type, data=each.data, subject=each.subject, id=each.id, time=each.time)
                self._taken += 1
            self._meter.flush()
        except (BackPressure, Undelivered) as error:
            tell(f"waiting: {error}")
            return False
        self.sent += len(self._state.outbox)
        # On disk the outbox stays until the next scan: to send it again does no harm.
        self._state, self._taken = State(self._state.node, self._state.books, []), 0
        return True


def tell(text: str) -> None:
    """A line for whoever reads the pod's log."""
    print(f"kube-usage: {text}", file=sys.stderr, flush=True)
