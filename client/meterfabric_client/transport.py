"""What the delivery needs of a way to the sidecar, and what comes back from there."""

import contextlib
import os
import select
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit


@dataclass(eq=False)
class Batch:
    """Records that travel together. `first` is the lowest number of a record that may be among them."""

    first: int
    lines: list[bytes]
    body: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.body = b"\n".join(self.lines) + b"\n"


@dataclass(frozen=True)
class Accepted:
    """Every record of the batch is durable."""


@dataclass(frozen=True)
class Again:
    """Nothing is known to be kept; worth another try, after `wait` seconds where the sidecar named them."""

    why: str
    wait: float | None = None


@dataclass(frozen=True)
class Refused:
    """The sidecar will not take this batch, ever; `problem` (RFC 9457) may name the record by `index`."""

    problem: Mapping[str, Any]


Outcome = Accepted | Again | Refused
Answer = tuple[Batch, Outcome]

# Only these say something of the records; any other refusal may be mended at the other end, and records are money.
FINAL = frozenset({400, 409, 413, 422})


def judge(status: int, problem: Mapping[str, Any], wait: float | None) -> Outcome:
    """The outcome that a refusal with an HTTP status stands for."""
    if status in FINAL:
        return Refused(problem)
    return Again(f"{status} {problem.get('title', '')}: {problem.get('detail', '')}".rstrip(": "), wait)


class Transport(Protocol):
    """A way to the sidecar. All calls but `waker.wake` come from one thread, the delivery's."""

    waker: "Waker"
    trouble: str
    """Why nothing can be submitted, where it is no batch's outcome that would say so; else empty."""

    def allowance(self) -> int:
        """Bytes of body that may be submitted now."""

    @property
    def in_flight(self) -> int:
        """Batches submitted and not yet answered."""

    def submit(self, batch: Batch) -> None:
        """Begin to send a batch within the allowance."""

    def wait(self, timeout: float | None) -> list[Answer]:
        """Wait for answers, for `waker`, or for `timeout` seconds (None: no limit)."""

    def close(self) -> None:
        """Drop the connection; what is in flight stays unanswered."""


class Waker:
    """Wakes a thread that waits for a file descriptor."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._lock = threading.Lock()
        self._closed = False

    def fileno(self) -> int:
        return self._read

    def wake(self) -> None:
        """May be called from any thread, and after `close`."""
        with self._lock:
            if not self._closed:
                # A full pipe means woken already.
                with contextlib.suppress(BlockingIOError):
                    os.write(self._write, b"x")

    def wait(self, timeout: float | None) -> None:
        """Return when woken, or after `timeout` seconds."""
        poller = select.poll()
        poller.register(self._read, select.POLLIN)
        poller.poll(None if timeout is None else max(0.0, timeout) * 1000)
        self.clear()

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 4096):
                pass

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._read)
                os.close(self._write)


PATH = "/api/v1/events"
"""Where events are posted, behind an address's prefix."""


@dataclass(frozen=True)
class Address:
    """Where the sidecar listens."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Read `http://HOST[:8280][/PREFIX][/api/v1/events]` or `tcp://HOST[:8281]`.

        Raises ValueError naming what is wrong.
        """
        parts = urlsplit(url)
        ports = {"http": 8280, "tcp": 8281}
        if parts.scheme not in ports:
            raise ValueError(f"{url!r}: begins with http:// or tcp://")
        if not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError(f"{url!r}: a host and a port")
        if parts.scheme == "tcp" and parts.path:
            raise ValueError(f"{url!r}: a tcp address has no path")
        prefix = parts.path.rstrip("/").removesuffix(PATH)
        return cls(parts.scheme, parts.hostname, parts.port or ports[parts.scheme], prefix)
