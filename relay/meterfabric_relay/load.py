"""How busy a relay is: the shares that a scaler looks at, the worst of which counts.

`cpu`: processor time against the limit. `loop`: the part of the time in which the event loop's thread ran or waited for
a processor. `credit`: bytes held or promised against those that may be, of the fullest sink. A sink that answers
nothing doesn't count: what it leaves here waits for it, and no number of relays would change that. `connections`: those
that stand against those that may, which thousands of silent producers use up and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meterfabric_relay.cpu_limit import CpuLimit

WINDOW: Final = 15.0
"""Seconds that shares are means of."""
_SILENT: Final = 5.0
"""Seconds without an answer after which a sink is taken to answer nothing."""


@dataclass(frozen=True)
class Reading:
    """Seconds since some beginning: of the clock, of processor time, of the loop being busy; cores that may be used;
    the share of connections that stand."""

    clock: float
    cpu: float
    loop: float
    cores: float
    connections: float = 0.0


class Gauge:
    """Takes readings of this process, on the loop's thread."""

    def __init__(self, limit: CpuLimit) -> None:
        self._limit = limit
        self._stat = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")

    def read(self, connections: float) -> Reading:
        """Now; ``connections``: the share that stands."""
        return Reading(time.monotonic(), time.process_time(), self._busy(), self._limit.cores(), connections)

    def _busy(self) -> float:
        """Time on a processor and in the queue for one, where the kernel counts that (proc-pid-schedstat)."""
        try:
            ran, waited, _ = self._stat.read_bytes().split()
            return (int(ran) + int(waited)) / 1e9
        except (OSError, ValueError):
            return time.thread_time()


class LoadMeter:
    """Shares between 0 and 1, means over the last `WINDOW` seconds."""

    def __init__(self, first: Reading) -> None:
        self._readings: deque[tuple[Reading, float]] = deque([(first, 0.0)])
        """Each with the mean share of credit since the one before."""
        self._credit: list[float] = []
        self._answered: dict[str, tuple[int, float]] = {}
        self.shares: dict[str, float] = dict.fromkeys(("cpu", "loop", "credit", "connections"), 0.0)

    def look(self, clock: float, reserved: Mapping[str, tuple[int, int]], answered: Mapping[str, int]) -> None:
        """Note how full the sinks' memory is, several times a second. ``reserved``: (bytes held or promised, capacity)
        by sink; ``answered``: its answers so far."""
        worst = 0.0
        for sink, (held, capacity) in reserved.items():
            count = answered.get(sink, 0)
            before = self._answered.get(sink)
            if before is None or before[0] != count or not held:
                self._answered[sink] = count, clock
            if clock - self._answered[sink][1] < _SILENT and capacity:
                worst = max(worst, held / capacity)
        self._credit.append(worst)

    def add(self, reading: Reading) -> None:
        """Take a reading, about once a second."""
        credit = sum(self._credit) / len(self._credit) if self._credit else 0.0
        self._credit.clear()
        self._readings.append((reading, credit))
        while self._readings[1][0].clock <= reading.clock - WINDOW:
            self._readings.popleft()
        first = self._readings[0][0]
        passed = max(self.covered, 1e-9)
        parts = zip(self._readings, list(self._readings)[1:], strict=False)
        held = stood = 0.0
        for (before, _), (after, share) in parts:
            held += (after.clock - before.clock) * share
            stood += (after.clock - before.clock) * after.connections
        self.shares = {
            "cpu": min((reading.cpu - first.cpu) / passed / reading.cores, 1.0),
            "loop": min((reading.loop - first.loop) / passed, 1.0),
            "credit": min(held / passed, 1.0),
            "connections": min(stood / passed, 1.0),
        }

    @property
    def covered(self) -> float:
        """Seconds that the shares are of: less than `WINDOW` while it is young."""
        return self._readings[-1][0].clock - self._readings[0][0].clock

    @property
    def cores(self) -> float:
        """Cores that may be used."""
        return self._readings[-1][0].cores

    @property
    def utilization(self) -> float:
        """The worst share."""
        return max(self.shares.values())
