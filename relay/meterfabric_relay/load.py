"""How busy a relay is: the shares that a scaler looks at, the worst of which counts."""

from __future__ import annotations

import time
from collections.abc import Mapping


class LoadMeter:
    """Shares between 0 and 1 over the time since the last `sample`."""

    def __init__(self) -> None:
        self._wall = time.monotonic()
        self._cpu = time.process_time()
        self._loop = time.thread_time()
        self.shares: dict[str, float] = {"cpu": 0.0, "loop": 0.0, "credit": 0.0}

    def sample(self, reserved: Mapping[str, tuple[int, int]]) -> None:
        """Measure now; ``reserved`` is (bytes held or promised, capacity) by sink. Call on the loop's thread."""
        wall, cpu, loop = time.monotonic(), time.process_time(), time.thread_time()
        passed = max(wall - self._wall, 1e-9)
        self.shares = {
            "cpu": min((cpu - self._cpu) / passed, 1.0),
            "loop": min((loop - self._loop) / passed, 1.0),
            "credit": max((held / capacity for held, capacity in reserved.values() if capacity), default=0.0),
        }
        self._wall, self._cpu, self._loop = wall, cpu, loop

    @property
    def utilization(self) -> float:
        """The worst share."""
        return max(self.shares.values())
