"""`Meter`: what an application holds to record its usage."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from . import event
from .recorder import Recorder

Event = Mapping[str, Any] | bytes | str


class Meter(Recorder):
    """Records usage through the sidecar at `url`: `http://127.0.0.1:8280`, or `tcp://127.0.0.1:8281` for ZeroMQ.

        with Meter("http://127.0.0.1:8280") as m:
            m.record(type="cpu", subject="customer-1", data={"seconds": 1.5})

    Records go in batches from a thread in the background, each until the sidecar holds it durably. While the sidecar
    takes less than is recorded, record() first waits for room and then raises BackPressure. A record that the sidecar
    refuses for good goes to `on_error`, called from the background thread; without it flush() and close() raise.

    May be used from many threads. After fork() the child's meter is empty and works on; what the parent had pending the
    parent delivers. An interpreter that ends without close() still waits `at_exit` seconds for what is pending.
    """

    def record(
        self,
        *,
        type: str,
        data: Any = None,
        subject: str | None = None,
        id: str | None = None,
        source: str | None = None,
        time: datetime | None = None,
        **extensions: str | int | bool,
    ) -> None:
        """Record one usage event; id and time are made up where not given.

        Raises ValueError or TypeError for what can't be a record, BackPressure when no room came, Closed.
        """
        self._pipeline.put(event.compose(source or self._source, type, subject, data, id, time, extensions))

    def send(self, ready: Event) -> None:
        """Send a ready CloudEvent in JSON; of a mapping, specversion, id, source and time may be left out."""
        self._pipeline.put(event.line(ready, self._source))

    def send_many(self, ready: Iterable[Event]) -> None:
        """`send` each in turn; at an error those before it are taken."""
        for each in ready:
            self._pipeline.put(event.line(each, self._source))

    def flush(self, seconds: float | None = None) -> None:
        """Wait until everything recorded before this call is accepted or refused, by default as long as close() would.

        Raises RecordsRejected when there were refused ones and no on_error, Undelivered when time ran out.
        """
        self._pipeline.flush(seconds)

    def close(self, seconds: float | None = None) -> None:
        """Take no more, deliver what is pending, stop. Raises as flush(); what is pending then is dropped."""
        self._pipeline.close(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pipeline.close_after(error)
