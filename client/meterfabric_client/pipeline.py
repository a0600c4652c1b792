"""What `Meter` and `AsyncMeter` share: a buffer, the thread that empties it, and their end."""

import atexit
import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass

from .buffer import Buffer
from .delivery import Delivery
from .errors import BackPressure, RecordsRejected, Rejected, Undelivered
from .options import Options
from .over_http import HttpTransport
from .transport import Address, Transport

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stats:
    """What became of the records so far, and what last went wrong (empty while all is well)."""

    recorded: int
    accepted: int
    rejected: int
    pending: int
    pending_bytes: int
    retries: int
    trouble: str


class Pipeline:
    """Lines of JSON in, delivered by a thread that starts with the first. The thread keeps it alive until `close`."""

    def __init__(self, url: str, options: Options, on_error: Callable[[Rejected], None] | None) -> None:
        """Raises ValueError for a url that names no sidecar."""
        self.options = options
        self._address = Address.parse(url)
        self._on_error = on_error
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        options = self.options
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._delivery: Delivery | None = None
        self._buffer = Buffer(
            options.buffer_records, options.buffer_bytes, options.batch_records, options.batch_bytes, self._wake
        )

    # Taking

    def offer(self, line: bytes) -> bool:
        """Take a line if there is room. Raises ValueError when it is too large, Closed."""
        self._prepare(line)
        return self._buffer.offer(line)

    def put(self, line: bytes) -> None:
        """Take a line, waiting for room. Raises ValueError when it is too large, BackPressure, Closed."""
        self._prepare(line)
        if not self._buffer.put(line, self.options.block):
            raise self.back_pressure()

    def when_room(self, callback: Callable[[], None]) -> None:
        """See `Buffer.when_room`."""
        self._buffer.when_room(callback)

    def back_pressure(self) -> BackPressure:
        return BackPressure(self.pending, self._buffer.pending_bytes, self.options.block, self.cause())

    # Ending

    def flush(self, seconds: float | None) -> None:
        """Raises RecordsRejected, Undelivered."""
        below = self._buffer.flush()
        if not self._buffer.wait_settled(below, self.options.close if seconds is None else seconds):
            raise Undelivered(self.pending, self.cause())
        self._raise_rejected()

    def close(self, seconds: float | None) -> None:
        """Raises RecordsRejected, Undelivered; closed it is in any case."""
        self._end(self.options.close if seconds is None else seconds)
        if self.pending:
            raise Undelivered(self.pending, self.cause())
        self._raise_rejected()

    def close_after(self, error: BaseException | None) -> None:
        """`close`, at the end of a `with` that fails with `error`: then that matters more than what close finds."""
        try:
            self.close(None)
        except (RecordsRejected, Undelivered) as second:
            if error is None:
                raise
            log.warning("%s", second)

    # Looking

    @property
    def pending(self) -> int:
        return self._buffer.pending

    def cause(self) -> str:
        """The last trouble, in words for an error."""
        return (self._delivery.trouble if self._delivery else "") or "none, it is slow"

    def stats(self) -> Stats:
        delivery, buffer = self._delivery, self._buffer
        return Stats(
            recorded=buffer.recorded,
            accepted=delivery.accepted if delivery else 0,
            rejected=delivery.rejected if delivery else 0,
            pending=buffer.pending,
            pending_bytes=buffer.pending_bytes,
            retries=delivery.retries if delivery else 0,
            trouble=delivery.trouble if delivery else "",
        )

    # Inside

    def _prepare(self, line: bytes) -> None:
        if len(line) > self.options.record_bytes:
            raise ValueError(f"a record of {len(line)} bytes; the limit is {self.options.record_bytes}")
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._buffer.closed:
                self._delivery = Delivery(self._buffer, self._connect, self.options, self._on_error)
                self._thread = threading.Thread(target=self._delivery.run, name="meterfabric-client", daemon=True)
                self._thread.start()

    def _connect(self) -> Transport:
        if self._address.scheme == "http":
            return HttpTransport(self._address, self.options.request, self.options.batch_bytes)
        # Only who uses ZeroMQ needs it installed.
        from .over_zeromq import ZeromqTransport  # noqa: PLC0415

        return ZeromqTransport(self._address, self.options.request, self.options.batch_bytes)

    def _wake(self) -> None:
        if self._delivery is not None:
            self._delivery.wake()

    def _end(self, seconds: float) -> None:
        self._buffer.close()
        if self._thread is None or self._delivery is None:
            return
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._delivery.abandon()

    def _raise_rejected(self) -> None:
        if self._delivery is not None:
            errors, count = self._delivery.take_errors()
            if errors:
                raise RecordsRejected(errors, count)

    def end_with_the_interpreter(self) -> None:
        if not self._buffer.closed:
            self._end(self.options.at_exit)
            if self.pending:
                log.warning("%d records were not delivered: %s", self.pending, self.cause())

    def begin_after_fork(self) -> None:
        """In the child there is no thread, and any lock may be held by one that is not there: all is made anew."""
        closed = self._buffer.closed
        self._begin()
        self._buffer.closed = closed


_ALL: "weakref.WeakSet[Pipeline]" = weakref.WeakSet()


def _end_all() -> None:
    for pipeline in list(_ALL):
        with contextlib.suppress(Exception):
            pipeline.end_with_the_interpreter()


def _begin_all() -> None:
    for pipeline in list(_ALL):
        pipeline.begin_after_fork()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_begin_all)
