"""Deficit round-robin: a backlog of one log starves no other.

M. Shreedhar and G. Varghese, "Efficient Fair Queuing using Deficit Round Robin", SIGCOMM 1995. Each key in turn may
take ``quantum`` bytes more than it has left over; what it can't use because its next item is larger is kept.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items by key, taken fairly by bytes."""

    def __init__(self, quantum: int = 65_536) -> None:
        """``quantum``: bytes a key may take each round, above zero."""
        if quantum <= 0:
            raise ValueError(f"quantum is {quantum}, it must be above 0")
        self._quantum = quantum
        self._queues: OrderedDict[str, deque[tuple[int, T]]] = OrderedDict()
        self._deficit: dict[str, int] = {}
        self._fresh = True
        self.bytes = 0
        self.items = 0

    def __len__(self) -> int:
        return self.items

    def push(self, key: str, cost: int, item: T) -> None:
        """Append ``item`` of ``cost`` bytes behind what ``key`` already has."""
        self._queues.setdefault(key, deque()).append((cost, item))
        self.bytes += cost
        self.items += 1

    def pop(self, room: int) -> T | None:
        """Take the next item if it costs at most ``room`` bytes, else None (the turn stays where it is)."""
        while self._queues:
            key, queue = next(iter(self._queues.items()))
            if self._fresh:
                self._deficit[key] = self._deficit.get(key, 0) + self._quantum
                self._fresh = False
            cost, item = queue[0]
            if cost > self._deficit[key]:
                self._queues.move_to_end(key)
                self._fresh = True
                continue
            if cost > room:
                return None
            queue.popleft()
            self.bytes -= cost
            self.items -= 1
            self._deficit[key] -= cost
            if not queue:
                del self._queues[key]
                del self._deficit[key]
                self._fresh = True
            return item
        return None

    def remove(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Take out and return every item that ``unwanted`` says yes to; the others keep their order."""
        removed: list[T] = []
        for key in list(self._queues):
            kept: deque[tuple[int, T]] = deque()
            for cost, item in self._queues[key]:
                if unwanted(item):
                    removed.append(item)
                    self.bytes -= cost
                    self.items -= 1
                else:
                    kept.append((cost, item))
            if kept:
                self._queues[key] = kept
            else:
                if next(iter(self._queues)) == key:
                    self._fresh = True
                del self._queues[key]
                self._deficit.pop(key, None)
        return removed

    def drain(self) -> Iterator[T]:
        """Take everything out, key by key."""
        yield from self.remove(lambda _: True)
