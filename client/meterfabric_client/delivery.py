"""The delivery: takes records from the buffer to the sidecar until each is accepted or refused for good.

It runs in a thread of its own. A batch that was not answered is sent again with the same bytes, so with the same ids,
which the sidecar knows again: however often a batch travels, its records are logged once.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable

from .buffer import Buffer
from .errors import Rejected
from .options import Options
from .transport import Accepted, Again, Batch, Outcome, Refused, Transport

log = logging.getLogger(__name__)

# Of records that were refused and that nobody was told of yet, that many are kept.
KEPT_ERRORS = 100
# With nothing in flight the sidecar tops the credit up within this. It keeps back no more than a quarter until then.
_STARVED_SECONDS = 0.1


class Delivery:
    """One thread's work; `run` returns when the buffer is closed and empty, or at `abandon`."""

    def __init__(
        self,
        buffer: Buffer,
        connect: Callable[[], Transport],
        options: Options,
        on_error: Callable[[Rejected], None] | None,
    ) -> None:
        self._buffer = buffer
        self._transport = connect()
        self._options = options
        self._on_error = on_error
        self._again: deque[Batch] = deque()
        self._out: set[Batch] = set()
        self._failures = 0
        self._held_until = 0.0
        self._abandoned = False
        self._lock = threading.Lock()
        self._errors: list[Rejected] = []
        self._error_count = 0
        self.accepted = 0
        self.rejected = 0
        self.retries = 0
        self._starved_since: float | None = None
        self._largest = 0
        self._trouble = ""

    # From any thread

    @property
    def trouble(self) -> str:
        """The last thing that went wrong, in words; empty while all is well."""
        return self._trouble or self._transport.trouble

    def wake(self) -> None:
        self._transport.waker.wake()

    def abandon(self) -> None:
        """Stop as soon as may be; what is unanswered stays so."""
        self._abandoned = True
        self.wake()

    def take_errors(self) -> tuple[list[Rejected], int]:
        """Records refused since the last call, at most KEPT_ERRORS of them, and how many there were."""
        with self._lock:
            errors, count = self._errors, self._error_count
            self._errors, self._error_count = [], 0
        return errors, count

    # The thread

    def run(self) -> None:
        try:
            while not self._abandoned:
                patience = self._submit()
                if self._is_done():
                    return
                for batch, outcome in self._transport.wait(patience):
                    self._settle(batch, outcome)
        except Exception:
            # Nobody joins this thread for its result: without the log the records would just stay pending.
            log.exception("the delivery to the sidecar broke")
            self._trouble = "the delivery broke; see the log"
        finally:
            self._transport.close()

    def _is_done(self) -> bool:
        return self._buffer.closed and not self._out and not self._again and self._buffer.ripe_in(0) is None

    def _submit(self) -> float | None:
        """Send what may be sent now; how long to wait for something to happen, None for as long as it takes."""
        while True:
            held = self._held_until - time.monotonic()
            if held > 0:
                return held
            allowance = self._transport.allowance()
            if self._again:
                batch = self._again[0]
                if len(batch.body) > allowance:
                    patience = self._starving(allowance)
                    if patience != 0 or len(batch.lines) == 1:
                        return patience or None
                    self._again.popleft()
                    self._halve(batch)
                    continue
                self._again.popleft()
                self._send(batch)
                continue
            ripe = self._buffer.ripe_in(self._options.delay)
            if ripe is None or ripe > 0:
                return ripe
            if allowance < self._options.batch_bytes and (patience := self._starving(allowance)) != 0:
                return patience
            first, lines = self._buffer.take(allowance)
            if not lines:
                return None
            self._send(Batch(first, lines))

    def _starving(self, allowance: int) -> float | None:
        """How long to wait for a larger allowance; 0 when this is all there will be, so less must be sent at once."""
        if allowance == 0 or self._transport.in_flight:
            return None
        self._largest = max(self._largest, allowance)
        if 4 * allowance >= 3 * self._largest:
            return 0
        now = time.monotonic()
        if self._starved_since is None:
            self._starved_since = now
        return max(0.0, self._starved_since + _STARVED_SECONDS - now)

    def _send(self, batch: Batch) -> None:
        self._starved_since = None
        self._out.add(batch)
        self._transport.submit(batch)

    def _settle(self, batch: Batch, outcome: Outcome) -> None:
        self._out.discard(batch)
        match outcome:
            case Accepted():
                self._failures = 0
                self._trouble = ""
                self.accepted += len(batch.lines)
                self._finish(batch.lines)
            case Again(why, wait):
                self.retries += 1
                self._trouble = why
                self._again.append(batch)
                self._hold(wait)
            case Refused(problem):
                index = problem.get("index")
                if isinstance(index, int) and 0 <= index < len(batch.lines):
                    self._reject(batch, index, outcome)
                elif len(batch.lines) > 1:
                    self._halve(batch)
                else:
                    self._reject(batch, 0, outcome)

    def _hold(self, wait: float | None) -> None:
        """Send nothing for a while: as long as the sidecar said, else doubling, drawn from the upper half."""
        pause = min(self._options.retry * 2.0 ** min(self._failures, 30), self._options.retry_max)
        self._failures += 1
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        self._held_until = max(self._held_until, time.monotonic() + max(pause, wait or 0.0))

    def _halve(self, batch: Batch) -> None:
        middle = len(batch.lines) // 2
        self._again.appendleft(Batch(batch.first, batch.lines[middle:]))
        self._again.appendleft(Batch(batch.first, batch.lines[:middle]))

    def _reject(self, batch: Batch, index: int, refused: Refused) -> None:
        """Set the one record aside; the others go again."""
        line = batch.lines[index]
        rest = batch.lines[:index] + batch.lines[index + 1 :]
        if rest:
            self._again.appendleft(Batch(batch.first, rest))
        self.rejected += 1
        error = Rejected(line, refused.problem)
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:
                log.exception("on_error failed")
        else:
            with self._lock:
                self._error_count += 1
                if len(self._errors) < KEPT_ERRORS:
                    self._errors.append(error)
        self._finish([line])

    def _finish(self, lines: list[bytes]) -> None:
        unsettled = [batch.first for batch in (*self._out, *self._again)]
        self._buffer.settle(lines, min([*unsettled, self._buffer.first_held]))
