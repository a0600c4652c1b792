"""Records between the application and the delivery: bounded, shared by threads, first in first out."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from .errors import Closed


class Buffer:
    """Holds records until they are taken for delivery, and counts them until they are answered.

    Records are numbered from 0 as they come. The bounds count what is held and what is taken and not yet answered.
    `wake` is called, holding no lock, when the delivery may want to look: at the first record, at a full batch, at a
    flush and at the close.
    """

    def __init__(self, records: int, size: int, batch_records: int, batch_bytes: int, wake: Callable[[], None]) -> None:
        self._max_records = records
        self._max_bytes = size
        self._batch_records = batch_records
        self._batch_bytes = batch_bytes
        self._wake = wake
        self._changed = threading.Condition()
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._oldest = 0.0  # when the first of the held came, by the monotonic clock
        self._waiters: list[Callable[[], None]] = []
        self._flush_below = 0  # held records with a number below are to go at once
        self._settled_below = 0  # every record with a number below is answered
        self.recorded = 0
        self.pending = 0
        self.pending_bytes = 0
        self.closed = False

    # The application's side

    def offer(self, line: bytes) -> bool:
        """Take a record if there is room. Raises Closed."""
        with self._changed:
            taken, ripe = self._put(line)
        if ripe:
            self._wake()
        return taken

    def put(self, line: bytes, timeout: float) -> bool:
        """`offer`, waiting for room up to `timeout` seconds; False when none came."""
        if self.offer(line):
            return True
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                taken, ripe = self._put(line)
                if taken:
                    break
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        if ripe:
            self._wake()
        return True

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, from any thread, when there may be room or the buffer is closed."""
        with self._changed:
            if self._is_full() and not self.closed:
                self._waiters.append(callback)
                return
        callback()

    def flush(self) -> int:
        """Let all that is held go at once; the number below which records are meant."""
        with self._changed:
            self._flush_below = self.recorded
        self._wake()
        return self._flush_below

    def wait_settled(self, below: int, timeout: float) -> bool:
        """Wait until every record with a number under `below` is answered."""
        with self._changed:
            return self._changed.wait_for(lambda: self._settled_below >= below, timeout)

    def close(self) -> None:
        """Take no more; what is held goes at once."""
        with self._changed:
            self.closed = True
            self._flush_below = self.recorded
            waiters, self._waiters = self._waiters, []
            self._changed.notify_all()
        self._wake()
        for waiter in waiters:
            waiter()

    # The delivery's side

    @property
    def first_held(self) -> int:
        """The number of the first record that is held, or of the next that comes."""
        with self._changed:
            return self.recorded - len(self._held)

    def ripe_in(self, delay: float) -> float | None:
        """Seconds until a batch is to be taken, 0 for now; None while nothing is held."""
        with self._changed:
            if not self._held:
                return None
            if (
                self.recorded - len(self._held) < self._flush_below
                or len(self._held) >= self._batch_records
                or self._held_bytes >= self._batch_bytes
            ):
                return 0.0
            return max(0.0, self._oldest + delay - time.monotonic())

    def take(self, size: int) -> tuple[int, list[bytes]]:
        """Up to a batch of records that make at most `size` bytes with a newline each; and the first one's number."""
        with self._changed:
            first = self.recorded - len(self._held)
            taken: list[bytes] = []
            room = min(size, self._batch_bytes)
            held = self._held
            while held and len(taken) < self._batch_records and len(held[0]) < room:
                line = held.popleft()
                room -= len(line) + 1
                self._held_bytes -= len(line) + 1
                taken.append(line)
            self._oldest = time.monotonic()
        return first, taken

    def settle(self, lines: Sequence[bytes], settled_below: int) -> None:
        """These records were answered; nothing with a number under `settled_below` is unanswered any more."""
        with self._changed:
            self.pending -= len(lines)
            self.pending_bytes -= sum(map(len, lines)) + len(lines)
            self._settled_below = max(self._settled_below, settled_below)
            waiters: list[Callable[[], None]] = []
            if not self._is_full():
                waiters, self._waiters = self._waiters, []
            self._changed.notify_all()
        for waiter in waiters:
            waiter()

    # Under the lock

    def _is_full(self) -> bool:
        return self.pending >= self._max_records or self.pending_bytes >= self._max_bytes

    def _put(self, line: bytes) -> tuple[bool, bool]:
        """Whether the record was taken, and whether the delivery should look."""
        if self.closed:
            raise Closed("the meter was closed")
        if self._is_full():
            return False, False
        held = self._held
        if not held:
            self._oldest = time.monotonic()
        held.append(line)
        size = len(line) + 1
        before = self._held_bytes
        self._held_bytes = before + size
        self.recorded += 1
        self.pending += 1
        self.pending_bytes += size
        count = len(held)
        return True, count in (1, self._batch_records) or before < self._batch_bytes <= self._held_bytes
