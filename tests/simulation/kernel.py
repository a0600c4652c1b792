"""Virtual time: everything that happens in a history is an entry of one heap, ordered by time and then by number.

Nothing here or above it reads a clock or draws from shared randomness, so a seed is a history.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Protocol


class Violation(Exception):
    """The history broke a rule: the system or the simulator is wrong. ``rule`` is a stable word."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


class Process(Protocol):
    """What may be asked to do something later, and may have crashed until then."""

    boot: int
    """Raised at every start and every crash."""


class Kernel:
    """Time, the heap, the streams of randomness and the trace."""

    def __init__(self, seed: str, tell: Callable[[str], None] | None = None, most: int = 25_000) -> None:
        """``tell`` gets each line of the trace; ``most`` entries may be run, so that a livelock is a failure."""
        self.seed = seed
        self.now = 0.0
        self.steps = 0
        self._most = most
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._tell = tell

    def stream(self, *names: object) -> Random:
        """Randomness of its own for what is named, so that one part's draws don't move another's."""
        return Random("/".join(map(str, (self.seed, *names))))

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """Do something ``delay`` seconds from now."""
        self._serial += 1
        heapq.heappush(self._heap, (self.now + delay, self._serial, action))

    def after(self, process: Process, delay: float, action: Callable[[], None]) -> None:
        """Do something later, unless the process crashed or started anew until then."""
        boot = process.boot

        def guarded() -> None:
            if process.boot == boot:
                action()

        self.at(delay, guarded)

    def run(self, until: float) -> None:
        """Run what is due up to the time ``until``.

        Raises:
            Violation: more happened than can be, "livelock".
        """
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, action = heapq.heappop(heap)
            self.steps += 1
            if self.steps > self._most:
                raise Violation("livelock", f"more than {self._most} steps by {self.now:.3f} s")
            action()
        self.now = until

    @property
    def traced(self) -> bool:
        """Whether anybody reads the trace."""
        return self._tell is not None

    def trace(self, who: str, what: str) -> None:
        """One line of the trace."""
        if self._tell is not None:
            self._tell(f"{self.now:9.3f} {who:14} {what}")
